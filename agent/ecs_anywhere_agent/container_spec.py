"""Task definition and overrides in, what a runtime has to make out. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

Protocol = Literal["tcp", "udp"]

DEFAULT_STOP_TIMEOUT_SECONDS = 30
MIN_CPU_SHARES = 2
"""What Amazon's agent passes for a container whose cpu is 0 or unset."""


class PortMapping(NamedTuple):
    """hostPort 0: the machine chooses."""

    container_port: int
    host_port: int
    protocol: Protocol


class Origin(NamedTuple):
    """Written on every container, so that what runs can be told apart and adopted without the state file."""

    container_instance_arn: str
    cluster: str
    task_arn: str
    task_definition: str
    """`family:revision`."""
    essential: bool
    stop_timeout: int
    restart: Literal["never", "offline"] | None = None
    stop_after: int | None = None
    """As in the command that the task came with (ecs_protocol.messages.TaskCommand)."""


class HealthCheck(NamedTuple):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html, completed; in seconds."""

    command: tuple[str, ...]
    """`CMD` or `CMD-SHELL`, then what to run."""
    interval: int
    timeout: int
    retries: int
    start_period: int


class RestartPolicy(NamedTuple):
    """An enabled one. https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html"""

    ignored_exit_codes: frozenset[int]
    attempt_period: int
    """Seconds that the container must have run to be started again."""


class ContainerSpec(NamedTuple):
    """What to make, for whichever runtime."""

    name: str
    image: str
    origin: Origin
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    network_mode: Literal["bridge", "host", "none"]
    port_mappings: tuple[PortMapping, ...]
    working_directory: str | None
    user: str | None
    docker_labels: tuple[tuple[str, str], ...]
    cpu_shares: int
    cpu_limit: int | None
    """CPU units that the container may not exceed, from the task-level value."""
    memory_limit: int | None
    """MiB, above which it is killed."""
    memory_reservation: int | None
    """MiB."""
    health_check: HealthCheck | None = None
    restart_policy: RestartPolicy | None = None


class UnusableTaskDefinitionError(Exception):
    """The task definition or its overrides make no container; the text says why."""


def container_specs(
    task_definition: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    container_instance_arn: str,
    cluster: str,
    task_arn: str,
    restart: Literal["never", "offline"] | None = None,
    stop_after: int | None = None,
) -> tuple[ContainerSpec, ...]:
    """One spec for each container, in the definition's order.

    Raises UnusableTaskDefinitionError.
    """
    try:
        by_name = {str(entry.get("name")): entry for entry in overrides.get("containerOverrides") or ()}
        task_cpu = _cpu_units(overrides.get("cpu") or task_definition.get("cpu"))
        task_memory = _mebibytes(overrides.get("memory") or task_definition.get("memory"))
        revision = f"{task_definition['family']}:{task_definition['revision']}"
        network_mode = task_definition.get("networkMode") or "bridge"
        if network_mode not in {"bridge", "host", "none"}:
            raise UnusableTaskDefinitionError(f"networkMode {network_mode} is not available on this machine")
        specs = []
        for definition in task_definition["containerDefinitions"]:
            container = {**definition, **_overridden(definition, by_name.get(definition["name"], {}))}
            memory = container.get("memory")
            origin = Origin(
                container_instance_arn=container_instance_arn,
                cluster=cluster,
                task_arn=task_arn,
                task_definition=revision,
                essential=bool(container.get("essential", True)),
                stop_timeout=int(container.get("stopTimeout") or DEFAULT_STOP_TIMEOUT_SECONDS),
                restart=restart,
                stop_after=stop_after,
            )
            specs.append(
                ContainerSpec(
                    name=container["name"],
                    image=container["image"],
                    origin=origin,
                    entry_point=tuple(container.get("entryPoint") or ()),
                    command=tuple(container.get("command") or ()),
                    environment=_pairs(container.get("environment")),
                    network_mode=cast("Literal['bridge', 'host', 'none']", network_mode),
                    port_mappings=_port_mappings(container.get("portMappings") or (), network_mode),
                    working_directory=container.get("workingDirectory") or None,
                    user=container.get("user") or None,
                    docker_labels=tuple(sorted((container.get("dockerLabels") or {}).items())),
                    cpu_shares=max(int(container.get("cpu") or 0), MIN_CPU_SHARES),
                    cpu_limit=task_cpu,
                    memory_limit=_smaller(int(memory) if memory else None, task_memory),
                    memory_reservation=int(container.get("memoryReservation") or 0) or None,
                    health_check=_health_check(container.get("healthCheck") or {}),
                    restart_policy=_restart_policy(container.get("restartPolicy") or {}),
                )
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableTaskDefinitionError(f"the task definition cannot be read: {error!r}") from error
    return tuple(specs)


def _health_check(given: Mapping[str, Any]) -> HealthCheck | None:
    command = tuple(str(word) for word in given.get("command") or ())
    if not command or command[0] == "NONE":
        return None
    return HealthCheck(
        command,
        interval=int(given.get("interval") or 30),
        timeout=int(given.get("timeout") or 5),
        retries=int(given.get("retries") or 3),
        start_period=int(given.get("startPeriod") or 0),
    )


def _restart_policy(given: Mapping[str, Any]) -> RestartPolicy | None:
    if not given.get("enabled"):
        return None
    return RestartPolicy(
        frozenset(int(code) for code in given.get("ignoredExitCodes") or ()),
        attempt_period=int(given.get("restartAttemptPeriod") or 300),
    )


def _overridden(definition: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """What an override replaces; environment variables are merged by name."""
    result: dict[str, Any] = {
        member: override[member] for member in ("command", "cpu", "memory", "memoryReservation") if override.get(member)
    }
    if override.get("environment"):
        merged = dict((*_pairs(definition.get("environment")), *_pairs(override["environment"])))
        result["environment"] = [{"name": name, "value": value} for name, value in merged.items()]
    return result


def _pairs(entries: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((str(entry["name"]), str(entry.get("value", ""))) for entry in entries or ())


def _port_mappings(entries: Sequence[Mapping[str, Any]], network_mode: str) -> tuple[PortMapping, ...]:
    """In network mode host a container's port is the machine's; with none there are no ports."""
    if network_mode == "none":
        return ()
    mappings = []
    for entry in entries:
        port = int(entry["containerPort"])
        host_port = port if network_mode == "host" else int(entry.get("hostPort") or 0)
        protocol: Protocol = "udp" if entry.get("protocol") == "udp" else "tcp"
        mappings.append(PortMapping(port, host_port, protocol))
    return tuple(mappings)


def _cpu_units(value: str | int | None) -> int | None:
    """`256`, `"256"` or `"0.25 vCPU"`."""
    if not value:
        return None
    text = str(value).strip().lower()
    return round(float(text.removesuffix("vcpu")) * 1024) if text.endswith("vcpu") else int(text)


def _mebibytes(value: str | int | None) -> int | None:
    """`512`, `"512"` or `"0.5 GB"`."""
    if not value:
        return None
    text = str(value).strip().lower()
    return round(float(text.removesuffix("gb")) * 1024) if text.endswith("gb") else int(text)


def _smaller(first: int | None, second: int | None) -> int | None:
    given = [value for value in (first, second) if value]
    return min(given) if given else None
