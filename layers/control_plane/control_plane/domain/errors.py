"""The errors that callers of the ECS API see: Amazon's own names, HTTP statuses and wording (rule 10).

    EcsError
    ├── of Amazon ECS      https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html
    └── of every AWS API   the request is not signed right, or is none of ours

A contract test compares names and statuses with botocore's service model.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class EcsError(Exception):
    """The caller must act, unless `status` is 500: then it may try again."""

    status: ClassVar[int] = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def code(self) -> str:
        """The error's name on the wire."""
        return type(self).__name__

    def body(self) -> dict[str, Any]:
        """The members of the JSON answer, besides __type."""
        return {"message": self.message}


# Python's linters want names in Error; these are Amazon's, and go over the wire as they stand.


class ClientException(EcsError):
    """The request names something that it may not use, or is wrong in a way that has no error of its own."""


class ServerException(EcsError):
    """Ours to mend."""

    status = 500


class InvalidParameterException(EcsError):
    """A parameter is not valid."""


class ClusterNotFoundException(EcsError):
    """No such cluster."""


class ClusterContainsContainerInstancesException(EcsError):
    """The cluster to delete has container instances that are not deregistered."""


class ClusterContainsServicesException(EcsError):
    """The cluster to delete has services that are not INACTIVE."""


class ClusterContainsTasksException(EcsError):
    """The cluster to delete has tasks that have not stopped."""


class ResourceNotFoundException(EcsError):
    """What is to be tagged does not exist."""


class LimitExceededException(EcsError):
    """It would be more than a resource may have."""


class ServiceNotFoundException(EcsError):
    """No such service."""


class NamespaceNotFoundException(EcsError):
    """No such namespace of AWS Cloud Map."""


class ServiceNotActiveException(EcsError):
    """The service is DRAINING or INACTIVE."""


class ServiceDeploymentNotFoundException(EcsError):
    """No such service deployment."""


class TaskSetNotFoundException(EcsError):
    """No such task set of the service."""


class TargetNotFoundException(EcsError):
    """There is no such container instance to have attributes."""


class TargetNotConnectedException(EcsError):
    """The task's machine cannot be reached now."""


class AttributeLimitExceededException(EcsError):
    """A container instance has ten custom attributes at most."""


class MissingVersionException(EcsError):
    """The agent is none whose versions Amazon ECS knows, so that it cannot be updated by it."""


class UnsupportedFeatureException(EcsError):
    """What is asked for does not exist here (yet): docs/api.md."""


class AccessDeniedException(EcsError):
    """The caller may not do this."""


class ConflictException(EcsError):
    """The client token is in use with another request, of which `resourceIds` are what it made; or what is asked for
    does not go together with the state of the resource."""

    def __init__(self, message: str, resource_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.resource_ids = tuple(resource_ids)

    def body(self) -> dict[str, Any]:
        return {"message": self.message, "resourceIds": list(self.resource_ids)}


class UnknownOperationException(EcsError):
    """X-Amz-Target names no operation of Amazon ECS."""


class SerializationException(EcsError):
    """The body is no JSON object of the right types."""


class RequestEntityTooLargeException(EcsError):
    """The body is longer than any request of ECS needs to be."""

    status = 413


class ThrottlingException(EcsError):
    """Too many requests; SDKs try again by themselves."""


class MissingAuthenticationTokenException(EcsError):
    """The request is not signed."""


class IncompleteSignatureException(EcsError):
    """The signature lacks something."""


class InvalidSignatureException(EcsError):
    """The signature does not match, or is too old."""


class ExpiredTokenException(EcsError):
    """The session token has expired; SDKs get another one by themselves."""


class UnrecognizedClientException(EcsError):
    """The access key id is not known."""
