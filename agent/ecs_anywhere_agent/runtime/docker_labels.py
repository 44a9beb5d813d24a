"""What the agent writes on its containers and volumes, and reads again. Pure.

Those of Amazon's agent, and what it takes to adopt a container without the state file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ecs_anywhere_agent.container_network import PortRange
from ecs_anywhere_agent.container_order import from_text, to_text
from ecs_anywhere_agent.container_spec import ContainerSpec, Origin, TaskLimits
from ecs_anywhere_agent.core.values import ContainerRef

_AMAZON = "com.amazonaws.ecs."
_OWN = "ecs-anywhere."


def owner_label(data_dir: str) -> str:
    """Tells the containers of several agents on one machine apart."""
    return f"{_OWN}data-dir={data_dir}"


def task_label(task_id: str) -> str:
    return f"{_OWN}task-id={task_id}"


def task_id_of(labels: Mapping[str, str]) -> str | None:
    return labels.get(f"{_OWN}task-id")


def without_own(labels: Mapping[str, str]) -> dict[str, str]:
    """What Amazon's agent would have written, and the task definition."""
    return {name: value for name, value in labels.items() if not name.startswith(_OWN)}


def task_labels(task_id: str, data_dir: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in (task_label(task_id), owner_label(data_dir)))


def ref_of(labels: Mapping[str, str]) -> ContainerRef | None:
    """None: not a container that an agent made."""
    task_id, name = task_id_of(labels), labels.get(f"{_AMAZON}container-name")
    return ContainerRef(task_id, name) if task_id and name else None


def is_of_ecs(labels: Mapping[str, str]) -> bool:
    """An agent made the container, this one, another one of ours, or Amazon's."""
    return any(name.startswith((_AMAZON, _OWN)) for name in labels)


def container_labels(ref: ContainerRef, spec: ContainerSpec, data_dir: str) -> dict[str, str]:
    origin = spec.origin
    family, _, revision = origin.task_definition.rpartition(":")
    said = {
        "restart": origin.restart,
        "stop-after": origin.stop_after,
        "depends-on": to_text(origin.depends_on),
        "gpu-ids": ",".join(origin.gpu_ids),
        "task-cpu": spec.task_limits.cpu,
        "task-memory": spec.task_limits.memory,
        "port-ranges": ",".join(f"{each}/{each.protocol}" for each in spec.network.port_ranges),
        "secret-log-options": ",".join(each.name for each in (spec.logs.secret_options if spec.logs else ())),
    }
    return {
        f"{_AMAZON}cluster": origin.cluster,
        f"{_AMAZON}container-name": ref.name,
        f"{_AMAZON}task-arn": origin.task_arn,
        f"{_AMAZON}task-definition-family": family,
        f"{_AMAZON}task-definition-version": revision,
        **task_labels(ref.task_id, data_dir),
        f"{_OWN}container-instance": origin.container_instance_arn,
        f"{_OWN}essential": "true" if origin.essential else "false",
        f"{_OWN}stop-timeout": str(origin.stop_timeout),
        **{f"{_OWN}{name}": str(value) for name, value in said.items() if value},
    }


def origin_of(labels: Mapping[str, str]) -> Origin:
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
        depends_on=from_text(labels.get(f"{_OWN}depends-on", "")),
        gpu_ids=tuple(filter(None, labels.get(f"{_OWN}gpu-ids", "").split(","))),
    )


def task_limits_of(labels: Mapping[str, str]) -> TaskLimits:
    cpu, memory = (int(labels.get(f"{_OWN}task-{name}", "0")) or None for name in ("cpu", "memory"))
    return TaskLimits(cpu, memory)


def port_ranges_of(labels: Mapping[str, str]) -> Iterator[PortRange]:
    for text in filter(None, labels.get(f"{_OWN}port-ranges", "").split(",")):
        ports, _, protocol = text.partition("/")
        first, _, last = ports.partition("-")
        yield PortRange(int(first), int(last), "udp" if protocol == "udp" else "tcp")


def secret_log_options(inspected: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of the log driver's options that came from secrets. `inspected` is the container's."""
    names = inspected["Config"]["Labels"].get(f"{_OWN}secret-log-options", "").split(",")
    options = inspected["HostConfig"]["LogConfig"].get("Config") or {}
    return tuple(options[name] for name in names if name in options)
