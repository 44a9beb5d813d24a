"""A container's environment, and what it gets from elsewhere: secrets, files of variables, credentials.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_texts import Container, repeated

MAX_ENVIRONMENT_FILES = 10
EXECUTION_ROLE_FOR_SECRETS = (
    "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
)


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


def check_secrets(container: Container, execution_role: str | None) -> None:
    """Of one container, whose environment is completed. Raises ClientException."""
    secrets = container.get("secrets", ())
    if secrets and execution_role is None:
        raise ClientException(EXECUTION_ROLE_FOR_SECRETS)
    check_references(secrets, {pair["name"] for pair in container["environment"]}, "environment variable")
    files = container.get("environmentFiles", ())
    if len(files) > MAX_ENVIRONMENT_FILES:
        raise ClientException(
            "The maximum number of environment files was exceeded. Specify ten or less and try again."
        )
    for file in files:
        _check_arn(file.get("value", ""), "s3")
    if len(container.get("credentialSpecs", ())) > 1:
        raise ClientException(f"Invalid 'credentialSpecs' setting for container '{container['name']}'. Write one.")
    for text in container.get("credentialSpecs", ()):
        kind, _, arn = text.partition(":")
        if kind not in {"credentialspec", "credentialspecdomainless"} or not arn.startswith("arn:"):
            raise ClientException(f"Invalid 'credentialSpecs' setting for container '{container['name']}'.")
    credentials = container.get("repositoryCredentials")
    if credentials is not None and not credentials.get("credentialsParameter"):
        raise ClientException("RepositoryCredentials.credentialsParameter should not be null or empty.")


def check_references(given: Sequence[Mapping[str, Any]], taken: Collection[str], what: str) -> None:
    """`taken` are the names that have a plain value. Raises ClientException."""
    for secret in given:
        name = secret.get("name", "")
        if not name or not secret.get("valueFrom"):
            raise ClientException("The secret name and valueFrom should not be null or empty.")
        if name in taken:
            raise ClientException(_shared(name, what))
    for name in repeated(secret["name"] for secret in given):
        raise ClientException(_shared(name, what))


def _shared(name: str, what: str) -> str:
    return (
        f"The secret name must be unique and not shared with any new or existing {what}s set on the container, such "
        f"as '{name}'."
    )


def _check_arn(text: str, service: str) -> None:
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != service or not parts[5]:
        raise ClientException("Invalid arn syntax.")
