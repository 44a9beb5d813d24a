"""One container of a task definition, and all of them together: checked, and completed as Amazon ECS does.

Its parts are in the files next to this one; its sizes in task_definition_sizes.py.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_linux import check_linux
from control_plane.domain.task_definition_logging import check_log_configuration
from control_plane.domain.task_definition_network import check_container_network
from control_plane.domain.task_definition_ports import check_ports_together, normalise_ports
from control_plane.domain.task_definition_secrets import check_secrets, normalise_environment
from control_plane.domain.task_definition_supervision import normalise_supervision
from control_plane.domain.task_definition_texts import refuse_nul, repeated
from control_plane.domain.task_definition_volumes import normalise_mounts

MAX_CONTAINERS = 10
MAX_IMAGE = 255
"""Characters, without a digest."""


def normalise_containers(
    given: Sequence[Mapping[str, Any]], network_mode: str, execution_role: str | None
) -> list[dict[str, Any]]:
    """Each checked and completed, and all of them together; their sizes aside. Raises ClientException.

    `given` has been read (task_definition_members.py).
    """
    if not given:
        raise ClientException("Container list cannot be empty.")
    if len(given) > MAX_CONTAINERS:
        raise ClientException(f"Too many containers. A task definition has at most {MAX_CONTAINERS}.")
    containers = [_container(each, network_mode, execution_role) for each in given]
    if repeated(container["name"] for container in containers):
        raise ClientException("Container names must be unique within a task definition.")
    if not any(container["essential"] for container in containers):
        raise ClientException("Task definition doesn't have any essential container.")
    check_ports_together(containers, network_mode)
    return containers


def _container(given: Mapping[str, Any], network_mode: str, execution_role: str | None) -> dict[str, Any]:
    name = given.get("name", "")
    if not name:
        raise ClientException("Container.name should not be null or empty.")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", name):
        raise ClientException("Container.name contains invalid characters.")
    refuse_nul(given, f"Container '{name}'")
    container = {
        **given,
        "image": _image(given.get("image", "")),
        "cpu": given.get("cpu", 0),
        "essential": given.get("essential", True),
        "environment": normalise_environment(given.get("environment", ()), name),
        "portMappings": normalise_ports(given.get("portMappings", ()), network_mode, name),
        "systemControls": list(given.get("systemControls", ())),
        **normalise_mounts(given),
        **normalise_supervision(given, name),
    }
    if "firelensConfiguration" in container:
        container.setdefault("user", "0")
    check_container_network(container, network_mode)
    check_linux(container)
    check_secrets(container, execution_role)
    check_log_configuration(container, execution_role)
    return container


def _image(image: str) -> str:
    if not image:
        raise ClientException("Container.image should not be null or empty.")
    if len(image.partition("@")[0]) > MAX_IMAGE:
        raise ClientException(f"Container.image should be {MAX_IMAGE} characters or less")
    if not re.fullmatch(r"[a-zA-Z0-9_:./#@-]+", image):
        raise ClientException("Container.image contains invalid characters.")
    return image
