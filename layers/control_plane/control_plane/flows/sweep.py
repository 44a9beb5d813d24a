"""Each minute: hand on the reminders that are due. Whatever is lost elsewhere ends here.

A reminder is forgotten only once it lies in a queue: dying in between hands it on again, which does no harm.
"""

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import InstanceLook
from control_plane.domain.reminders import ServiceLook
from control_plane.runtime import ControlPlane
from control_plane.store import reminders, services

logger = Logger(child=True)


def sweep(cp: ControlPlane) -> dict[str, int]:
    """Answers how many instances and services were due."""
    now = cp.clock()
    due = list(reminders.due(cp.table, now))
    instance_looks = [each for each in due if isinstance(each, InstanceLook)]
    # A service's reminders stay when the time of its next look moves: only the last of them counts.
    service_looks = {each.service: each.at for each in due if isinstance(each, ServiceLook)}
    found = services.load_many(cp.table, service_looks)
    waiting = [key for key, service in found.items() if service.look_at is not None and service.look_at <= now]
    if instance_looks:
        cp.queues.look_later(instance_looks)
    if waiting:
        cp.queues.wake_services(
            [(key, f"{key.service[:80]}-{found[key].lock}-{service_looks[key]}") for key in waiting]
        )
    reminders.forget(cp.table, due)
    logger.info("Swept", extra={"instances": len(instance_looks), "services": len(waiting)})
    return {"containerInstances": len(instance_looks), "services": len(waiting)}
