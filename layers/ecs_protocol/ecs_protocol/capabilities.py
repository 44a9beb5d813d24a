"""The one table of capabilities.

Registration of a task definition computes requiresAttributes from it, the agent announces from it what its runtime can
do, and placement compares the two: a member that a machine cannot honour never reaches it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TaskDefinition = Mapping[str, Any]
"""In the shape of the ECS API."""


@dataclass(frozen=True)
class Capability:
    """`features` is what a runtime must be able to do to announce it.

    A runtime's features are among: docker, process, external, port-mapping (a host port that is not the container's),
    other-user (a user other than the agent's own), health-check, restart-policy.
    """

    name: str
    required_by: Callable[[TaskDefinition], bool]
    features: frozenset[str]


def _maps_ports(definition: TaskDefinition) -> bool:
    """A mapping to the same port, or to none that is named, asks nothing of a runtime without a network of its own."""
    if definition.get("networkMode") == "host":
        return False
    return any(
        mapping.get("hostPort", mapping["containerPort"]) != mapping["containerPort"]
        for container in definition["containerDefinitions"]
        for mapping in container.get("portMappings", ())
    )


def _any_container(member: str) -> Callable[[TaskDefinition], bool]:
    return lambda definition: any(container.get(member) for container in definition["containerDefinitions"])


def _checks_health(definition: TaskDefinition) -> bool:
    commands = [(container.get("healthCheck") or {}).get("command") for container in definition["containerDefinitions"]]
    return any(command and command[0] != "NONE" for command in commands)


def _restarts_containers(definition: TaskDefinition) -> bool:
    return any(
        (container.get("restartPolicy") or {}).get("enabled") for container in definition["containerDefinitions"]
    )


CAPABILITIES: tuple[Capability, ...] = (
    Capability(
        "ecs.capability.external",
        lambda definition: "EXTERNAL" in definition.get("requiresCompatibilities", ()),
        frozenset({"external"}),
    ),
    Capability(
        "com.amazonaws.ecs.capability.docker-remote-api.1.18", _any_container("dockerLabels"), frozenset({"docker"})
    ),
    Capability("ecs.capability.container-health-check", _checks_health, frozenset({"health-check"})),
    Capability("ecs.capability.container-restart-policy", _restarts_containers, frozenset({"restart-policy"})),
    Capability("ecs-anywhere.capability.port-mapping", _maps_ports, frozenset({"port-mapping"})),
    Capability("ecs-anywhere.capability.container-user", _any_container("user"), frozenset({"other-user"})),
)


def required_attributes(definition: TaskDefinition) -> tuple[str, ...]:
    """Names of the attributes that an instance must have to run a task definition, sorted."""
    return tuple(sorted(capability.name for capability in CAPABILITIES if capability.required_by(definition)))


def announced_attributes(features: Iterable[str]) -> tuple[str, ...]:
    """Names of the attributes that a runtime with these features announces, sorted."""
    able = frozenset(features)
    return tuple(sorted(capability.name for capability in CAPABILITIES if capability.features <= able))
