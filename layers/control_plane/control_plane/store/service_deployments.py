"""What there is to tell of a service's deployments, for 90 days. The service itself has the newest one."""

from datetime import datetime, timedelta

from control_plane.domain.races import ServiceChangedError
from control_plane.domain.service import Service
from control_plane.domain.service_deployment import ServiceDeployment
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write

KIND = "serviceDeployment"
KEPT = timedelta(days=90)


def recorded(service: Service, *deployments: ServiceDeployment | None) -> list[Write]:
    """Go with the write of the service, whose lock lets only one of two at once tell what became of them."""
    return [
        Write(
            "Put",
            keys.service_deployment(service.cluster, service.name, each.revision_id),
            ServiceChangedError(service.name),
            item={**attributes(each), "kind": KIND, "expiresAt": int((each.created_at + KEPT).timestamp())},
        )
        for each in deployments
        if each is not None
    ]


def load(table: Table, service: Service, revision_id: str, now: datetime) -> ServiceDeployment | None:
    item = table.get(keys.service_deployment(service.cluster, service.name, revision_id))
    found = None if item is None else ServiceDeployment.model_validate(item)
    return found if found is not None and shown(found, service, now) else None


def of_service(table: Table, service: Service, now: datetime) -> list[ServiceDeployment]:
    """The newest first."""
    partition = keys.service_deployments_partition(service.cluster, service.name)
    found = [ServiceDeployment.model_validate(item) for item in table.query(partition, newest_first=True)]
    return [each for each in found if shown(each, service, now)]


def shown(deployment: ServiceDeployment, service: Service, now: datetime) -> bool:
    """DynamoDB deletes late; and those of a former service of that name went with it."""
    return deployment.created_at > now - KEPT and deployment.created_at >= service.created_at
