"""One container of a task definition: what is accepted, and how Amazon ECS completes it.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.supported_members import says_nothing
from control_plane.domain.task_definition_supervision import (
    HEALTH_CHECK_LIMITS,
    normalise_health_check,
    normalise_restart_policy,
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
        "healthCheck",
        "restartPolicy",
    }
)
HEALTH_CHECK_MEMBERS = frozenset({"command", *HEALTH_CHECK_LIMITS})
RESTART_POLICY_MEMBERS = frozenset({"enabled", "ignoredExitCodes", "restartAttemptPeriod"})
PORT_MAPPING_MEMBERS = frozenset({"containerPort", "hostPort", "protocol", "name"})

MAX_CONTAINERS = 10
MAX_IMAGE = 255
"""Characters, without a digest."""
MAX_STOP_TIMEOUT_SECONDS = 86400

_NOTHING: tuple[Any, ...] = (None, "", [], {})
_AS_GIVEN = ("command", "dockerLabels", "entryPoint", "memory", "memoryReservation", "user", "workingDirectory")


def normalise_containers(given: Sequence[Mapping[str, Any]], network_mode: str) -> list[dict[str, Any]]:
    """Each checked and completed, and all of them together; their sizes aside. Raises ClientException."""
    if not given:
        raise ClientException("Container list cannot be empty.")
    if len(given) > MAX_CONTAINERS:
        raise ClientException(f"Too many containers. A task definition has at most {MAX_CONTAINERS}.")
    containers = [_container(each, network_mode) for each in given]
    if _repeated(container["name"] for container in containers):
        raise ClientException("Container names in a task definition must be unique.")
    if not any(container["essential"] for container in containers):
        raise ClientException("A task definition must have at least one essential container.")
    mappings = [mapping for container in containers for mapping in container["portMappings"]]
    for port, protocol in _repeated((each["hostPort"], each["protocol"]) for each in mappings if each.get("hostPort")):
        raise ClientException(f"{protocol.upper()} host port '{port}' is mapped multiple times in task.")
    for name in _repeated(each["name"] for each in mappings if "name" in each):
        raise ClientException(f"Port mapping name '{name}' is used more than once in the task definition.")
    return containers


def _container(given: Mapping[str, Any], network_mode: str) -> dict[str, Any]:
    name = given.get("name", "")
    if not name:
        raise ClientException("Container.name should not be null or empty.")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
        raise ClientException("Container.name contains invalid characters.")
    refuse_others(given, CONTAINER_MEMBERS, f"Container '{name}'")
    stop_timeout = given.get("stopTimeout")
    if stop_timeout is not None and not 0 <= stop_timeout <= MAX_STOP_TIMEOUT_SECONDS:
        raise ClientException(
            f"Invalid 'stopTimeout' setting for container '{name}'. Write 0 to {MAX_STOP_TIMEOUT_SECONDS} seconds."
        )
    refuse_nul(given, f"Container '{name}'")
    return {
        "name": name,
        "image": _image(given.get("image", "")),
        "cpu": given.get("cpu", 0),
        "essential": given.get("essential", True),
        "environment": normalise_environment(given.get("environment", ()), name),
        "portMappings": [_port_mapping(mapping, network_mode, name) for mapping in given.get("portMappings", ())],
        "mountPoints": [],
        "volumesFrom": [],
        **{member: given[member] for member in _AS_GIVEN if given.get(member) not in _NOTHING},
        **({"stopTimeout": stop_timeout} if stop_timeout is not None else {}),
        **_supervision(given, name),
    }


def _supervision(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    check, policy = given.get("healthCheck") or {}, given.get("restartPolicy") or {}
    refuse_others(check, HEALTH_CHECK_MEMBERS, f"Health check of container '{name}'")
    refuse_others(policy, RESTART_POLICY_MEMBERS, f"Restart policy of container '{name}'")
    return {
        **({} if says_nothing(check) else {"healthCheck": normalise_health_check(check, name)}),
        **({"restartPolicy": normalise_restart_policy(policy, name)} if policy else {}),
    }


def _image(image: str) -> str:
    if not image:
        raise ClientException("Container.image should not be null or empty.")
    if len(image.partition("@")[0]) > MAX_IMAGE:
        raise ClientException(f"Container.image should be {MAX_IMAGE} characters or less")
    if not re.fullmatch(r"[a-zA-Z0-9_:./#@-]+", image):
        raise ClientException("Container.image contains invalid characters.")
    return image


def normalise_environment(given: Sequence[Mapping[str, str]], container: str) -> list[dict[str, str]]:
    """Of a container or of its override. Raises ClientException."""
    for pair in given:
        if not pair.get("name"):
            raise ClientException(f"An environment variable of container '{container}' has no name.")
        if "=" in pair["name"]:
            raise ClientException(
                f"Environment variable '{pair['name']}' of container '{container}' has a '=' in its name."
            )
    return [{"name": pair["name"], "value": pair.get("value", "")} for pair in given]


def _port_mapping(given: Mapping[str, Any], network_mode: str, container: str) -> dict[str, Any]:
    """A host port that is not given stays so: Docker chooses one, and a process listens on its own."""
    refuse_others(given, PORT_MAPPING_MEMBERS, f"Port mapping of container '{container}'")
    port, host, name = given.get("containerPort"), given.get("hostPort"), given.get("name")
    if port is None or not 1 <= port <= 65535:
        raise ClientException(f"Invalid 'containerPort' setting for container '{container}'. Write 1 to 65535.")
    if host is not None and not 0 <= host <= 65535:
        raise ClientException(f"Invalid 'hostPort' setting for container '{container}'. Write 0 to 65535.")
    if name and not re.fullmatch(r"[a-z0-9_][a-z0-9_-]{0,63}", name):
        raise ClientException(
            f"Invalid port mapping name for container '{container}'. Write up to 64 lowercase letters, numbers, "
            "underscores and hyphens, with no hyphen in front."
        )
    if network_mode == "none":
        raise ClientException("Port mappings are not supported when networkMode=none.")
    if network_mode == "host":
        if host not in {None, 0, port}:
            raise ClientException(
                "When networkMode=host, the host ports and container ports in port mappings must match."
            )
        host = port
    return {
        "containerPort": port,
        **({"hostPort": host} if host is not None else {}),
        "protocol": given.get("protocol", "tcp"),
        **({"name": name} if name else {}),
    }


def refuse_others(given: Mapping[str, Any], known: frozenset[str], what: str) -> None:
    """A member that would change what runs, and that nothing here honours, is refused. Raises ClientException."""
    for member in sorted(set(given) - known):
        if not says_nothing(given[member]):
            raise ClientException(f"{what}: '{member}' is not supported yet. Remove it (see docs/api.md).")


def refuse_nul(given: Mapping[str, Any], what: str) -> None:
    """Raises ClientException."""
    if any("\0" in text for text in _texts(given)):
        raise ClientException(f"{what}: a text has the character NUL, which no program can be given. Remove it.")


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from (name, *_texts(each))
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)
