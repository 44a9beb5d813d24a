"""What has changed of a container instance, in a line: so that who remembers a fleet need not read all of it again.

Tasks and connections change counters, all day; what else an instance says changes seldom. A line has the counters, and
a digest of the rest: where that is another one, the instance itself is read. Pure.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus

COUNTERS = ("status", "agent_connected", "tasks", "cpu", "memory", "ports", "version", "connection_changed_at")
OF_NO_PLACEMENT = (
    "session",
    "session_version",
    "session_ended",
    "session_ended_at",
    "daemons_seen_at",
    "daemons_waiting",
    "settings_changed_at",
    "epoch",
    "updated_at",
)
"""Members that no placement looks at."""
OTHER = -1
"""No digest is this."""


class Change(NamedTuple):
    """An instance as it was at a version."""

    instance_id: str
    version: int
    status: InstanceStatus
    agent_connected: bool
    tasks: int
    cpu: int
    memory: int
    ports: frozenset[str]
    rest: int
    """Digest of all that placement looks at besides."""
    connection_changed_at: datetime | None

    @classmethod
    def of(cls, instance: ContainerInstance) -> "Change":
        return cls(
            instance.instance_id,
            instance.version,
            instance.status,
            instance.agent_connected,
            instance.tasks,
            instance.cpu,
            instance.memory,
            instance.ports,
            _digest_of_the_rest(instance),
            instance.connection_changed_at,
        )


def encoded(changes: Iterable[Change]) -> bytes:
    lines = [
        (
            *each[:3],
            int(each.agent_connected),
            *each[4:7],
            sorted(each.ports),
            each.rest,
            each.connection_changed_at and round(each.connection_changed_at.timestamp() * 1000),
        )
        for each in changes
    ]
    return zlib.compress(json.dumps(lines, separators=(",", ":")).encode())


def decoded(content: bytes) -> list[Change]:
    return [_decoded(line) for line in json.loads(zlib.decompress(content))]


def newest(changes: Iterable[Change]) -> dict[str, Change]:
    """Of each instance the last one, in whatever order they come, and however often."""
    found: dict[str, Change] = {}
    for change in changes:
        if change.instance_id not in found or found[change.instance_id].version <= change.version:
            found[change.instance_id] = change
    return found


def applied(known: ContainerInstance, change: Change) -> ContainerInstance | None:
    """The instance as it is after the change; None: it is to be read.

    A change that is not newer than what is known says nothing new: the version rises with each change that placement
    could see. Where it does not (a DAEMON service becomes due), the digest is another one.
    """
    if change.version < known.version:
        return known
    if change.rest != _digest_of_the_rest(known):
        return None
    if change.version == known.version:
        return known  # who placed a task there since has taken its part away already
    return known.model_copy(update={name: getattr(change, name) for name in COUNTERS})


def _decoded(line: Sequence[Any]) -> Change:
    name, version, status, connected, tasks, cpu, memory, ports, rest, *since = line
    if not since:  # written by an older release, which did not say: the instance itself is to be read
        rest, since = OTHER, [None]
    [changed_at] = since
    return Change(
        name,
        version,
        InstanceStatus(status),
        bool(connected),
        tasks,
        cpu,
        memory,
        frozenset(ports),
        rest,
        None if changed_at is None else datetime.fromtimestamp(changed_at / 1000, UTC),
    )


def _digest_of_the_rest(instance: ContainerInstance) -> int:
    rest = instance.model_dump(exclude={*COUNTERS, *OF_NO_PLACEMENT}, exclude_defaults=True)
    return zlib.crc32(json.dumps(rest, sort_keys=True, default=_in_one_order).encode())


def _in_one_order(value: Any) -> Any:
    """Sets have an order in each process; a digest is compared between two."""
    return sorted(value) if isinstance(value, frozenset) else str(value)
