"""Who may do what: policies in the words of IAM, and what they decide. Pure.

    the administrator          everything but what agents do
    an agent's key             what agents do, as its own container instance; nothing else
    any other principal        what a policy of its own allows, unless one denies it; without policies nothing

A statement allows or denies actions on resources; `*` stands for any characters, `?` for one. What it says of a cluster
it says of all that is in the cluster. A key may have a scope, which only takes away.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from control_plane.domain.entity import Entity

AGENT_OPERATIONS = frozenset(
    {
        "RegisterContainerInstance",
        "DiscoverPollEndpoint",
        "SubmitTaskStateChange",
        "SubmitContainerStateChange",
        "SubmitAttachmentStateChanges",
    }
)
"""What an agent does for its own container instance. No policy allows them, and the administrator may not either."""

EVENTS = "events/"
"""With which the principals begin that `Run Task` events act as: their source follows."""


class AgentOf(Entity):
    """The one container instance that a key speaks for. Its first RegisterContainerInstance creates it."""

    cluster: str
    instance_id: str


class Caller(Entity):
    """Who asks, once it is proven."""

    principal: str
    access_key_id: str | None = None
    administrator: bool = False
    arn: str | None = None
    """Its own, if it is an IAM identity."""
    clusters: tuple[str, ...] = ()
    """The scope of the key that signed: of clusters, only these; none: no scope."""
    agent_of: AgentOf | None = None
    source: str = ""
    """Where the request came from, for the audit log."""


class Statement(Entity):
    """One of a policy's."""

    effect: Literal["Allow", "Deny"]
    actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


class Policy(Entity):
    """What one principal is allowed and denied, under a name."""

    principal: str
    name: str
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True)
class Resource:
    """What an action concerns. `cluster` is the ARN of the cluster that it is or is in, `cluster_name` its name."""

    arn: str
    cluster: str | None = None
    cluster_name: str | None = None


@dataclass(frozen=True)
class Need:
    """One thing that a request needs to be allowed."""

    action: str
    resource: Resource


def why_refused(needs: Iterable[Need], caller: Caller, policies: Sequence[Policy]) -> tuple[Need, str] | None:
    """The first need that is not granted, and why not, in Amazon's words. None: all are."""
    for need in needs:
        why = _why(need, caller, [statement for policy in policies for statement in policy.statements])
        if why:
            return need, why
    return None


def _why(need: Need, caller: Caller, statements: Iterable[Statement]) -> str | None:
    effects = {statement.effect for statement in statements if _speaks_of(statement, need)}
    if "Deny" in effects:
        return "with an explicit deny in an identity-based policy"
    if "Allow" not in effects:
        return f"because no identity-based policy allows the {need.action} action"
    if caller.clusters and need.resource.cluster_name not in {None, *caller.clusters}:
        return f"because no permissions boundary allows the {need.action} action"
    return None


def _speaks_of(statement: Statement, need: Need) -> bool:
    action = need.action.lower()
    texts = [need.resource.arn, *([need.resource.cluster] if need.resource.cluster else [])]
    return any(like(pattern.lower(), action) for pattern in statement.actions) and any(
        arn_like(pattern, text) for pattern in statement.resources for text in texts
    )


def arn_like(pattern: str, arn: str) -> bool:
    """Each of the six parts between colons for itself, as IAM does it; `*` alone is everything."""
    if pattern == "*":
        return True
    wanted, given = pattern.split(":", 5), arn.split(":", 5)
    return len(wanted) == len(given) == 6 and all(map(like, wanted, given))


def like(pattern: str, text: str) -> bool:
    """Whether `text` is as `pattern` says. Takes time in proportion to both, whatever a caller puts in a name."""
    at_pattern = at_text = 0
    star, resumed = -1, 0
    while at_text < len(text):
        if at_pattern < len(pattern) and pattern[at_pattern] == "*":
            star, resumed = at_pattern, at_text
            at_pattern += 1
        elif at_pattern < len(pattern) and pattern[at_pattern] in {"?", text[at_text]}:
            at_pattern += 1
            at_text += 1
        elif star >= 0:
            resumed += 1
            at_pattern, at_text = star + 1, resumed
        else:
            return False
    return set(pattern[at_pattern:]) <= {"*"}
