"""Each minute: hand on the reminders that are due. Whatever is lost elsewhere ends here.

A reminder is forgotten only once it lies in a queue: dying in between hands it on again, which does no harm. That of a
service is stored anew before, for when that queue would have given up: by then a run has put the service off, or it is
handed on again.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import InstanceLook
from control_plane.domain.reminders import GIVEN_UP_BY_QUEUE, EventLook, ServiceLook, watching_service
from control_plane.flows.look_at_container_instance import worth_a_look
from control_plane.flows.look_at_service import those_due, wake
from control_plane.runtime import ControlPlane
from control_plane.store import instances, reminders

logger = Logger(child=True)


def sweep(cp: ControlPlane) -> dict[str, int]:
    """Answers how many instances, services and events were due."""
    now = cp.clock()
    due = list(reminders.due(cp.table, now))
    instance_looks = _worth_a_look(cp, [each for each in due if isinstance(each, InstanceLook)])
    # A service's reminders stay when the time of its next look moves: only the last of them counts.
    waiting = those_due(cp, {each.service for each in due if isinstance(each, ServiceLook)})
    if instance_looks:
        cp.queues.look_later(instance_looks)
    again = now + GIVEN_UP_BY_QUEUE
    reminders.remind(cp.table, [watching_service(key.cluster, key.service, again, key.instance_id) for key in waiting])
    wake(cp, waiting)
    events = list(dict.fromkeys(each.request_id for each in due if isinstance(each, EventLook)))
    if events:
        cp.queues.run_waiting(events)
    reminders.forget(cp.table, due)
    swept = {"containerInstances": len(instance_looks), "services": len(waiting), "events": len(events)}
    logger.info("Swept", extra=swept)
    return swept


def _worth_a_look(cp: ControlPlane, looks: Sequence[InstanceLook]) -> list[InstanceLook]:
    """Those that somebody has to do something about, so that a task that went well costs no further invocation."""
    found = instances.load_many(cp.table, [(look.cluster, look.instance_id) for look in looks])
    with ThreadPoolExecutor(max_workers=8) as threads:
        worth = threads.map(
            lambda look: worth_a_look(cp, found.get((look.cluster, look.instance_id)), look),
            looks,
        )
        return [look for look, is_worth in zip(looks, worth, strict=True) if is_worth]
