"""Docker's inspection of a container as the agent takes it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ecs_anywhere_agent.container_network import PortRange, Protocol
from ecs_anywhere_agent.core.events import Condition, ContainerSnapshot
from ecs_anywhere_agent.runtime.docker_labels import origin_of, port_ranges_of, ref_of
from ecs_protocol.messages import NetworkBinding
from ecs_protocol.statuses import HealthStatus

_HEALTH = {"healthy": HealthStatus.HEALTHY, "unhealthy": HealthStatus.UNHEALTHY}

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


def snapshot_of(inspected: Mapping[str, Any]) -> ContainerSnapshot | None:
    """None: not a container that an agent made."""
    config, state = inspected["Config"], inspected["State"]
    labels: Mapping[str, str] = config.get("Labels") or {}
    ref = ref_of(labels)
    if ref is None:
        return None
    condition = _condition(state)
    ended = condition is Condition.EXITED
    return ContainerSnapshot(
        ref,
        condition,
        runtime_id=inspected["Id"],
        run=state["StartedAt"] if _time(state.get("StartedAt")) else None,
        exit_code=int(state["ExitCode"]) if ended else None,
        reason=OUT_OF_MEMORY if ended and state.get("OOMKilled") else None,
        bindings=_bindings(inspected),
        # Of a container that has ended Docker says "unhealthy", whatever it was.
        health=HealthStatus.UNKNOWN if ended else _health(state),
        started_at=_time(state.get("StartedAt")),
        finished_at=_time(state.get("FinishedAt")) if ended else None,
        origin=origin_of(labels),
    )


def snapshot_of_listed(listed: Mapping[str, Any]) -> ContainerSnapshot | None:
    """What Docker's list of containers says of one of them, which is little."""
    labels: Mapping[str, str] = listed.get("Labels") or {}
    ref = ref_of(labels)
    if ref is None:
        return None
    condition = _condition({"Status": listed["State"]})
    return ContainerSnapshot(ref, condition, runtime_id=listed["Id"], origin=origin_of(labels))


def digest_of(image: Mapping[str, Any], name: str) -> str | None:
    """Of the manifest in the registry that the image came from; an image made on this machine has none."""
    repository = name.partition("@")[0]
    last = repository.rpartition("/")[2]
    repository = repository[: len(repository) - len(last)] + last.partition(":")[0]
    digests: list[str] = image.get("RepoDigests") or []
    matching = [digest for digest in digests if digest.partition("@")[0].endswith(repository)]
    return next((digest.partition("@")[2] for digest in (*matching, *digests)), None)


def _health(state: Mapping[str, Any]) -> HealthStatus:
    return _HEALTH.get((state.get("Health") or {}).get("Status", ""), HealthStatus.UNKNOWN)


def _condition(state: Mapping[str, Any]) -> Condition:
    match state["Status"]:
        case "created":
            return Condition.CREATED
        case "running" | "paused" | "restarting":
            return Condition.RUNNING
        case _:
            return Condition.EXITED


def _bindings(inspected: Mapping[str, Any]) -> tuple[NetworkBinding, ...]:
    """IPv4 only, as Amazon's agent. In network mode host a port of the container is one of the machine."""
    bound: dict[tuple[str, int, str], int] = {}
    if inspected["HostConfig"].get("NetworkMode") == "host":
        for port in inspected["Config"].get("ExposedPorts") or {}:
            number, protocol = _port(port)
            bound["0.0.0.0", number, protocol] = number
    for port, places in (inspected["NetworkSettings"].get("Ports") or {}).items():
        number, protocol = _port(port)
        for place in places or ():
            if ":" not in place["HostIp"]:
                bound[place["HostIp"], number, protocol] = int(place["HostPort"])
    ranges = tuple(port_ranges_of(inspected["Config"].get("Labels") or {}))
    return tuple(_in_ranges(bound, ranges)) + tuple(
        NetworkBinding(bind_ip=ip, container_port=number, host_port=host_port, protocol=_protocol(protocol))
        for (ip, number, protocol), host_port in sorted(bound.items())
        if not any(each.first <= number <= each.last and each.protocol == protocol for each in ranges)
    )


def _in_ranges(bound: Mapping[tuple[str, int, str], int], ranges: Sequence[PortRange]) -> Iterator[NetworkBinding]:
    """One binding for a whole range, which was mapped to ports that follow each other."""
    for ip, number, protocol in sorted(bound):
        for each in ranges:
            if (number, protocol) == (each.first, each.protocol):
                host_port = bound[ip, number, protocol]
                yield NetworkBinding(
                    bind_ip=ip,
                    container_port=number,
                    host_port=host_port,
                    protocol=each.protocol,
                    container_port_range=str(each),
                    host_port_range=f"{host_port}-{host_port + each.size - 1}",
                )


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return int(number), protocol


def _protocol(text: str) -> Protocol:
    return "udp" if text == "udp" else "tcp"


def _time(text: str | None) -> datetime | None:
    """Docker's nanoseconds cut to microseconds; its zero time is no time."""
    if not text or text.startswith("0001-"):
        return None
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(fraction + '000000')[:6]}").replace(tzinfo=UTC)
