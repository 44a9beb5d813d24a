"""The settings of the agent that mean something, under the names of Amazon's agent.

Each field says its variable, its default and what it is for; docs/agent-settings.md is made of that. Amazon's words:
https://github.com/aws/amazon-ecs-agent#environment-variables
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from ecs_anywhere_agent.settings import values as read
from ecs_protocol.capabilities import LOG_DRIVERS

_HOUR, _MINUTE = 3600.0, 60.0
_OTHER_LOG_DRIVERS = ("logentries", "none", "sumologic")
"""Those that Amazon's agent knows, too; no task definition for machines of one's own may name them."""

PULL_BEHAVIORS = ("default", "always", "once", "prefer-cached")
LOG_LEVELS = ("crit", "error", "warn", "info", "debug")


class ImpossibleValueError(Exception):
    """A value with which Amazon's agent does not start: nobody should get a default that they have not asked for."""


def _log_drivers(text: str) -> tuple[str, ...]:
    drivers = read.words(text)
    unknown = [driver for driver in drivers if driver not in {*LOG_DRIVERS, *_OTHER_LOG_DRIVERS}]
    if unknown:
        raise ImpossibleValueError(f"Invalid logging drivers: {', '.join(unknown)}")
    return drivers


def _must_be_texts(text: str) -> tuple[tuple[str, str], ...]:
    try:
        return read.text_map(text)
    except ValueError as error:
        raise ImpossibleValueError(str(error)) from error


def _as(reading: Any) -> BeforeValidator:
    """Values that were read already pass."""
    return BeforeValidator(lambda value: reading(value) if isinstance(value, str) else value)


Boolean = Annotated[bool, _as(read.boolean)]
Ports = Annotated[tuple[int, ...], _as(read.ports)]
Positive = Annotated[float, _as(read.positive)]


def _set(variable: str, default: Any, says: str, shown: str | None = None) -> Any:
    """`shown`: the default in words."""
    return Field(default=default, alias=variable, description=says, json_schema_extra={"shown": shown})


class Settings(BaseModel):
    """Durations are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    # The instance.
    cluster: str | None = _set(
        "ECS_CLUSTER", None, "must be the cluster of the activation that the machine was registered with", "any"
    )
    data_dir: str | None = _set(
        "ECS_DATADIR",
        None,
        "where identity and state are kept; `--data-dir` and `ECS_ANYWHERE_AGENT_DATA_DIR` come first",
        "~/.local/state/ecs-anywhere-agent",
    )
    instance_attributes: Annotated[tuple[tuple[str, str], ...], _as(_must_be_texts)] = _set(
        "ECS_INSTANCE_ATTRIBUTES",
        (),
        "custom attributes, a JSON object; sent whenever they change. `--attribute` adds to them",
        "{}",
    )
    tags: Annotated[tuple[tuple[str, str], ...], _as(_must_be_texts)] = _set(
        "ECS_CONTAINER_INSTANCE_TAGS",
        (),
        "tags of the container instance when it registers for the first time, a JSON object; later: TagResource",
        "{}",
    )
    reserved_memory: Annotated[int | None, _as(read.uint16)] = _set(
        "ECS_RESERVED_MEMORY", None, "MiB that are not offered to tasks", "a sixteenth, 64 to 512"
    )
    reserved_ports: Ports = _set(
        "ECS_RESERVED_PORTS", (22, 2375, 2376, 51678, 51679), "TCP ports that no task may have, a JSON array"
    )
    reserved_ports_udp: Ports = _set("ECS_RESERVED_PORTS_UDP", (), "UDP ports that no task may have, a JSON array")

    # What tasks may have. What is off is not announced, and a task that needs it is refused by the machine, too.
    log_drivers: Annotated[tuple[str, ...] | None, _as(_log_drivers)] = _set(
        "ECS_AVAILABLE_LOGGING_DRIVERS",
        None,
        "log drivers that tasks may have, a JSON array, as far as the Docker Engine has them",
        "all that the Engine has",
    )
    privileged_disabled: Boolean = _set("ECS_DISABLE_PRIVILEGED", False, "no privileged containers")
    selinux: Annotated[bool | None, _as(read.boolean)] = _set(
        "ECS_SELINUX_CAPABLE", None, "`false`: no SELinux labels", "as the Engine says"
    )
    apparmor: Annotated[bool | None, _as(read.boolean)] = _set(
        "ECS_APPARMOR_CAPABLE", None, "`false`: no AppArmor profiles", "as the Engine says"
    )
    task_limits: Boolean = _set(
        "ECS_ENABLE_TASK_CPU_MEM_LIMIT", True, "`false`: no CPU and memory limits of tasks with several containers"
    )
    task_roles: Boolean = _set("ECS_ENABLE_TASK_IAM_ROLE", True, "`false`: no tasks with a task role")
    task_roles_on_host_network: Boolean = _set(
        "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST", True, "`false`: none in network mode `host`"
    )
    awslogs_by_execution_role: Boolean = _set(
        "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE", True, "`false`: no `awslogs` by an execution role"
    )
    gpus: Boolean = _set("ECS_ENABLE_GPU_SUPPORT", False, "tasks may have the machine's GPUs")
    nvidia_runtime: str = _set("ECS_NVIDIA_RUNTIME", "nvidia", "the Docker runtime of containers with GPUs")

    # Containers.
    task_cleanup_wait: Annotated[float, _as(read.at_least(1.0))] = _set(
        "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION",
        3 * _HOUR,
        "how long a stopped task's containers, logs and own volumes are kept; less than `1s` is no value",
        "3h",
    )
    task_cleanup_jitter: Annotated[float, _as(read.at_least(0.0))] = _set(
        "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER", 0.0, "for each task, up to so much longer", "none"
    )
    container_stop_timeout: Annotated[float, _as(read.raised_to(1.0))] = _set(
        "ECS_CONTAINER_STOP_TIMEOUT", 30.0, "for containers without a `stopTimeout`, or with 0; at least `1s`", "30s"
    )
    container_start_timeout: Annotated[float, _as(read.raised_to(45.0))] = _set(
        "ECS_CONTAINER_START_TIMEOUT",
        3 * _MINUTE,
        "how long the Engine may take for a start until it is asked again; at least `45s`",
        "3m",
    )
    container_create_timeout: Annotated[float, _as(read.raised_to(_MINUTE))] = _set(
        "ECS_CONTAINER_CREATE_TIMEOUT", 4 * _MINUTE, "likewise for making a container; at least `1m`", "4m"
    )
    shared_volumes_match: Boolean = _set(
        "ECS_SHARED_VOLUME_MATCH_FULL_CONFIG",
        False,
        "a shared volume that is there must have the definition's labels and driver options, too",
    )

    # Images.
    pull_behavior: Annotated[str, _as(read.one_of(*PULL_BEHAVIORS))] = _set(
        "ECS_IMAGE_PULL_BEHAVIOR",
        "default",
        "`default`: pull each time, use what is there if that fails (at once; without it a pull is tried five times); "
        "`always`: or do not start; `once`: unless a task has pulled it and it is there; `prefer-cached`: unless "
        "something is there, and images are never cleaned up",
    )
    pull_upfront: Boolean = _set(
        "ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT", False, "pull before the `dependsOn` of a container is fulfilled"
    )
    pull_inactivity_timeout: Annotated[float, _as(read.raised_to(_MINUTE))] = _set(
        "ECS_IMAGE_PULL_INACTIVITY_TIMEOUT", _MINUTE, "how long a pull may make no progress; at least `1m`", "1m"
    )
    pull_timeout: Positive = _set("ECS_IMAGE_PULL_TIMEOUT", 2 * _HOUR, "how long a pull may take in all", "2h")
    registry_auth_type: Annotated[str, _as(read.one_of("docker", "dockercfg"))] | None = _set(
        "ECS_ENGINE_AUTH_TYPE", None, "`docker` or `dockercfg`: what `ECS_ENGINE_AUTH_DATA` is", "none"
    )
    registry_auth_data: SecretStr | None = _set(
        "ECS_ENGINE_AUTH_DATA", None, "names and passwords for registries, JSON; never logged", "none"
    )
    image_cleanup_disabled: Boolean = _set("ECS_DISABLE_IMAGE_CLEANUP", False, "images are never removed")
    image_cleanup_interval: Annotated[float, _as(read.at_least(600.0))] = _set(
        "ECS_IMAGE_CLEANUP_INTERVAL", 30 * _MINUTE, "time between clean-ups; less than `10m` is no value", "30m"
    )
    image_minimum_age: Positive = _set(
        "ECS_IMAGE_MINIMUM_CLEANUP_AGE", _HOUR, "how long ago an image was pulled, at least", "1h"
    )
    images_per_cycle: Annotated[int, _as(read.at_least(1, read.whole_number))] = _set(
        "ECS_NUM_IMAGES_DELETE_PER_CYCLE", 5, "images removed in one clean-up, the longest unused first"
    )
    untracked_cleanup: Boolean = _set(
        "ECS_ENABLE_UNTRACKED_IMAGE_CLEANUP",
        False,
        "remove also images and ended containers that are none of a task's, after those that are",
    )
    excluded_images: Annotated[tuple[str, ...], _as(read.commas)] = _set(
        "ECS_EXCLUDE_UNTRACKED_IMAGE", (), "`name:tag,…` of images that stay", "none"
    )
    untracked_image_minimum_age: Positive = _set(
        "NON_ECS_IMAGE_MINIMUM_CLEANUP_AGE", _HOUR, "how long ago such an image was made, at least", "1h"
    )
    untracked_containers_per_cycle: Annotated[int, _as(read.at_least(1, read.whole_number))] = _set(
        "NONECS_NUM_CONTAINERS_DELETE_PER_CYCLE", 5, "such containers removed in one clean-up"
    )
    minimum_free_disk: Annotated[int, _as(read.percentage)] = _set(
        "ECS_ANYWHERE_MINIMUM_FREE_DISK",
        10,
        "percent of the disk, or of 100 GiB of a larger one: with less, stopped tasks' containers and unused images "
        "go at once; 0: never. Ours",
    )

    # The agent itself.
    metadata_rates: Annotated[tuple[int, int], _as(read.rates)] = _set(
        "ECS_TASK_METADATA_RPS_LIMIT", (40, 60), "requests a second to the metadata endpoint: steady, burst", "40,60"
    )
    log_level: Annotated[str, _as(read.one_of(*LOG_LEVELS))] = _set(
        "ECS_LOGLEVEL", "info", f"{', '.join(f'`{each}`' for each in LOG_LEVELS)}"
    )
    log_file: str | None = _set("ECS_LOGFILE", None, "the log goes to this file, too", "none")
    log_file_level: Annotated[str, _as(read.one_of("none", *LOG_LEVELS))] | None = _set(
        "ECS_LOGLEVEL_ON_INSTANCE", None, "the level in the file; `none`: no file", "ECS_LOGLEVEL"
    )
    log_rollover: Annotated[str, _as(read.one_of("size", "hourly"))] = _set(
        "ECS_LOG_ROLLOVER_TYPE", "hourly", "when the file is begun anew: `size` or `hourly`"
    )
    log_file_size: Annotated[int, _as(read.at_least(1, read.whole_number))] = _set(
        "ECS_LOG_MAX_FILE_SIZE_MB", 10, "with `size`: at so many MB"
    )
    log_files: Annotated[int, _as(read.at_least(1, read.whole_number))] = _set(
        "ECS_LOG_MAX_ROLL_COUNT", 24, "how many earlier files are kept"
    )
    log_format: Annotated[str, _as(read.one_of("logfmt", "json"))] | None = _set(
        "ECS_LOG_OUTPUT_FORMAT", None, "`logfmt` or `json`", "plain lines"
    )
    docker_host: str | None = _set(
        "DOCKER_HOST", None, "the Engine's socket on this machine (`unix://…`)", "unix:///var/run/docker.sock"
    )
    http_proxy: str | None = _set("HTTP_PROXY", None, "the proxy for `http:` addresses; not for MQTT", "none")
    https_proxy: str | None = _set("HTTPS_PROXY", None, "the proxy for `https:` addresses; not for MQTT", "none")
    no_proxy: str | None = _set("NO_PROXY", None, "hosts that are reached without it", "none")


DEFAULTS = Settings()
