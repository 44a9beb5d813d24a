"""Task definitions: what is accepted, how it is completed, and what a task made from one takes.

What is not listed here is refused by name and never ignored (docs/limits.md).

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException, InvalidParameterException
from control_plane.domain.resources import Resources
from ecs_protocol.capabilities import required_attributes

Definition = dict[str, Any]

MEMBERS = frozenset(
    {"family", "networkMode", "containerDefinitions", "requiresCompatibilities", "cpu", "memory", "tags"}
)
CONTAINER_MEMBERS = frozenset(
    {
        "name",
        "image",
        "cpu",
        "memory",
        "memoryReservation",
        "essential",
        "command",
        "entryPoint",
        "environment",
        "portMappings",
        "workingDirectory",
        "user",
        "stopTimeout",
        "dockerLabels",
    }
)
PORT_MAPPING_MEMBERS = frozenset({"containerPort", "hostPort", "protocol", "name"})
OVERRIDE_MEMBERS = frozenset({"containerOverrides", "cpu", "memory"})
CONTAINER_OVERRIDE_MEMBERS = frozenset({"name", "command", "environment", "cpu", "memory", "memoryReservation"})

MAX_BYTES = 64 * 1024
LEAST_MEMORY = 6
"""MiB; Docker takes no less."""
MAX_STOP_TIMEOUT_SECONDS = 86400


def normalise(request: Mapping[str, Any]) -> Definition:
    """A RegisterTaskDefinition request, checked and completed as Amazon ECS answers it.

    Without what only registering adds: ARN, revision, status, time. Raises ClientException.
    """
    _refuse_others(request, MEMBERS, "Task definition")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", request["family"]):
        raise ClientException(
            "Family should match pattern [a-zA-Z0-9_-]{1,255}: letters (uppercase and lowercase), numbers, "
            "underscores, and hyphens."
        )
    mode = _network_mode(request)
    containers = [_container(each, mode) for each in request["containerDefinitions"]]
    definition: Definition = {
        "family": request["family"],
        "containerDefinitions": containers,
        "volumes": [],
        "placementConstraints": [],
        "compatibilities": ["EXTERNAL", "EC2"],
        "requiresCompatibilities": list(request.get("requiresCompatibilities", ())),
    }
    if "networkMode" in request:
        definition["networkMode"] = mode
    if request.get("cpu"):
        definition["cpu"] = str(cpu_units(request["cpu"]))
    if request.get("memory"):
        definition["memory"] = str(mebibytes(request["memory"]))
    _check_containers(containers, "memory" in definition, int(definition.get("memory", 0)))
    definition["requiresAttributes"] = [{"name": name} for name in required_attributes(definition)]
    if len(json.dumps(definition)) > MAX_BYTES:
        raise ClientException("Task definition exceeds the maximum size of 64 KiB.")
    return definition


def _network_mode(request: Mapping[str, Any]) -> str:
    mode: str = request.get("networkMode", "bridge")
    compatibilities = request.get("requiresCompatibilities", ())
    if mode == "awsvpc":
        raise ClientException(
            "Network mode 'awsvpc' is not supported yet: machines of your own have no VPC. Use bridge or host."
        )
    if "FARGATE" in compatibilities:
        raise ClientException("Fargate only supports network mode 'awsvpc'.")
    unknown = set(compatibilities) - {"EXTERNAL", "EC2"}
    if unknown:
        raise ClientException(f"Compatibility {sorted(unknown)[0]} is not supported yet. Use EXTERNAL.")
    return mode


def _container(given: Mapping[str, Any], mode: str) -> Definition:
    name = given.get("name") or ""
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
        raise ClientException("Container.name contains invalid characters.")
    _refuse_others(given, CONTAINER_MEMBERS, f"Container '{name}'")
    if not given.get("image"):
        raise ClientException("Container.image should not be null or empty.")
    _check_memory(given, name)
    stop_timeout = given.get("stopTimeout")
    if stop_timeout is not None and not 0 <= stop_timeout <= MAX_STOP_TIMEOUT_SECONDS:
        raise ClientException(f"Invalid 'stopTimeout' setting for container '{name}'.")
    environment = [dict(pair) for pair in given.get("environment", ())]
    if any(not pair.get("name") for pair in environment):
        raise ClientException(f"Environment variable name should not be null or empty for container '{name}'.")
    optional = {"memory", "memoryReservation", "command", "entryPoint", "workingDirectory", "user", "dockerLabels"}
    return {
        "name": name,
        "image": given["image"],
        "cpu": given.get("cpu", 0),
        "essential": given.get("essential", True),
        "environment": [{"name": pair["name"], "value": pair.get("value", "")} for pair in environment],
        "portMappings": [_port_mapping(mapping, mode, name) for mapping in given.get("portMappings", ())],
        "mountPoints": [],
        "volumesFrom": [],
        **{member: given[member] for member in sorted(optional) if given.get(member)},
        **({"stopTimeout": stop_timeout} if stop_timeout is not None else {}),
    }


def _check_memory(given: Mapping[str, Any], name: str) -> None:
    hard, soft = given.get("memory"), given.get("memoryReservation")
    if given.get("cpu", 0) < 0:
        raise ClientException(f"Invalid 'cpu' setting for container '{name}'.")
    if hard is not None and hard < LEAST_MEMORY:
        raise ClientException(f"Invalid 'memory' setting for container '{name}': at least {LEAST_MEMORY} MiB.")
    if soft is not None and soft < LEAST_MEMORY:
        raise ClientException(
            f"Invalid 'memoryReservation' setting for container '{name}': at least {LEAST_MEMORY} MiB."
        )
    if hard is not None and soft is not None and soft > hard:
        raise ClientException(
            f"Invalid setting for container '{name}'. 'memoryReservation' should be less than or equal to 'memory'."
        )


def _port_mapping(given: Mapping[str, Any], mode: str, container: str) -> Definition:
    """A host port that is not given stays so: Docker chooses one, and a process listens on its own."""
    _refuse_others(given, PORT_MAPPING_MEMBERS, f"Port mapping of container '{container}'")
    port, host = given.get("containerPort"), given.get("hostPort")
    if port is None or not 1 <= port <= 65535:
        raise ClientException("Invalid 'containerPort': a number from 1 to 65535.")
    if host is not None and not 0 <= host <= 65535:
        raise ClientException("Invalid 'hostPort': a number from 0 to 65535.")
    if mode == "none":
        raise ClientException("Port mappings are not allowed when networkMode=none.")
    if mode == "host":
        if host not in {None, 0, port}:
            raise ClientException(
                "When networkMode=host, the host ports and container ports in port mappings must match."
            )
        host = port
    return {
        "containerPort": port,
        **({"hostPort": host} if host is not None else {}),
        "protocol": given.get("protocol", "tcp"),
        **({"name": given["name"]} if given.get("name") else {}),
    }


def _check_containers(containers: Sequence[Definition], memory_is_given: bool, memory: int) -> None:
    if not containers:
        raise ClientException("Container list cannot be empty.")
    names = [container["name"] for container in containers]
    if len(set(names)) < len(names):
        raise ClientException("Container names in a task definition must be unique.")
    if not any(container["essential"] for container in containers):
        raise ClientException("A task definition must have at least one essential container.")
    for container in containers:
        if not memory_is_given and "memory" not in container and "memoryReservation" not in container:
            raise ClientException(
                f"Invalid setting for container '{container['name']}'. At least one of 'memory' or 'memoryReservation' "
                "must be specified."
            )
        if memory_is_given and container.get("memory", 0) > memory:
            raise ClientException(
                f"Invalid setting for container '{container['name']}'. 'memory' is greater than the task's."
            )
    taken = [
        (mapping["hostPort"], mapping["protocol"])
        for container in containers
        for mapping in container["portMappings"]
        if mapping.get("hostPort")
    ]
    if len(set(taken)) < len(taken):
        raise ClientException("Host ports in a task definition must be unique for each protocol.")


def _refuse_others(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """A member that would change what runs, and that nobody here honours, is refused."""
    empty: tuple[Any, ...] = (None, False, "", [], {}, ())
    for member in sorted(set(given) - set(known)):
        if given[member] not in empty:
            raise ClientException(f"{what}: '{member}' is not supported yet. Remove it (see docs/limits.md).")


def cpu_units(text: str) -> int:
    """`512`, `0.5 vCPU` and `.5 vcpu` are the same. Raises ClientException."""
    units = re.fullmatch(r"\d+", text)
    virtual = re.fullmatch(r"(\d*\.?\d+)\s*vcpu", text, re.IGNORECASE)
    if units:
        return int(text)
    if virtual:
        return round(float(virtual[1]) * 1024)
    raise ClientException(f"Invalid 'cpu' setting for task: {text}. Write CPU units (512) or vCPUs (0.5 vCPU).")


def mebibytes(text: str) -> int:
    """`1024`, `1 GB` and `1gb` are the same. Raises ClientException."""
    plain = re.fullmatch(r"\d+", text)
    gigabytes = re.fullmatch(r"(\d*\.?\d+)\s*gb", text, re.IGNORECASE)
    if plain:
        return int(text)
    if gigabytes:
        return round(float(gigabytes[1]) * 1024)
    raise ClientException(f"Invalid 'memory' setting for task: {text}. Write MiB (1024) or GB (1 GB).")


def validate_overrides(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Of RunTask and StartTask. Raises InvalidParameterException or ClientException."""
    _refuse_others(overrides, OVERRIDE_MEMBERS, "Overrides")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for each in overrides.get("containerOverrides", ()):
        if each.get("name") not in names:
            raise InvalidParameterException(
                f"Override for container named {each.get('name')} is not a container in the TaskDefinition."
            )
        _refuse_others(each, CONTAINER_OVERRIDE_MEMBERS, f"Override of container '{each['name']}'")
        _check_memory(each, each["name"])
    if overrides.get("cpu"):
        cpu_units(overrides["cpu"])
    if overrides.get("memory"):
        mebibytes(overrides["memory"])


def task_resources(definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> Resources:
    """What one task takes of its instance.

    CPU is the task's, else the sum of its containers'; memory is the task's, else the sum of what containers reserve,
    or of their limit where they reserve nothing. Static host ports; a dynamic one is the machine's to choose.
    """
    changed = {each["name"]: each for each in overrides.get("containerOverrides", ())}
    containers = [{**each, **changed.get(each["name"], {})} for each in definition["containerDefinitions"]]
    cpu = overrides.get("cpu") or definition.get("cpu")
    memory = overrides.get("memory") or definition.get("memory")
    return Resources(
        cpu=cpu_units(cpu) if cpu else sum(each.get("cpu", 0) for each in containers),
        memory=mebibytes(memory)
        if memory
        else sum(each.get("memoryReservation", each.get("memory", 0)) for each in containers),
        ports=frozenset(
            (mapping["hostPort"], mapping["protocol"])
            for each in containers
            for mapping in each["portMappings"]
            if mapping.get("hostPort")
        ),
    )
