"""What RunTask and StartTask change of a task definition for the tasks that they start.

    definition ── overridden by ──► what a task runs ──► what it takes of its instance, and needs of its machine
                  the request

The agent makes containers of the definition and the overrides by the same rules (container_spec.py there). What no
runtime honours yet requires a capability here as it does in a definition, so that no machine gets what it would ignore.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html
"""

import json
from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.resources import Resources
from control_plane.domain.task_definition_linux import check_accelerators, check_resources
from control_plane.domain.task_definition_network import on_external
from control_plane.domain.task_definition_secrets import check_secrets, normalise_environment
from control_plane.domain.task_definition_sizes import check_sizes, reserved, task_sizes
from control_plane.domain.task_definition_texts import refuse_nul, refuse_others
from ecs_protocol.capabilities import required_attributes

Definition = dict[str, Any]

OF_THE_TASK = frozenset({"cpu", "memory", "taskRoleArn", "executionRoleArn"})
MEMBERS = OF_THE_TASK | {"containerOverrides", "inferenceAcceleratorOverrides", "ephemeralStorage"}
OF_A_CONTAINER = frozenset(
    {
        "name",
        "command",
        "environment",
        "environmentFiles",
        "cpu",
        "memory",
        "memoryReservation",
        "resourceRequirements",
    }
)
MAX_LENGTH = 8192
"""Characters of JSON."""


def validate_overrides(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Of a definition that can run on EXTERNAL. Raises InvalidParameterException or ClientException."""
    if not overrides:
        return
    refuse_others(overrides, MEMBERS, "Overrides")
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > MAX_LENGTH:
        raise InvalidParameterException(f"Container Overrides length must be at most {MAX_LENGTH}")
    refuse_nul(overrides, "Overrides")
    if overrides.get("ephemeralStorage"):
        raise InvalidParameterException("Ephemeral storage is only supported for Fargate tasks.")
    for each in overrides.get("inferenceAcceleratorOverrides", ()):
        # A definition that declares some cannot run on EXTERNAL, and so does not come here.
        raise InvalidParameterException(
            f"Override for inference accelerator named {each.get('deviceName')} is not a device in the TaskDefinition."
        )
    _check_names(definition, overrides)
    for each in overrides.get("containerOverrides", ()):
        refuse_others(each, OF_A_CONTAINER, f"Override of container '{each['name']}'")
        normalise_environment(each.get("environment", ()), each["name"])
    task = overridden(definition, overrides)
    changed = {each["name"] for each in overrides.get("containerOverrides", ())}
    for container in task["containerDefinitions"]:
        if container["name"] in changed:
            check_secrets(container, task.get("executionRoleArn"))
            check_resources(container)
    check_accelerators(task)
    check_sizes(task["containerDefinitions"], *task_sizes(task))


def _check_names(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    names = [each.get("name") for each in overrides.get("containerOverrides", ())]
    known = {container["name"] for container in definition["containerDefinitions"]}
    for name in names:
        if name not in known:
            raise InvalidParameterException(
                f"Override for container named {name} is not a container in the TaskDefinition."
            )
    if len(set(names)) < len(names):
        raise InvalidParameterException("A container has more than one override: put them into one.")


def overridden(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> Definition:
    """The definition as its task runs it. What an override leaves empty stays as it was."""
    changed = {each["name"]: each for each in overrides.get("containerOverrides", ())}
    return {
        **definition,
        **{member: overrides[member] for member in OF_THE_TASK if overrides.get(member)},
        "containerDefinitions": [
            _container(each, changed.get(each["name"], {})) for each in definition["containerDefinitions"]
        ],
    }


def _container(definition: Mapping[str, Any], override: Mapping[str, Any]) -> Definition:
    """With what an override replaces; environment variables are merged by name. No CPU units are no override."""
    pairs = [*definition.get("environment", ()), *override.get("environment", ())]
    merged = {pair["name"]: pair.get("value", "") for pair in pairs}
    return {
        **definition,
        **{
            member: value
            for member, value in override.items()
            if value not in (None, "", []) and (member, value) != ("cpu", 0)
        },
        "environment": [{"name": name, "value": value} for name, value in merged.items()],
    }


def task_requirements(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> frozenset[str]:
    """Names of the attributes that its machine must have: those of the definition, and of what is overridden."""
    registered = frozenset(attribute["name"] for attribute in definition.get("requiresAttributes", ()))
    if not overrides:
        return registered
    return registered.union(required_attributes(on_external(overridden(definition, overrides))))


def task_resources(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> Resources:
    """What one task takes of its instance.

    CPU is the task's, else the sum of its containers'; memory is the task's, else the sum of what containers reserve,
    or of their limit where they reserve nothing. Static host ports; a dynamic one is the machine's to choose.
    """
    task = overridden(definition, overrides)
    containers = task["containerDefinitions"]
    cpu, memory = task_sizes(task)
    return Resources(
        cpu=sum(each.get("cpu", 0) for each in containers) if cpu is None else cpu,
        memory=sum(reserved(each) for each in containers) if memory is None else memory,
        ports=frozenset(
            (mapping["hostPort"], mapping["protocol"])
            for each in containers
            for mapping in each["portMappings"]
            if mapping.get("hostPort")
        ),
    )
