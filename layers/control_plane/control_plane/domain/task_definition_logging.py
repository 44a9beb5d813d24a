"""Where the logs of containers go.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_FirelensConfiguration.html
"""

from collections.abc import Sequence

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_secrets import EXECUTION_ROLE_FOR_SECRETS, check_references
from control_plane.domain.task_definition_texts import Container

_AWSLOGS_NEEDS = ("awslogs-group", "awslogs-region")


def check_log_configuration(container: Container, execution_role: str | None) -> None:
    """Of one container. Raises ClientException."""
    given = container.get("logConfiguration")
    if given:
        missing = [name for name in _AWSLOGS_NEEDS if not given.get("options", {}).get(name)]
        if given["logDriver"] == "awslogs" and missing:
            raise ClientException(f"Log driver awslogs requires options: {', '.join(missing)}")
        if given.get("secretOptions"):
            if execution_role is None:
                raise ClientException(EXECUTION_ROLE_FOR_SECRETS)
            check_references(given["secretOptions"], given.get("options", {}), "log option")
    options = container.get("firelensConfiguration", {}).get("options", {})
    kind = options.get("config-file-type")
    if (kind is None) != (options.get("config-file-value") is None) or kind not in {None, "file", "s3"}:
        raise ClientException(
            f"Invalid 'firelensConfiguration.options' setting for container '{container['name']}'. Write "
            "config-file-type (file or s3) and config-file-value, or neither."
        )
    if kind == "s3" and not options["config-file-value"].startswith("arn:"):
        raise ClientException("Invalid arn syntax.")


def check_log_router(containers: Sequence[Container]) -> None:
    """That there is a router if it is written to, and only then. Raises ClientException."""
    routers = [container for container in containers if "firelensConfiguration" in container]
    if len(routers) > 1:
        raise ClientException("Only one container of a task definition can have a firelensConfiguration.")
    routed = [
        container for container in containers if container.get("logConfiguration", {}).get("logDriver") == "awsfirelens"
    ]
    if routed and not routers:
        raise ClientException(
            "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be "
            "configured in one of the containers."
        )
    if routers and not routed:
        raise ClientException(
            "When a firelensConfiguration object is specified, at least one container has to be configured with the "
            "awsfirelens log driver."
        )
    if routers and routers[0] in routed:
        raise ClientException("The container with the firelensConfiguration cannot use the awsfirelens log driver.")
