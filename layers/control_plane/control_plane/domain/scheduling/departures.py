"""How fast the tasks of machines that went away may be replaced. Pure.

That all machines die at once usually means that we cannot hear them. So if more than half of a cluster's machines, or
of those of one `site`, vanish within five minutes, nothing is replaced until they return or an operator says so; else
the machines that have gone are written off one after the other, a tenth of the cluster a minute.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus

WINDOW = timedelta(minutes=5)
PACE = timedelta(minutes=1)
SITE = "site"


@dataclass(frozen=True)
class Limits:
    """Parameters of the stack, in percent."""

    mass_disconnect: int = 50
    """More than this of a group within the window, and at least two, is a mass disconnect."""
    replaced_a_minute: int = 10
    """Of a cluster's instances, at least one."""


def delays(
    instances: Iterable[ContainerInstance], limits: Limits, resumed_at: datetime | None
) -> Mapping[str, timedelta | None]:
    """For each instance that is away, how much later than it says its absence counts; None: not for now.

    `resumed_at`: an operator has said that what had vanished until then is to be replaced.
    """
    members = [instance for instance in instances if instance.status is not InstanceStatus.INACTIVE]
    held = _held(members, limits, resumed_at)
    free = [instance for instance in _away(members) if instance.instance_id not in held]
    at_once = max(1, len(members) * limits.replaced_a_minute // 100)
    slots: list[datetime] = []
    for number, (gone_at, _) in enumerate(_times(free)):
        slots.append(gone_at if number < at_once else max(gone_at, slots[number - at_once] + PACE))
    paced = {name: slot - gone_at for slot, (gone_at, name) in zip(slots, _times(free), strict=True)}
    return {**paced, **dict.fromkeys(held)}


def _held(members: Sequence[ContainerInstance], limits: Limits, resumed_at: datetime | None) -> frozenset[str]:
    groups: dict[str, list[ContainerInstance]] = defaultdict(list)
    for instance in members:
        site = instance.attribute(SITE)
        if site:
            groups[site].append(instance)
    held: set[str] = set()
    for group in (members, *groups.values()):
        held |= _vanished_together(group, limits)
    return frozenset(
        name for gone_at, name in _times(_away(members)) if name in held and not (resumed_at and gone_at <= resumed_at)
    )


def _vanished_together(group: Sequence[ContainerInstance], limits: Limits) -> set[str]:
    """Those that went within one window in which more than the limit of those that were there went."""
    times = _times(_away(group))
    found: set[str] = set()
    last = 0
    for first, (begin, _) in enumerate(times):
        while last < len(times) and times[last][0] <= begin + WINDOW:
            last += 1
        were_there = len(group) - first
        if last - first >= 2 and last - first > math.floor(were_there * limits.mass_disconnect / 100):
            found |= {name for _, name in times[first:last]}
    return found


def _away(members: Iterable[ContainerInstance]) -> list[ContainerInstance]:
    return [instance for instance in members if not instance.agent_connected and instance.connection_changed_at]


def _times(away: Iterable[ContainerInstance]) -> list[tuple[datetime, str]]:
    return sorted(
        (instance.connection_changed_at, instance.instance_id) for instance in away if instance.connection_changed_at
    )
