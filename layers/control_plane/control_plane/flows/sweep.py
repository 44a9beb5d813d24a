"""Each minute: hand on the reminders that are due. Whatever is lost elsewhere ends here.

A reminder is forgotten only once it lies in a queue: dying in between hands it on again, which does no harm.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import InstanceLook, ServiceKey
from control_plane.domain.reminders import EventLook, ServiceLook
from control_plane.flows.look_at_container_instance import worth_a_look
from control_plane.runtime import ControlPlane
from control_plane.store import instances, reminders, services

logger = Logger(child=True)


def sweep(cp: ControlPlane) -> dict[str, int]:
    """Answers how many instances, services and events were due."""
    now = cp.clock()
    due = list(reminders.due(cp.table, now))
    instance_looks = _worth_a_look(cp, [each for each in due if isinstance(each, InstanceLook)])
    service_looks = [each for each in due if isinstance(each, ServiceLook)]
    waiting = _services_to_wake(cp, service_looks, now)
    if instance_looks:
        cp.queues.look_later(instance_looks)
    if waiting:
        cp.queues.wake_services(list(waiting.items()))
    events = list(dict.fromkeys(each.request_id for each in due if isinstance(each, EventLook)))
    if events:
        cp.queues.run_waiting(events)
    reminders.forget(cp.table, due)
    swept = {"containerInstances": len(instance_looks), "services": len(waiting), "events": len(events)}
    logger.info("Swept", extra=swept)
    return swept


def _services_to_wake(cp: ControlPlane, looks: Sequence[ServiceLook], now: datetime) -> dict[ServiceKey, str]:
    """With the id of each message.

    A service's reminders stay when the time of its next look moves: only the last of them counts. One about an instance
    is handed on as it is: to look there for nothing costs less than to read whether it is for nothing.
    """
    at = {each.service: each.at for each in looks}
    found = services.load_many(cp.table, [key for key in at if key.instance_id is None])
    whole = [key for key, service in found.items() if service.look_at is not None and service.look_at <= now]
    return {
        **{key: f"{key.service[:80]}-{found[key].lock}-{at[key]}" for key in whole},
        **{key: f"{key.service[:80]}-{key.instance_id}-{at[key]}" for key in at if key.instance_id is not None},
    }


def _worth_a_look(cp: ControlPlane, looks: Sequence[InstanceLook]) -> list[InstanceLook]:
    """Those that somebody has to do something about, so that a task that went well costs no further invocation."""
    found = instances.load_many(cp.table, [(look.cluster, look.instance_id) for look in looks])
    with ThreadPoolExecutor(max_workers=8) as threads:
        worth = threads.map(
            lambda look: worth_a_look(cp, found.get((look.cluster, look.instance_id)), look),
            looks,
        )
        return [look for look, is_worth in zip(looks, worth, strict=True) if is_worth]
