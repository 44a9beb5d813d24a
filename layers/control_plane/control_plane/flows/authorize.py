"""May the caller do this? Refusals are Amazon's, and a line in the audit log."""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.arns import cluster_of, resource_name
from control_plane.domain.authorization import AGENT_OPERATIONS, AgentOf, Caller, Need, Resource, why_refused
from control_plane.domain.cluster import DEFAULT_CLUSTER
from control_plane.domain.concerned_resources import CONCERNED, RUNS_A_DEFINITION, needs_of
from control_plane.domain.errors import AccessDeniedException, ClientException
from control_plane.flows import audit
from control_plane.flows.lookup import AS_NAMED, definition_name, require_task_definition
from control_plane.runtime import ControlPlane

Request = dict[str, Any]

FOR_AGENTS = (
    "because it is for the agent of a container instance: sign with a key that was made for one "
    "(ecs-anywhere keys create --instance)"
)
NOT_FOR_AGENTS = "because its key was made for the agent of a container instance, and for nothing else"
ANOTHER_INSTANCE = "because its key was made for another container instance"

_SETTINGS = frozenset({"PutAccountSetting", "DeleteAccountSetting", "ListAccountSettings"})


def authorize(cp: ControlPlane, caller: Caller, operation: str, request: Mapping[str, Any]) -> Request:
    """What is to be carried out, in the caller's name. Raises AccessDeniedException.

    A definition that is named without a revision is looked up here, and named with it from then on, so that what is run
    is what was allowed. AS_NAMED keeps the name that was sent: a request that comes again is the same one by that.
    """
    if caller.agent_of is not None:
        _require_own(cp, caller, caller.agent_of, operation, request)
        return dict(request)
    if operation in AGENT_OPERATIONS:
        raise _denied(cp, caller, needs_of(operation, request, cp.arns)[0], FOR_AGENTS)
    if caller.administrator:
        return dict(request)
    if operation not in CONCERNED:
        need = Need(f"ecs:{operation}", Resource("*"))
        raise _denied(cp, caller, need, f"because no identity-based policy allows the {need.action} action")
    wanted, definition = _with_definition(cp, operation, request)
    needs = needs_of(operation, wanted, cp.arns, definition if operation in RUNS_A_DEFINITION else None)
    refused = why_refused(needs, caller, cp.principals.policies_of(caller.principal, cp.clock()))
    if refused is not None:
        raise _denied(cp, caller, *refused)
    if operation in _SETTINGS:
        wanted.setdefault("principalArn", cp.arns.principal(caller.principal))
    return wanted


def _with_definition(
    cp: ControlPlane, operation: str, request: Mapping[str, Any]
) -> tuple[Request, Mapping[str, Any] | None]:
    """One that does not exist is the operation's to refuse: nothing of it is told to who may not ask."""
    name = request.get("taskDefinition")
    if not name or (operation not in RUNS_A_DEFINITION and ":" in resource_name(name)):
        return dict(request), None
    try:
        definition = require_task_definition(cp, name, recent=True)
    except ClientException:
        return dict(request), None
    return {**request, "taskDefinition": definition_name(definition), AS_NAMED: name}, definition


def _require_own(cp: ControlPlane, caller: Caller, own: AgentOf, operation: str, request: Mapping[str, Any]) -> None:
    if operation not in AGENT_OPERATIONS:
        concerned = needs_of(operation, request, cp.arns) if operation in CONCERNED else []
        need = concerned[0] if concerned else Need(f"ecs:{operation}", Resource("*"))
        raise _denied(cp, caller, need, NOT_FOR_AGENTS)
    cluster = resource_name(request.get("cluster") or DEFAULT_CLUSTER)
    named = request.get("containerInstanceArn") or request.get("containerInstance")
    instance_id = resource_name(named) if named else own.instance_id
    of_arn = cluster_of(named) if named else None
    if (cluster, instance_id) != (own.cluster, own.instance_id) or of_arn not in {None, own.cluster}:
        arn = cp.arns.container_instance(of_arn or cluster, instance_id) if named else cp.arns.cluster(cluster)
        raise _denied(cp, caller, Need(f"ecs:{operation}", Resource(arn)), ANOTHER_INSTANCE)


def arn_of(cp: ControlPlane, caller: Caller) -> str:
    """As others are told who it is."""
    return caller.arn or (cp.arns.root() if caller.administrator else cp.arns.principal(caller.principal))


def _denied(cp: ControlPlane, caller: Caller, need: Need, why: str) -> AccessDeniedException:
    audit.refused(
        cp,
        principal=caller.principal,
        accessKeyId=caller.access_key_id,
        action=need.action,
        resource=need.resource.arn,
        source=caller.source,
        reason=why,
    )
    who = arn_of(cp, caller)
    return AccessDeniedException(
        f"User: {who} is not authorized to perform: {need.action} on resource: {need.resource.arn[:2048]} {why}"
    )
