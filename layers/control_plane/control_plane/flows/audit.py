"""The audit log: what was refused to whom, and what was allowed that an auditor wants to see, in one shape.

Each is one line, `Audit`, in the log of the function that decided:

    outcome     refused | allowed
    principal   who asked: a principal of a policy, a machine's client id, none if nobody is proven
    action      `ecs:RunTask`; what machines do is `ecs-anywhere:…`
    resource    an ARN, or what was named
    source      where it came from: an IP address, `mqtt` with the certificate's id, `events`
    reason      why, in words that hold no secret

A refused line is a count of the metric Refused, too (metrics.py).
"""

from collections.abc import Mapping

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from control_plane.domain.inbox import Envelope
from control_plane.flows import metrics
from control_plane.runtime import ControlPlane

logger = Logger(child=True)

LONGEST = 2048
"""Characters of what a caller may choose."""


def refused(
    cp: ControlPlane, *, principal: str | None, action: str, resource: str, source: str, reason: str, **more: str | None
) -> None:
    """`more` names what else identifies the caller or the thing."""
    told = {"principal": principal, "action": action, "resource": resource, "source": source, "reason": reason, **more}
    logger.warning("Audit", extra={"outcome": "refused", **_cut(told), **metrics.one(cp, "Refused")})


def allowed(*, principal: str | None, action: str, resource: str, source: str, reason: str, **more: str | None) -> None:
    """For the few things that are worth a line though they were allowed."""
    told = {"principal": principal, "action": action, "resource": resource, "source": source, "reason": reason, **more}
    logger.info("Audit", extra={"outcome": "allowed", **_cut(told)})


def refused_message(cp: ControlPlane, envelope: Envelope, reason: str, *, resource: str | None = None) -> None:
    """A message from a machine is not believed, or makes no sense."""
    refused(
        cp,
        principal=envelope.client_id,
        action="ecs-anywhere:Publish",
        resource=resource or envelope.topic,
        source=f"mqtt {envelope.principal}",
        reason=reason,
    )


def first(error: ValidationError) -> str:
    """What is wrong first, by its place and kind: never what was given there, which may be a secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, found['loc']))[:200]} {found['type']}"


def _cut(told: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: text[:LONGEST] if text else text for name, text in told.items()}
