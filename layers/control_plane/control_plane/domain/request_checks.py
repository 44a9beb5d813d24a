"""Every request, before a flow sees it: what is not supported, out of bounds, or no name is refused."""

import re
from collections.abc import Mapping
from typing import Any

from control_plane.domain.arns import resource_name
from control_plane.domain.errors import ClientException, InvalidParameterException, UnsupportedFeatureException
from control_plane.domain.supported_members import LIMITS, ONLY, REFUSED, SUPPORTED, WHY_NOT, WHY_NOT_MEMBER

NAMES: Mapping[str, str] = {
    "cluster": "Cluster",
    "clusters": "Cluster",
    "containerInstance": "Container instance",
    "containerInstances": "Container instance",
    "family": "Family",
    "familyPrefix": "Family",
    "service": "Service",
    "serviceName": "Service",
    "services": "Service",
    "primaryTaskSet": "Task set",
    "task": "Task",
    "taskSet": "Task set",
    "taskSets": "Task set",
    "tasks": "Task",
}
"""The members that name something, by its name or its ARN. A task definition's name is the flows' to take apart."""

MAX_FAMILY_AND_REVISION = 300

_PRINTABLE_ASCII = re.compile(r"[!-~]*")
_NO_CONTROL_CHARACTERS = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
CHARACTERS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "RunTask": {
        "clientToken": _PRINTABLE_ASCII,
        "group": _NO_CONTROL_CHARACTERS,
        "startedBy": _NO_CONTROL_CHARACTERS,
        "referenceId": _NO_CONTROL_CHARACTERS,
    },
    "StartTask": {
        "group": _NO_CONTROL_CHARACTERS,
        "startedBy": _NO_CONTROL_CHARACTERS,
        "referenceId": _NO_CONTROL_CHARACTERS,
    },
}
"""What texts may hold that are no names. Amazon documents letters, digits and -/_ for startedBy, but takes more: tasks
of its own Step Functions are started by `AWS Step Functions`."""

_DECLARE_UNSUPPORTED_FEATURE = frozenset(
    {
        "RunTask",
        "StartTask",
        "UpdateTaskProtection",
        "GetTaskProtection",
        "CreateService",
        "UpdateService",
        "CreateCapacityProvider",
        "DescribeCapacityProviders",
        "UpdateCapacityProvider",
        "DeleteCapacityProvider",
        "ListServiceDeployments",
        "DescribeServiceDeployments",
        "DescribeServiceRevisions",
        "StopServiceDeployment",
        "CreateTaskSet",
        "UpdateTaskSet",
        "UpdateServicePrimaryTaskSet",
        "DeleteTaskSet",
        "DescribeTaskSets",
    }
)
"""The operations whose model has UnsupportedFeatureException; a contract test compares."""


def refusal_of_operation(operation: str) -> UnsupportedFeatureException:
    """For an operation of Amazon's that is not there."""
    return UnsupportedFeatureException(
        f"{operation} is not supported yet: {WHY_NOT[operation]}. See docs/api.md for what is."
    )


def refuse_unsupported(operation: str, request: Mapping[str, Any]) -> None:
    """Raise for the first member or value that is not supported.

    UnsupportedFeatureException where Amazon's model declares it for the operation, else InvalidParameterException,
    which is also for what Amazon ECS refuses itself.
    """
    words = REFUSED.get(operation, {})
    for member, value in request.items():
        refusal = words.get(member) or words.get(f"{member} {value}" if isinstance(value, str) else "")
        if refusal and not says_nothing(value):
            raise InvalidParameterException(refusal)
    supported = SUPPORTED[operation]
    if "*" in supported:
        return
    allowed = {member: ONLY.get(operation, {}).get(member) for member in supported}
    _refuse_others(operation, request, allowed, "")


def check_limits(operation: str, request: Mapping[str, Any]) -> None:
    """Raise InvalidParameterException for a number, list or text that is out of Amazon's bounds, or is no name."""
    for member, (least, most) in LIMITS.get(operation, {}).items():
        value = request.get(member)
        if value is None:
            continue
        size = value if isinstance(value, int) else len(value)
        if isinstance(value, str) and size > most:
            raise InvalidParameterException(f"{member} longer than {most}.")
        if not least <= size <= most:
            what = member if isinstance(value, int) else f"The length of {member}"
            raise InvalidParameterException(f"{what} should be between {least} and {most}, but is {size}.")
    for member, characters in CHARACTERS.get(operation, {}).items():
        if not characters.fullmatch(request.get(member, "")):
            raise InvalidParameterException(f"{member} contains invalid characters.")
    check_names(operation, request)


def check_names(operation: str, request: Mapping[str, Any]) -> None:
    """Raise for what cannot be the name of anything, and so is not looked for.

    An empty text is as good as none where none may be given. Raises InvalidParameterException, ClientException.
    """
    if operation == "RegisterTaskDefinition":
        return
    for member, what in NAMES.items():
        value = request.get(member)
        # Of what lists ask for, only ListServiceDeployments must have its service.
        optional = member == "cluster" or (operation.startswith("List") and member != "service")
        if value is None or (value == "" and optional):
            continue
        for name in value if isinstance(value, list) else [value]:
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", resource_name(name)):
                raise InvalidParameterException(
                    f"{what} must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {name[:300] or 'empty'}"
                )
    if len(resource_name(request.get("taskDefinition", ""))) > MAX_FAMILY_AND_REVISION:
        raise ClientException("Unable to describe task definition.")


def _refuse_others(operation: str, given: Mapping[str, Any], allowed: Mapping[str, Any], path: str) -> None:
    for member, value in given.items():
        if says_nothing(value):
            continue
        if member not in allowed:
            why = WHY_NOT_MEMBER.get(operation, {}).get(f"{path}{member}")
            because = f", as {why}" if why else ": remove it from the request"
            raise _refusal(operation, f"{path}{member} is not supported yet{because}.")
        only = allowed[member]
        if isinstance(only, Mapping):
            _refuse_others(operation, value, only, f"{path}{member}.")
        elif only is not None:
            for each in value if isinstance(value, list) else [value]:
                if each not in only:
                    choice = " or ".join(str(one) for one in only)
                    raise _refusal(
                        operation, f"{path}{member} {each} is not supported yet: use {choice}, or remove it."
                    )


def says_nothing(value: Any) -> bool:
    """Whether a member might as well be absent. The number 0 does say something."""
    if isinstance(value, Mapping):
        return all(says_nothing(each) for each in value.values())
    return value is None or value is False or value in ("", [])


def _refusal(operation: str, message: str) -> UnsupportedFeatureException | InvalidParameterException:
    if operation in _DECLARE_UNSUPPORTED_FEATURE:
        return UnsupportedFeatureException(message)
    return InvalidParameterException(message)
