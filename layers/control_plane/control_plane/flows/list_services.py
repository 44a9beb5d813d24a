"""ListServices and ListServicesByNamespace.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListServices.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListServicesByNamespace.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import NamespaceNotFoundException
from control_plane.domain.pages import Paging
from control_plane.domain.service import Service, ServiceStatus
from control_plane.flows.lookup import require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import keys
from control_plane.store.items import Item
from control_plane.store.pages import merge, read_page


def list_services(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {serviceArns, nextToken}, sorted by name; 10 a page unless the request says otherwise."""
    cluster = require_cluster(cp, request.get("cluster"))
    paging = Paging(cp.token_key, "ListServices", request, at_most=10)
    asked = paging.asked()

    def shown(items: Sequence[Item]) -> list[dict[str, str]]:
        found = map(Service.model_validate, items)
        return [{"": cp.arns.service(cluster.name, each.name)} if _fits(each, request) else {} for each in found]

    page, ended = read_page(merge(cp.table, keys.service_partitions(cluster.name), asked), asked, shown)
    return {"serviceArns": page, **paging.more(ended)}


def _fits(service: Service, request: Mapping[str, Any]) -> bool:
    is_so = {"launchType": "EXTERNAL", "schedulingStrategy": service.scheduling_strategy or "REPLICA"}
    return service.status is not ServiceStatus.INACTIVE and all(
        request.get(member) in {None, value} for member, value in is_so.items()
    )


def list_services_by_namespace(_cp: ControlPlane, _request: Mapping[str, Any]) -> dict[str, Any]:
    """Always refused: no service here is in a namespace of AWS Cloud Map, so that there is no namespace to name."""
    raise NamespaceNotFoundException("The specified namespace wasn't found.")
