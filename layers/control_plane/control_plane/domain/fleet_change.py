"""What has changed of a container instance, in a line: so that who remembers a fleet need not read all of it again.

Tasks and connections change counters, all day; what else an instance says changes seldom. A line has the counters, and
a digest of the rest: where that is another one, the instance itself is read. Pure.
"""

import json
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus

COUNTERS = ("status", "agent_connected", "tasks", "cpu", "memory", "ports", "version")
OF_NO_PLACEMENT = (
    "session",
    "session_version",
    "session_ended",
    "session_ended_at",
    "connection_changed_at",
    "daemons_seen_at",
    "daemons_waiting",
    "settings_changed_at",
    "epoch",
    "updated_at",
)
"""Members that no placement looks at."""


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
        )


def encoded(changes: Iterable[Change]) -> bytes:
    lines = [(*each[:3], int(each.agent_connected), *each[4:7], sorted(each.ports), each.rest) for each in changes]
    return zlib.compress(json.dumps(lines, separators=(",", ":")).encode())


def decoded(content: bytes) -> list[Change]:
    return [
        Change(name, version, InstanceStatus(status), bool(connected), tasks, cpu, memory, frozenset(ports), rest)
        for name, version, status, connected, tasks, cpu, memory, ports, rest in json.loads(zlib.decompress(content))
    ]


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


def _digest_of_the_rest(instance: ContainerInstance) -> int:
    rest = instance.model_dump(exclude={*COUNTERS, *OF_NO_PLACEMENT}, exclude_defaults=True)
    return zlib.crc32(json.dumps(rest, sort_keys=True, default=_in_one_order).encode())


def _in_one_order(value: Any) -> Any:
    """Sets have an order in each process; a digest is compared between two."""
    return sorted(value) if isinstance(value, frozenset) else str(value)
