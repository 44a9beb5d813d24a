"""What the messages of a batch say of each service, put together: they are one run, or none at all.

A message is named after a change of the table, and comes some time after it. A run reads all, strongly consistent: so
what was committed before it read has been seen by it, whatever messages are still on their way. The service remembers
when the last run that wrote it, and left nothing to do, has read. A message that says no time is always worth a run:
of capacity that has appeared, of the clock, of what another run has left, of an older release.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from control_plane.domain.inbox import ServiceKey
from control_plane.domain.service import Service

SEEN_WITHIN = timedelta(seconds=3)
"""How much earlier than a reading a change must be to have been seen by it for certain: the stream tells the second
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html), and clocks differ."""


@dataclass(frozen=True)
class Wake:
    """A service that is to be looked at."""

    service: ServiceKey
    keys: tuple[ServiceKey, ...]
    """As the messages have them."""
    instance_ids: tuple[str, ...] | None
    """What it is about; None: all."""
    changed_at: datetime | None
    """When the last change was committed that it is about; None: there may be more to it."""

    def was_seen_by(self, service: Service) -> bool:
        """Whether an earlier run has seen all of it, and nobody wants anything else since."""
        if self.changed_at is None or service.seen_at is None or not service.planned:
            return False
        return self.changed_at + SEEN_WITHIN <= service.seen_at

    def seen_to(self) -> "Wake":
        """What is left of it once the instances that it is about have been looked at."""
        return self if self.instance_ids is None else replace(self, instance_ids=())


def wakes_of(wanted: Iterable[ServiceKey]) -> list[Wake]:
    """One for each service."""
    by_service: dict[ServiceKey, list[ServiceKey]] = defaultdict(list)
    for key in wanted:
        by_service[ServiceKey(key.cluster, key.service)].append(key)
    return [_wake(service, keys) for service, keys in by_service.items()]


def _wake(service: ServiceKey, keys: list[ServiceKey]) -> Wake:
    named = [key.instance_id for key in keys if key.instance_id is not None]
    times = [key.changed_at for key in keys if key.changed_at is not None]
    return Wake(
        service,
        tuple(dict.fromkeys(keys)),
        tuple(dict.fromkeys(named)) if len(named) == len(keys) else None,
        max(times) if len(times) == len(keys) else None,
    )
