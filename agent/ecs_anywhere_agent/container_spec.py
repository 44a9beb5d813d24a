"""Task definition and overrides in, what a runtime has to make out. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, cast

from ecs_anywhere_agent.container_firelens import (
    DRIVER,
    LogRouter,
    UnusableLogOptionsError,
    routing_of,
    sends,
    with_router,
)
from ecs_anywhere_agent.container_linux import Linux, linux_of
from ecs_anywhere_agent.container_network import Network, PortMapping, network_of, port_mappings
from ecs_anywhere_agent.container_order import Dependency, dependencies_of, from_text, ordered, to_text
from ecs_anywhere_agent.container_secrets import Registry, Secret, region_of, registry_of, secrets_of
from ecs_anywhere_agent.container_storage import Storage, storage_of
from ecs_protocol.roles import roles_of

DEFAULT_STOP_TIMEOUT_SECONDS = 30
"""For a stopTimeout that is unset or 0, as with Amazon's agent."""
MIN_CPU_SHARES = 2
"""What Amazon's agent passes for a container whose cpu is 0 or unset."""


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
    depends_on: tuple[Dependency, ...] = ()
    gpu_ids: tuple[str, ...] = ()
    """Of the machine's GPUs, those that the container has."""

    @property
    def region(self) -> str:
        """The instance's, and so that of what is named without one."""
        return region_of(self.container_instance_arn, "")

    def to_json(self) -> list[Any]:
        """A JSON value; what says nothing new is as an earlier version of the agent wrote it."""
        added = [to_text(self.depends_on), list(self.gpu_ids)]
        while added and not added[-1]:
            added.pop()
        return [*self[:-2], *added]

    @classmethod
    def from_json(cls, given: Sequence[Any]) -> Self:
        """Also of what an earlier version of the agent wrote."""
        known = cls(*given)
        depends_on = from_text(str(known.depends_on)) if known.depends_on else ()
        return known._replace(depends_on=depends_on, gpu_ids=tuple(known.gpu_ids))


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


class LogConfiguration(NamedTuple):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html"""

    driver: str
    options: tuple[tuple[str, str], ...]
    secret_options: tuple[Secret, ...] = ()


class TaskLimits(NamedTuple):
    """What all containers of a task together may not exceed; None: not limited."""

    cpu: int | None
    """CPU units."""
    memory: int | None
    """MiB."""


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
    memory_limit: int | None
    """MiB of its own, above which it is killed."""
    memory_reservation: int | None
    """MiB."""
    task_limits: TaskLimits = TaskLimits(None, None)
    """With one container they are its own; for several a runtime must know how to hold them together."""
    health_check: HealthCheck | None = None
    restart_policy: RestartPolicy | None = None
    start_timeout: int | None = None
    """Seconds that what depends on it waits for it."""
    linux: Linux = Linux()
    network: Network = Network()
    storage: Storage = Storage()
    logs: LogConfiguration | None = None
    routes_logs: LogRouter | None = None
    """It takes what other containers of the task write."""
    log_router: str | None = None
    """The container that takes what this one writes."""
    acts_as: str | None = None
    """The task's role."""
    execution_role: str | None = None
    secrets: tuple[Secret, ...] = ()
    environment_files: tuple[str, ...] = ()
    """ARNs of objects in S3, of which the first that has a variable counts."""
    registry: Registry | None = None
    """None: the image is pulled as anybody may pull it."""

    @property
    def needs_execution_role(self) -> bool:
        """Whether there are values to be fetched before it is made."""
        of_logs = (self.logs and self.logs.secret_options) or (self.routes_logs and self.routes_logs.external)
        return bool(self.secrets or self.environment_files or of_logs)

    @property
    def least_memory_limit(self) -> int | None:
        """MiB: its own limit or the task's, whichever is smaller."""
        given = [limit for limit in (self.memory_limit, self.task_limits.memory) if limit]
        return min(given) if given else None


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
    gpu_ids: Mapping[str, Sequence[str]] | None = None,
    default_stop_timeout: int = DEFAULT_STOP_TIMEOUT_SECONDS,
) -> tuple[ContainerSpec, ...]:
    """One spec for each container, in the definition's order. `gpu_ids`: those that each container gets.

    Raises UnusableTaskDefinitionError.
    """
    try:
        by_name = {str(entry.get("name")): entry for entry in overrides.get("containerOverrides") or ()}
        limits = task_limits(task_definition, overrides)
        revision = f"{task_definition['family']}:{task_definition['revision']}"
        roles = roles_of(task_definition, overrides)
        network_mode = task_definition.get("networkMode") or "bridge"
        if network_mode not in {"bridge", "host", "none"}:
            raise UnusableTaskDefinitionError(f"networkMode {network_mode} is not available on this machine")
        routing = routing_of(task_definition, network_mode, cluster=cluster, task_arn=task_arn, revision=revision)
        specs = []
        for definition in task_definition["containerDefinitions"]:
            container = {**definition, **_overridden(definition, by_name.get(definition["name"], {}))}
            memory = container.get("memory")
            routes = routing is not None and routing.name == container["name"]
            origin = Origin(
                container_instance_arn=container_instance_arn,
                cluster=cluster,
                task_arn=task_arn,
                task_definition=revision,
                essential=bool(container.get("essential", True)),
                stop_timeout=int(container.get("stopTimeout") or default_stop_timeout),
                restart=restart,
                stop_after=stop_after,
                depends_on=with_router(dependencies_of(container), container, routing),
                gpu_ids=tuple((gpu_ids or {}).get(container["name"], ())),
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
                    port_mappings=port_mappings(container, network_mode),
                    working_directory=container.get("workingDirectory") or None,
                    user=container.get("user") or None,
                    docker_labels=tuple(sorted((container.get("dockerLabels") or {}).items())),
                    cpu_shares=max(int(container.get("cpu") or 0), MIN_CPU_SHARES),
                    memory_limit=int(memory) if memory else None,
                    memory_reservation=int(container.get("memoryReservation") or 0) or None,
                    task_limits=limits,
                    health_check=_health_check(container.get("healthCheck") or {}),
                    restart_policy=_restart_policy(container.get("restartPolicy") or {}),
                    start_timeout=int(container.get("startTimeout") or 0) or None,
                    linux=linux_of(container, task_definition),
                    network=network_of(container, network_mode),
                    storage=storage_of(container, task_definition),
                    logs=_logs(container.get("logConfiguration") or {}),
                    routes_logs=routing.router if routes and routing else None,
                    log_router=routing.name if routing and sends(container) else None,
                    acts_as=roles.get("task"),
                    execution_role=roles.get("execution"),
                    secrets=secrets_of(container.get("secrets")) + (routing.secrets if routes and routing else ()),
                    environment_files=tuple(str(each["value"]) for each in container.get("environmentFiles") or ()),
                    registry=registry_of(container, execution_role="execution" in roles, region=origin.region),
                )
            )
        _check_order(specs)
    except UnusableLogOptionsError as error:
        raise UnusableTaskDefinitionError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableTaskDefinitionError(f"the task definition cannot be read: {error!r}") from error
    return tuple(specs)


def task_limits(task_definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> TaskLimits:
    """Raises ValueError."""
    return TaskLimits(
        _cpu_units(overrides.get("cpu") or task_definition.get("cpu")),
        _mebibytes(overrides.get("memory") or task_definition.get("memory")),
    )


def _check_order(specs: Sequence[ContainerSpec]) -> None:
    """Of dependsOn, links and volumesFrom together. Raises UnusableTaskDefinitionError."""
    if ordered({spec.name: [each.container for each in spec.origin.depends_on] for spec in specs}) is None:
        raise UnusableTaskDefinitionError("its containers depend on each other in a circle")


def _logs(given: Mapping[str, Any]) -> LogConfiguration | None:
    if not given.get("logDriver"):
        return None
    options = tuple(sorted((given.get("options") or {}).items()))
    secret_options = secrets_of(given.get("secretOptions")) if given["logDriver"] != DRIVER else ()  # the log router's
    return LogConfiguration(given["logDriver"], options, secret_options)


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
    replaced = ("command", "cpu", "memory", "memoryReservation", "environmentFiles")
    result: dict[str, Any] = {member: override[member] for member in replaced if override.get(member)}
    if override.get("environment"):
        merged = dict((*_pairs(definition.get("environment")), *_pairs(override["environment"])))
        result["environment"] = [{"name": name, "value": value} for name, value in merged.items()]
    return result


def _pairs(entries: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((str(entry["name"]), str(entry.get("value", ""))) for entry in entries or ())


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
