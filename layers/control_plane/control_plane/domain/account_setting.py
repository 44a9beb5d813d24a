"""Account settings: which there are, what each may be, and what it is unless somebody has said so.

Some only concern what is not here (Fargate, network interfaces of EC2 instances): they are kept, and change nothing. A
value that would change something, and does not here, is refused with the reason.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from control_plane.domain.errors import InvalidParameterException

ENABLED_OR_DISABLED = ("enabled", "disabled")

_LONG_ARNS = {"disabled": "ARNs and resource ids have the long format, and you can no longer opt out"}
"""Since April 1, 2021; tags without permission since March 7, 2024."""


@dataclass(frozen=True)
class SettingKind:
    """`refused` are values of Amazon's that cannot be had here, and why."""

    values: tuple[str, ...]
    default: str
    refused: Mapping[str, str] = field(default_factory=dict)
    aws_managed: bool = False


KINDS: Mapping[str, SettingKind] = {
    "awsvpcTrunking": SettingKind(ENABLED_OR_DISABLED, "disabled"),
    "containerInsights": SettingKind(("enabled", "disabled", "enhanced"), "disabled"),
    "containerInstanceLongArnFormat": SettingKind(ENABLED_OR_DISABLED, "enabled", _LONG_ARNS),
    "defaultLogDriverMode": SettingKind(
        ("blocking", "non-blocking"),
        "non-blocking",
        {"blocking": "write the option mode in the logConfiguration of the containers that are to have it"},
    ),
    "fargateEventWindows": SettingKind(ENABLED_OR_DISABLED, "disabled"),
    "fargateFIPSMode": SettingKind(ENABLED_OR_DISABLED, "disabled"),
    "fargateTaskRetirementWaitPeriod": SettingKind(("0", "7", "14"), "7"),
    "guardDutyActivate": SettingKind(("on", "off"), "off", aws_managed=True),
    "serviceLongArnFormat": SettingKind(ENABLED_OR_DISABLED, "enabled", _LONG_ARNS),
    "tagResourceAuthorization": SettingKind(
        ("on", "off"), "on", {"off": "whoever gives tags to what is created needs the permission to"}
    ),
    "taskLongArnFormat": SettingKind(ENABLED_OR_DISABLED, "enabled", _LONG_ARNS),
}
"""In the order of their names."""


def require_settable(name: str, value: str) -> None:
    """Raises InvalidParameterException."""
    kind = KINDS[name]
    if kind.aws_managed:
        raise InvalidParameterException(f"Account setting {name} is read-only: AWS manages it.")
    if value in kind.refused:
        raise InvalidParameterException(f"Account setting {name} cannot be {value}: {kind.refused[value]}.")
    if value not in kind.values:
        possible = [each for each in kind.values if each not in kind.refused]
        raise InvalidParameterException(f"Invalid setting 'value'. For {name} specify {' or '.join(possible)}.")


def checked_principal(principal: str, account: str) -> str:
    """The ARN of a user, a role or the root user of the account. Raises InvalidParameterException."""
    if not re.fullmatch(rf"arn:aws[a-z-]*:iam::{account}:(root|(user|role)/[\w+=,.@/-]{{1,576}})", principal, re.ASCII):
        raise InvalidParameterException(
            f"Invalid principalArn. Specify the ARN of a user, a role or the root user of account {account}."
        )
    return principal


def setting(name: str, value: str, principal: str) -> dict[str, Any]:
    """As the ECS API gives it."""
    managed = KINDS[name].aws_managed
    return {"name": name, "value": value, "principalArn": principal, "type": "aws_managed" if managed else "user"}
