"""Answers of the task metadata endpoint, version 4. Pure.

In the shape of Amazon's agent: names, order, and what is left out when there is nothing to say.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-response.html
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ecs_anywhere_agent.container_spec import task_limits
from ecs_anywhere_agent.core.values import Container, Phase, Task, TaskDefinition
from ecs_anywhere_agent.runtime.view import Seen

_SERVICE = "service:"
_NORMAL = "NORMAL"
"""Of a container that a task definition names. Amazon's agent has others, for its own."""


class Asked(NamedTuple):
    """A task, and what its containers' runtime says of them, by name."""

    task: Task
    definition: TaskDefinition
    """{}: not known, of a task that was adopted."""
    seen: Mapping[str, Seen]


def task_response(asked: Asked, *, with_tags: bool = False) -> dict[str, Any]:
    task, definition = asked.task, asked.definition
    command = task.command
    family, _, revision = task.task_definition.rpartition(":")
    group = "" if command is None else command.group or ""
    limits = task_limits(definition, {} if command is None else command.overrides)
    said_limits = _said(
        {"CPU": None if limits.cpu is None else _number(limits.cpu / 1024), "Memory": limits.memory or None}
    )
    return {
        "Cluster": _cluster(task),
        "TaskARN": _task_arn(task),
        "Family": family,
        "Revision": revision,
        "DesiredStatus": _desired(task),
        "KnownStatus": min((_status(each) for each in task.containers), key=_STATUSES.index, default=_STATUSES[0]),
        **_said(
            {
                "Limits": said_limits or None,
                "PullStartedAt": _time(task.pull_started_at),
                "PullStoppedAt": _time(task.pull_stopped_at),
                "ExecutionStoppedAt": _time(task.execution_stopped_at),
                "TaskTags": (dict(command.tags) or None) if with_tags and command is not None else None,
                "LaunchType": "EXTERNAL" if command is None else command.launch_type,
                "Containers": [container_response(asked, each) for each in task.containers if each.name in asked.seen],
                "ServiceName": group.removeprefix(_SERVICE) if group.startswith(_SERVICE) else None,
            }
        ),
        "FaultInjectionEnabled": False,
    }


def container_response(asked: Asked, container: Container) -> dict[str, Any]:
    """Of a container that `asked.seen` has."""
    task, seen = asked.task, asked.seen[container.name]
    definition = _definition(asked, container.name)
    log = definition.get("logConfiguration") or {}
    checked = bool(definition.get("healthCheck"))
    return {
        "DockerId": container.runtime_id or "",
        "Name": container.name,
        "DockerName": seen.docker_name,
        "Image": definition.get("image", ""),
        "ImageID": seen.image_id,
        **_said({"Ports": _ports(container) or None, "Labels": dict(seen.labels) or None}),
        "DesiredStatus": _desired(task),
        "KnownStatus": _status(container),
        **_said({"ExitCode": container.exit_code}),
        "Limits": {"CPU": int(definition.get("cpu") or 0), "Memory": int(definition.get("memory") or 0)},
        **_said(
            {
                "CreatedAt": seen.created_at,
                "StartedAt": seen.started_at,
                "FinishedAt": seen.finished_at if container.phase is Phase.STOPPED else None,
                "Type": _NORMAL,
                "Health": {"status": container.health, **(seen.health or {})} if checked else None,
                "Volumes": [dict(each) for each in seen.volumes] or None,
                "LogDriver": log.get("logDriver") or seen.log_driver,
                "LogOptions": dict(log.get("options") or {}) or None,
                "ContainerARN": _container_arn(task, container.name),
                "Networks": [dict(each) for each in seen.networks] or None,
            }
        ),
    }


_STATUSES = ("NONE", "PULLED", "CREATED", "RUNNING", "STOPPED")
"""Amazon's, of containers and of tasks; a task has the least of its containers'."""

_STATUS: Mapping[Phase, str] = {
    Phase.WAITING: "NONE",
    Phase.PULLING: "NONE",
    Phase.PULLED: "PULLED",
    Phase.CREATING: "PULLED",
    Phase.CREATED: "CREATED",
    Phase.STARTING: "CREATED",
    Phase.RUNNING: "RUNNING",
    Phase.STOPPING: "RUNNING",
    Phase.STOPPED: "STOPPED",
    Phase.ENDED: "RUNNING",
    Phase.RESTARTING: "RUNNING",
}
"""One that is to be started again counts as running, as it does for the control plane."""


def _status(container: Container) -> str:
    return _STATUS[container.phase]


def _desired(task: Task) -> str:
    return "STOPPED" if task.stopping else "RUNNING"


def _definition(asked: Asked, name: str) -> Mapping[str, Any]:
    """What the task definition says of the container, and the task's overrides of its limits."""
    definition = _named(asked.definition.get("containerDefinitions"), name)
    overrides = {} if asked.task.command is None else asked.task.command.overrides
    override = _named(overrides.get("containerOverrides"), name)
    return {**definition, **{member: override[member] for member in ("cpu", "memory") if override.get(member)}}


def _named(entries: Iterable[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any]:
    return next((each for each in entries or () if each.get("name") == name), {})


def _cluster(task: Task) -> str:
    if task.command is not None:
        return task.command.cluster_arn
    return "" if task.found is None else task.found.cluster


def _task_arn(task: Task) -> str:
    if task.command is not None:
        return task.command.task_arn
    return "" if task.found is None else task.found.task_arn


def _container_arn(task: Task, name: str) -> str | None:
    """The one that DescribeTasks shows."""
    arn = _task_arn(task)
    return f"{arn.replace(':task/', ':container/', 1)}/{name}" if arn else None


def _ports(container: Container) -> list[dict[str, Any]]:
    return [
        {
            "ContainerPort": each.container_port,
            "Protocol": each.protocol,
            "HostPort": each.host_port,
            "HostIp": each.bind_ip,
        }
        for each in container.bindings
    ]


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def _number(value: float) -> float | int:
    """As Go writes one: 2, not 2.0."""
    return int(value) if value == int(value) else value


def _said(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
