"""What a container gets by the execution role: which secrets, files of variables and registries it names. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/private-auth.html
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_ECR = re.compile(r"^\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+/")
_SECRETS_MANAGER = ":secretsmanager:"


class Secret(NamedTuple):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html"""

    name: str
    """Of an environment variable, or of an option of the log driver."""
    value_from: str

    @property
    def is_of_secrets_manager(self) -> bool:
        """Else it is a parameter of Systems Manager: an ARN, or a name."""
        return _SECRETS_MANAGER in self.value_from


class SecretReference(NamedTuple):
    """One value in AWS Secrets Manager."""

    secret_id: str
    json_key: str | None = None
    version_stage: str | None = None
    version_id: str | None = None


class EcrRegistry(NamedTuple):
    """An image of Amazon ECR, pulled by the execution role."""

    region: str


class SecretRegistry(NamedTuple):
    """A private registry, whose username and password are in AWS Secrets Manager."""

    secret_id: str
    region: str


Registry = EcrRegistry | SecretRegistry


class MalformedReferenceError(ValueError):
    """What a task definition refers to cannot be an ARN of its kind; the text says which."""


def secrets_of(given: Sequence[Mapping[str, Any]] | None) -> tuple[Secret, ...]:
    return tuple(Secret(str(each["name"]), str(each["valueFrom"])) for each in given or ())


def registry_of(container: Mapping[str, Any], *, execution_role: bool, region: str) -> Registry | None:
    """None: pulled as anybody may. An image of ECR without a role is one like any other: it may have been loaded.

    `region` is the instance's.
    """
    secret = (container.get("repositoryCredentials") or {}).get("credentialsParameter")
    if secret:
        return SecretRegistry(secret, region_of(secret, region))
    ecr = _ECR.match(container["image"])
    return EcrRegistry(ecr[1]) if ecr and execution_role else None


def region_of(reference: str, own_region: str) -> str:
    """That of an ARN; of what is a name only, that of the instance."""
    parts = reference.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 5 and parts[3] else own_region


def secret_reference(value_from: str) -> SecretReference:
    """`arn:…:secret:NAME`, or that with `:json-key:version-stage:version-id`, each of which may be empty.

    Raises MalformedReferenceError.
    """
    parts = value_from.split(":")
    if parts[0] != "arn" or len(parts) not in {7, 10}:
        raise MalformedReferenceError(
            f"{value_from}: an invalid ARN format for the AWS Secrets Manager secret was specified. Specify a valid "
            "ARN and try again."
        )
    json_key, stage, version = parts[7:] or ("", "", "")
    return SecretReference(":".join(parts[:7]), json_key or None, stage or None, version or None)


def s3_object(arn: str, what: str = "environmentFile") -> tuple[str, str]:
    """Bucket and key. Raises MalformedReferenceError."""
    found = re.fullmatch(r"arn:[^:]+:s3:::([^/]+)/(.+)", arn)
    if found is None:
        raise MalformedReferenceError(
            f"unable to parse bucket and key from s3 ARN specified in {what} {arn}, error: invalid s3 arn: {arn}"
        )
    return found[1], found[2]
