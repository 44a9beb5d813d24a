"""Capacity has appeared: who waits for it is told, the longest waiting first, and no more than could start a task.

    the stream's records ──► instances with room ──► does anybody wait in their clusters? ──► who? ──► whom does it fit?
                             (nothing read yet)       one small read for each cluster         oldest first

Between a decision that found no room and the item that says so, room may appear and be shown to nobody: whoever begins
to wait looks once more after it has said so. What gets lost all the same, the sweeper's looks find.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.inbox import ServiceKey, StreamRecord
from control_plane.domain.placement.filters import Candidate
from control_plane.domain.waiting import Waiting, to_tell
from control_plane.flows.choose_instances import holding
from control_plane.runtime import ControlPlane
from control_plane.store import instances, tasks, waiting
from ecs_protocol.statuses import TaskStatus


@dataclass
class Told:
    """Services with the id of the change that each is told of, and ids of `Run Task` events."""

    services: dict[ServiceKey, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)


def find_who_waits(cp: ControlPlane, records: Sequence[StreamRecord]) -> Told:
    """Whom to tell of what has become free in a batch of the table's stream."""
    changes: dict[str, dict[str, str]] = defaultdict(dict)
    for record in records:
        for cluster, instance_id in _with_room(record):
            changes[cluster][instance_id] = record.event_id
    told = Told()
    for cluster, change_of in changes.items():
        if not waiting.anybody(cp.table, cluster, cp.clock()):
            continue
        who = waiting.of_cluster(cp.table, cluster)
        for each, instance_id in to_tell(who, _candidates(cp, cluster, change_of, who)) if who else ():
            if each.service:
                told.services[ServiceKey(cluster, each.service)] = change_of[instance_id]
            elif each.request_id:
                told.events.append(each.request_id)
    return told


def _with_room(record: StreamRecord) -> Iterable[tuple[str, str]]:
    """The instance that may take now what it could not take before: a task has stopped, or an orphan; it has joined or
    come back, or its status or attributes have changed; or its DAEMON services, which go first, have done with it."""
    image = record.new_image
    match image.get("kind"):
        case tasks.KIND:
            appears = image["lastStatus"] == TaskStatus.STOPPED
        case instances.KIND:
            times = ("settingsChangedAt", "connectionChangedAt", "daemonsSeenAt", "gaveRoomAt")
            changed = {image.get(at) for at in times}
            appears = (
                image["status"] == InstanceStatus.ACTIVE
                and image.get("agentConnected", False)
                and image["updatedAt"] in changed
            )
        case instances.REGISTRATION_KIND:
            appears = True
        case _:
            appears = False
    return [(image["cluster"], image["instanceId"])] if appears else []


def _candidates(
    cp: ControlPlane, cluster: str, instance_ids: Iterable[str], who: Sequence[Waiting]
) -> Sequence[Candidate]:
    """The instances as they are now; with their tasks only if somebody asks for them."""
    found = instances.load_many(cp.table, [(cluster, instance_id) for instance_id in instance_ids])
    candidates = [cp.fleet.candidate(instance) for instance in found.values()]
    if not any(each.asks_for_tasks for each in who):
        return candidates
    return [
        holding(each, tasks.of_instance(cp.table, cluster, each.instance.instance_id))
        for each in candidates
        if each.instance.status is InstanceStatus.ACTIVE
    ]
