"""The port mappings of a task definition.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_texts import Container, repeated

MAX_RANGES = 100
"""Of one container."""


def normalise_ports(given: Sequence[Mapping[str, Any]], network_mode: str, container: str) -> list[dict[str, Any]]:
    """Of one container. Raises ClientException."""
    mappings = [_mapping(each, network_mode, container) for each in given]
    if sum("containerPortRange" in each for each in mappings) > MAX_RANGES:
        raise ClientException(
            f"Invalid 'containerPortRange' setting for container '{container}'. A container has at most {MAX_RANGES}."
        )
    return mappings


def _mapping(given: Mapping[str, Any], network_mode: str, container: str) -> dict[str, Any]:
    """A host port that is not given stays so: Docker chooses one, and a process listens on its own."""
    if network_mode == "none":
        raise ClientException("Port mappings are not supported when networkMode=none.")
    name = given.get("name")
    if name and not re.fullmatch(r"[a-z0-9_][a-z0-9_-]{0,63}", name):
        raise ClientException(
            f"Invalid port mapping name for container '{container}'. Write up to 64 lowercase letters, numbers, "
            "underscores and hyphens, with no hyphen in front."
        )
    ports = (
        _range(given, network_mode, container)
        if "containerPortRange" in given
        else _ports(given, network_mode, container)
    )
    return {**given, **ports, "protocol": given.get("protocol", "tcp")}


def _ports(given: Mapping[str, Any], network_mode: str, container: str) -> dict[str, int]:
    port, host = given.get("containerPort"), given.get("hostPort")
    if port is None or not 1 <= port <= 65535:
        raise ClientException(f"Invalid 'containerPort' setting for container '{container}'. Write 1 to 65535.")
    if host is not None and not 0 <= host <= 65535:
        raise ClientException(f"Invalid 'hostPort' setting for container '{container}'. Write 0 to 65535.")
    if network_mode in {"host", "awsvpc"}:
        if host not in {None, 0, port}:
            raise ClientException(
                f"When networkMode={network_mode}, the host ports and container ports in port mappings must match."
            )
        host = port
    return {"containerPort": port, **({"hostPort": host} if host is not None else {})}


def _range(given: Mapping[str, Any], network_mode: str, container: str) -> dict[str, str]:
    if "containerPort" in given or "hostPort" in given:
        raise ClientException("cannot specify both single port and port range")
    if network_mode not in {"bridge", "awsvpc"}:
        raise ClientException(f"Container port ranges are not supported when networkMode={network_mode}.")
    text = given["containerPortRange"]
    first, last = bounds(text) or (0, 0)
    if not 1 <= first < last <= 65535:
        raise ClientException(
            f"Invalid 'containerPortRange' setting for container '{container}'. Write two of 1 to 65535, such as "
            "8000-8009."
        )
    return {"containerPortRange": text}


def bounds(text: str) -> tuple[int, int] | None:
    """First and last port of a range."""
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    return (int(found[1]), int(found[2])) if found else None


def check_ports_together(containers: Sequence[Container], network_mode: str) -> None:
    """Of all containers of a task. Raises ClientException."""
    mappings = [mapping for container in containers for mapping in container["portMappings"]]
    for port, protocol in repeated((each["hostPort"], each["protocol"]) for each in mappings if each.get("hostPort")):
        raise ClientException(f"{protocol.upper()} host port '{port}' is mapped multiple times in task.")
    for container in containers:
        # Docker's API has one list of host ports for each container port, the agent one host port.
        own = [(each.get("containerPort"), each["protocol"]) for each in container["portMappings"]]
        for port, _protocol in repeated(each for each in own if each[0]):
            raise ClientException(
                f"Container port {port} is used in more than one port mapping for container {container['name']}"
            )
    if repeated(each["name"] for each in mappings if "name" in each):
        raise ClientException("port mapping name is already used")
    if network_mode == "bridge":  # a network for each container
        for container in containers:
            _check_ranges(container["portMappings"])
    else:
        _check_ranges(mappings)


def _check_ranges(mappings: Sequence[Mapping[str, Any]]) -> None:
    spans = []
    for each in mappings:
        first = each.get("containerPort", 0)
        found = bounds(each["containerPortRange"]) if "containerPortRange" in each else (first, first)
        spans.append((each["protocol"], *(found or (0, 0))))
    spans.sort()
    for (protocol, _, last), (following, first, _) in pairwise(spans):
        if protocol == following and first <= last:
            raise ClientException("container port is used multiple times in task")
