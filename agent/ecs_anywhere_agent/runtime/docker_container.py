"""A container's spec as Docker takes it, and Docker's inspection as the agent takes it. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from ecs_anywhere_agent.container_spec import ContainerSpec, HealthCheck, Origin
from ecs_anywhere_agent.core.events import Condition, ContainerSnapshot
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_protocol.messages import NetworkBinding
from ecs_protocol.statuses import HealthStatus

_AMAZON = "com.amazonaws.ecs."
_OWN = "ecs-anywhere."
_MEBIBYTE = 1024 * 1024
_PERIOD_MICROSECONDS = 100_000
_NANOSECONDS = 1_000_000_000
_HEALTH = {"healthy": HealthStatus.HEALTHY, "unhealthy": HealthStatus.UNHEALTHY}

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


def owner_label(data_dir: str) -> str:
    """Tells the containers of several agents on one machine apart."""
    return f"{_OWN}data-dir={data_dir}"


def container_name(ref: ContainerRef, spec: ContainerSpec) -> str:
    """The same each time, so that a second create finds what the first one made."""
    family, _, revision = spec.origin.task_definition.rpartition(":")
    return f"ecs-{family[:80]}-{revision}-{ref.name[:80]}-{ref.task_id}"


def container_config(ref: ContainerRef, spec: ContainerSpec, data_dir: str) -> dict[str, Any]:
    """The body of a create request."""
    ports = {f"{mapping.container_port}/{mapping.protocol}": mapping for mapping in spec.port_mappings}
    host: dict[str, Any] = {
        "NetworkMode": spec.network_mode,
        "CpuShares": spec.cpu_shares,
        "Memory": (spec.memory_limit or 0) * _MEBIBYTE,
        "MemoryReservation": (spec.memory_reservation or 0) * _MEBIBYTE,
    }
    if spec.network_mode == "bridge":
        host["PortBindings"] = {
            port: [{"HostIp": "", "HostPort": str(mapping.host_port or "")}] for port, mapping in ports.items()
        }
    if spec.cpu_limit:
        host["CpuPeriod"] = _PERIOD_MICROSECONDS
        host["CpuQuota"] = spec.cpu_limit * _PERIOD_MICROSECONDS // 1024
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.environment],
        "Labels": {**dict(spec.docker_labels), **_labels(ref, spec, data_dir)},
        "ExposedPorts": {port: {} for port in ports},
        "Healthcheck": _health_check(spec.health_check),
        "HostConfig": host,
    }
    if spec.entry_point:
        config["Entrypoint"] = list(spec.entry_point)
    if spec.command:
        config["Cmd"] = list(spec.command)
    if spec.working_directory:
        config["WorkingDir"] = spec.working_directory
    if spec.user:
        config["User"] = spec.user
    return config


def ref_of(labels: Mapping[str, str]) -> ContainerRef | None:
    """None: not a container that an agent made."""
    task_id, name = labels.get(f"{_OWN}task-id"), labels.get(f"{_AMAZON}container-name")
    return ContainerRef(task_id, name) if task_id and name else None


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
        origin=_origin(labels),
    )


def snapshot_of_listed(listed: Mapping[str, Any]) -> ContainerSnapshot | None:
    """What Docker's list of containers says of one of them, which is little."""
    labels: Mapping[str, str] = listed.get("Labels") or {}
    ref = ref_of(labels)
    if ref is None:
        return None
    condition = _condition({"Status": listed["State"]})
    return ContainerSnapshot(ref, condition, runtime_id=listed["Id"], origin=_origin(labels))


def digest_of(image: Mapping[str, Any], name: str) -> str | None:
    """Of the manifest in the registry that the image came from; an image made on this machine has none."""
    repository = name.partition("@")[0]
    last = repository.rpartition("/")[2]
    repository = repository[: len(repository) - len(last)] + last.partition(":")[0]
    digests: list[str] = image.get("RepoDigests") or []
    matching = [digest for digest in digests if digest.partition("@")[0].endswith(repository)]
    return next((digest.partition("@")[2] for digest in (*matching, *digests)), None)


def _health_check(check: HealthCheck | None) -> dict[str, Any]:
    """Without one the image's own is off: Amazon ECS does not monitor it either."""
    if check is None:
        return {"Test": ["NONE"]}
    return {
        "Test": list(check.command),
        "Interval": check.interval * _NANOSECONDS,
        "Timeout": check.timeout * _NANOSECONDS,
        "Retries": check.retries,
        "StartPeriod": check.start_period * _NANOSECONDS,
    }


def _health(state: Mapping[str, Any]) -> HealthStatus:
    return _HEALTH.get((state.get("Health") or {}).get("Status", ""), HealthStatus.UNKNOWN)


def _labels(ref: ContainerRef, spec: ContainerSpec, data_dir: str) -> dict[str, str]:
    """Those of Amazon's agent, and what it takes to adopt the container without the state file."""
    origin = spec.origin
    family, _, revision = origin.task_definition.rpartition(":")
    return {
        f"{_AMAZON}cluster": origin.cluster,
        f"{_AMAZON}container-name": ref.name,
        f"{_AMAZON}task-arn": origin.task_arn,
        f"{_AMAZON}task-definition-family": family,
        f"{_AMAZON}task-definition-version": revision,
        f"{_OWN}task-id": ref.task_id,
        f"{_OWN}data-dir": data_dir,
        f"{_OWN}container-instance": origin.container_instance_arn,
        f"{_OWN}essential": "true" if origin.essential else "false",
        f"{_OWN}stop-timeout": str(origin.stop_timeout),
        **({f"{_OWN}restart": origin.restart} if origin.restart else {}),
        **({f"{_OWN}stop-after": str(origin.stop_after)} if origin.stop_after else {}),
    }


def _origin(labels: Mapping[str, str]) -> Origin:
    family = labels.get(f"{_AMAZON}task-definition-family", "")
    return Origin(
        container_instance_arn=labels.get(f"{_OWN}container-instance", ""),
        cluster=labels.get(f"{_AMAZON}cluster", ""),
        task_arn=labels.get(f"{_AMAZON}task-arn", ""),
        task_definition=f"{family}:{labels.get(f'{_AMAZON}task-definition-version', '')}",
        essential=labels.get(f"{_OWN}essential") != "false",
        stop_timeout=int(labels.get(f"{_OWN}stop-timeout", "30")),
        restart="offline" if labels.get(f"{_OWN}restart") == "offline" else None,
        stop_after=int(labels.get(f"{_OWN}stop-after", "0")) or None,
    )


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
    bindings: list[tuple[str, str, str]] = []
    if inspected["HostConfig"].get("NetworkMode") == "host":
        exposed = inspected["Config"].get("ExposedPorts") or {}
        bindings.extend(("0.0.0.0", port, port.partition("/")[0]) for port in exposed)
    for port, places in (inspected["NetworkSettings"].get("Ports") or {}).items():
        ipv4 = (place for place in places or () if ":" not in place["HostIp"])
        bindings.extend((place["HostIp"], port, place["HostPort"]) for place in ipv4)
    return tuple(_binding(ip, port, host_port) for ip, port, host_port in sorted(bindings))


def _binding(bind_ip: str, port: str, host_port: str) -> NetworkBinding:
    number, _, protocol = port.partition("/")
    known: Literal["tcp", "udp"] = "udp" if protocol == "udp" else "tcp"
    return NetworkBinding(bind_ip=bind_ip, container_port=int(number), host_port=int(host_port), protocol=known)


def _time(text: str | None) -> datetime | None:
    """Docker's nanoseconds cut to microseconds; its zero time is no time."""
    if not text or text.startswith("0001-"):
        return None
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(fraction + '000000')[:6]}").replace(tzinfo=UTC)
