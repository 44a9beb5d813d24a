"""In which order the containers of a task start.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
"""

from collections.abc import Sequence

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_texts import Container, has_cycle, repeated


def check_dependencies(containers: Sequence[Container]) -> None:
    """Raises ClientException."""
    by_name = {container["name"]: container for container in containers}
    for container in containers:
        for dependency in container.get("dependsOn", ()):
            _check(dependency.get("containerName", ""), dependency["condition"], by_name)
        if repeated((each["containerName"], each["condition"]) for each in container.get("dependsOn", ())):
            raise ClientException(
                f"Invalid 'dependsOn' setting for container '{container['name']}'. One is said twice."
            )
    edges = {
        name: [dependency["containerName"] for dependency in container.get("dependsOn", ())]
        for name, container in by_name.items()
    }
    if has_cycle(edges):
        raise ClientException("Container dependsOn contains a cycle")


def _check(name: str, condition: str, by_name: dict[str, Container]) -> None:
    if name not in by_name:
        raise ClientException(f"Cannot depend on container '{name}' because it does not exist")
    other = by_name[name]
    if condition in {"SUCCESS", "COMPLETE"} and other["essential"]:
        raise ClientException(
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"
        )
    check = other.get("healthCheck") or {}
    if condition == "HEALTHY" and (not check or check["command"][0] == "NONE"):
        raise ClientException("A dependency container with HEALTHY condition must have health check configured")
