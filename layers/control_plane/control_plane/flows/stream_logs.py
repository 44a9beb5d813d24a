"""What a task's containers have written and write, read from their machine on demand (ecs_protocol/streams.py)."""

from control_plane.domain.errors import InvalidParameterException, TargetNotConnectedException
from control_plane.flows import audit
from control_plane.flows.execute_command import open_stream
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import instances, tasks
from ecs_protocol.messages import OpenLogs
from ecs_protocol.streams import STREAM_SECONDS


def stream_logs(
    cp: ControlPlane,
    cluster_name: str,
    task: str,
    *,
    container: str | None,
    follow: bool,
    tail: int | None,
    since_seconds: int | None,
) -> dict[str, object]:
    """Answers {session}, as ExecuteCommand does. Of a task that has stopped, what its machine still has.

    Raises ClusterNotFoundException, InvalidParameterException, TargetNotConnectedException.
    """
    cluster = require_cluster(cp, cluster_name)
    task_id = identifier(task, cluster)
    found = tasks.load(cp.table, cluster.name, task_id) if looks_like_an_id(task_id) else None
    if found is None:
        raise InvalidParameterException(f"There is no task {task_id} in cluster {cluster.name}.")
    instance = instances.load(cp.table, found.cluster, found.instance_id)
    if instance is None or not instance.agent_connected:
        raise TargetNotConnectedException(
            "The task's container instance is not connected. On the machine itself: ecs-anywhere-agent logs."
        )
    wanted = OpenLogs(
        session_id=cp.new_id(),
        task_id=task_id,
        container=container,
        seconds=STREAM_SECONDS,
        follow=follow,
        tail=tail,
        since_seconds=since_seconds,
    )
    audit.allowed(
        principal=None,
        action="ecs-anywhere:StreamLogs",
        resource=cp.arns.task(found.cluster, task_id),
        source="lambda:Invoke",
        reason="IAM lets whoever asks invoke this function; AWS CloudTrail knows who it was",
        sessionId=wanted.session_id,
    )
    return {"session": open_stream(cp, found.instance_id, wanted)}
