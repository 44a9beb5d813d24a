"""Each minute: find what is due, from the index of due times, and see to it. Whatever is lost elsewhere ends here.

The index lags and names candidates only; what is done about each is decided on its own item.
"""

from datetime import timedelta

from aws_lambda_powertools import Logger

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.inbox import ServiceKey
from control_plane.domain.races import LostRace
from control_plane.domain.task import Task
from control_plane.flows.container_instances import retire
from control_plane.runtime import ControlPlane
from control_plane.store import instances, keys, services, tasks
from control_plane.store.items import Item

logger = Logger(child=True)

LEAST_GAP = timedelta(seconds=30)
"""Between two commands for the same task. The gap grows with the time that it has gone unanswered."""


def sweep(cp: ControlPlane) -> dict[str, int]:
    """Answers how many instances and services were due."""
    now = int(cp.clock().timestamp())
    due = [item for shard in keys.due_shards() for item in cp.table.query_time(shard, until=now)]
    found = cp.table.get_many([keys.Key(item["pk"], item["sk"]) for item in due])
    machines = [item for item in found.values() if item.get("kind") == instances.KIND]
    waiting = [item for item in found.values() if item.get("kind") == services.KIND]
    for item in machines:
        try:
            _look(cp, item)
        except LostRace:
            logger.info("Seen to meanwhile", extra={"instance": item["instanceId"]})
    if waiting:
        cp.queues.wake_services(
            [
                (ServiceKey(item["cluster"], item["name"]), f"{item['name'][:80]}-{item['lock']}-{now}")
                for item in waiting
            ]
        )
    logger.info("Swept", extra={"instances": len(machines), "services": len(waiting)})
    return {"containerInstances": len(machines), "services": len(waiting)}


def _look(cp: ControlPlane, item: Item) -> None:
    """See whether an instance's commands were answered, and send again those that were not.

    The time at which to look next is moved only after the keys are in the queue: dying in between repeats them.
    """
    instance = instances.from_item(item)
    now = cp.clock()
    if instance.status is InstanceStatus.INACTIVE:
        retire(cp, instance)
        cp.table.commit([instances.look_again(instance.cluster, instance.instance_id, item["timeAt"], None)])
        return
    silent = [task for task in tasks.of_instance(cp.table, instance.cluster, instance.instance_id) if task.awaiting]
    if silent and instance.agent_connected:
        cp.queues.command_later(
            [
                {"cluster": task.cluster, "taskId": task.task_id, "instanceId": task.instance_id}
                for task in silent
                if _is_overdue(task, now.timestamp())
            ]
        )
        waited = min((now - (task.awaiting_since or task.created_at) for task in silent), default=LEAST_GAP)
        next_look = now + max(LEAST_GAP, waited)
    else:
        # Nothing to wait for; or nobody to tell, and whoever connects asks for all.
        next_look = None
    cp.table.commit([instances.look_again(instance.cluster, instance.instance_id, item["timeAt"], next_look)])


def _is_overdue(task: Task, now: float) -> bool:
    return now - (task.awaiting_since or task.created_at).timestamp() >= LEAST_GAP.total_seconds() / 2
