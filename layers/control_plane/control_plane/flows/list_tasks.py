"""ListTasks: reads about the pages that it answers, however many tasks there are.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.domain.cluster import Cluster
from control_plane.domain.errors import InvalidParameterException, ServiceNotFoundException
from control_plane.domain.pages import Paging
from control_plane.domain.task import Task
from control_plane.flows.lookup import find_service, identifier, require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import listed_tasks
from control_plane.store.items import Item
from control_plane.store.keys import TAIL, task_of
from control_plane.store.pages import Part, read_page, walk

NOT_WITH_STARTED_BY = ("family", "serviceName", "containerInstance", "launchType")
"""Amazon ECS refuses them with it, but for a status, with which Apache Airflow asks for its tasks.

https://github.com/aws/aws-sdk-go-v2/issues/1893
"""


@dataclass(frozen=True)
class Wanted:
    """The filters of a request. An empty one lets everything through."""

    desired_status: str
    launch_type: str
    instance_id: str
    service: str
    family: str
    started_by: str

    def fits(self, task: Task) -> bool:
        return (
            str(task.desired_status) == self.desired_status
            and self.instance_id in {"", task.instance_id}
            and self.service in {"", task.service}
            and self.family in {"", task.task_definition.rpartition(":")[0]}
            and self.started_by in {"", task.started_by}
        )


def list_tasks(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {taskArns, nextToken}, by default of tasks whose desired status is RUNNING.

    A service's tasks are found by its list, an instance's by their keys, all others by reading the cluster's, so that
    a page may be short where few of them fit. Raises ServiceNotFoundException, InvalidParameterException.
    """
    cluster = require_cluster(cp, request.get("cluster"))
    paging = Paging(cp.token_key, "ListTasks", request)
    asked, now = paging.asked(), cp.clock()
    wanted = _wanted(request, cluster)
    parts = [part for part in _parts(cp, cluster, wanted) if asked.after is None or part.name >= asked.after.part]

    def shown(items: Sequence[Item]) -> list[dict[str, str]]:
        likely = [item for item in items if task_of(item["sk"]).endswith(wanted.instance_id[:TAIL])]
        tasks = {
            item["sk"]: task
            for item, task in zip(likely, listed_tasks.load(cp.table, cluster.name, likely, now), strict=True)
            if task and wanted.fits(task) and (not task.stopped or cluster.began_before(task.updated_at))
        }
        found = (tasks.get(item["sk"]) for item in items)
        return [{"": cp.arns.task(cluster.name, task.task_id)} if task else {} for task in found]

    page, ended = read_page(walk(cp.table, parts, asked), asked, shown)
    return {"taskArns": page, **paging.more(ended)}


def _wanted(request: Mapping[str, Any], cluster: Cluster) -> Wanted:
    """Raises InvalidParameterException for what is another cluster's, and for filters that do not go together."""
    if request.get("startedBy") and any(request.get(member) for member in NOT_WITH_STARTED_BY):
        raise InvalidParameterException("cannot specify startedBy with other arguments")
    return Wanted(
        desired_status=request.get("desiredStatus") or "RUNNING",
        launch_type=request.get("launchType") or "",
        instance_id=identifier(request.get("containerInstance") or "", cluster),
        service=identifier(request.get("serviceName") or "", cluster),
        family=request.get("family") or "",
        started_by=request.get("startedBy") or "",
    )


def _parts(cp: ControlPlane, cluster: Cluster, wanted: Wanted) -> list[Part]:
    """What of the table has to be read. Raises ServiceNotFoundException."""
    service = find_service(cp, cluster, wanted.service) if wanted.service else None
    if wanted.service and service is None:
        raise ServiceNotFoundException("Service not found.")
    if wanted.desired_status == "PENDING" or wanted.launch_type not in {"", "EXTERNAL"}:
        return []  # Amazon ECS never sets that status, and other launch types have no tasks here
    if wanted.instance_id and not looks_like_an_id(wanted.instance_id):
        return []
    if wanted.instance_id:
        parts = listed_tasks.of_instance(cluster.name, wanted.instance_id)
    elif service:
        parts = listed_tasks.of_service(service)
    else:
        parts = listed_tasks.of_cluster(cluster.name, cluster.shards)
    return parts + (listed_tasks.ends(cluster.name, cp.clock()) if wanted.desired_status == "STOPPED" else [])
