"""Keys and policies: what operators make, list and take back (ecs-anywhere keys, ecs-anywhere policies).

A key that was made is known at once; what was taken back or changed, within store/principals.py's KEPT.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from control_plane.domain.access_key import AccessKey, looks_like_an_access_key_id, new_access_key_id, secret_of
from control_plane.domain.authorization import AGENT_OPERATIONS, AgentOf, Policy, Statement, like
from control_plane.domain.concerned_resources import ACTIONS
from control_plane.domain.container_instance import AMAZON_AGENT, InstanceStatus
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.races import ItemChangedError
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import access_keys, instances, policies

PRINCIPAL = r"[A-Za-z0-9_][A-Za-z0-9_.@/=+:-]{0,262}"
"""Also `events/` and the source of an event, which has up to 256 characters."""
RESERVED = re.compile(r"administrator|(events|iam|container-instance)/.*")
"""Principals that no key is made for: they are proven in other ways."""

_Principal = Annotated[str, StringConstraints(pattern=f"^{PRINCIPAL}$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_Texts = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=512)]],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(min_length=1, max_length=50),
]


class _Request(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class CreateKey(_Request):
    """For a principal; `clusters` is the key's scope."""

    operation: Literal["CreateKey"]
    principal: _Principal
    clusters: list[str] = Field(default_factory=list, max_length=20)


class CreateAgentKey(_Request):
    """For the agent of one container instance, which its first RegisterContainerInstance creates.

    `containerInstance`: another key for one that there is already, in place of one that is to be revoked.
    """

    operation: Literal["CreateAgentKey"]
    cluster: str = "default"
    container_instance: str | None = None


class ListKeys(_Request):
    operation: Literal["ListKeys"]


class RevokeKey(_Request):
    operation: Literal["RevokeKey"]
    access_key_id: str


class PolicyStatement(BaseModel):
    """In IAM's grammar, as far as it goes here: what it has besides (Condition, NotAction, ...) is refused.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
    """

    model_config = ConfigDict(extra="forbid")

    sid: str = Field(default="", alias="Sid")
    effect: Literal["Allow", "Deny"] = Field(alias="Effect")
    action: _Texts = Field(alias="Action")
    resource: _Texts = Field(alias="Resource")


class PolicyDocument(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal["2012-10-17"] = Field(default="2012-10-17", alias="Version")
    statement: Annotated[
        list[PolicyStatement], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
    ] = Field(alias="Statement", min_length=1, max_length=20)


class PutPolicy(_Request):
    """Makes or replaces one; `unlessThereIsAny`: not if the principal has any policy."""

    operation: Literal["PutPolicy"]
    principal: _Principal
    name: _Name
    document: PolicyDocument
    unless_there_is_any: bool = False


class ListPolicies(_Request):
    operation: Literal["ListPolicies"]
    principal: str | None = None


class DeletePolicy(_Request):
    operation: Literal["DeletePolicy"]
    principal: str
    name: str


PrincipalRequest = CreateKey | CreateAgentKey | ListKeys | RevokeKey | PutPolicy | ListPolicies | DeletePolicy


def operate_principals(cp: ControlPlane, request: PrincipalRequest) -> dict[str, Any]:
    """Raises EcsError."""
    match request:
        case CreateKey():
            return _create_key(cp, request)
        case CreateAgentKey():
            return _create_agent_key(cp, request)
        case ListKeys():
            return {"keys": [_described(cp, key) for key in access_keys.every(cp.table)]}
        case RevokeKey():
            return _revoke_key(cp, request.access_key_id)
        case PutPolicy():
            return _put_policy(cp, request)
        case ListPolicies():
            found = policies.every(cp.table)
            return {"policies": [_document(each) for each in found if request.principal in {None, each.principal}]}
        case DeletePolicy():
            return _delete_policy(cp, request)


def _create_key(cp: ControlPlane, request: CreateKey) -> dict[str, Any]:
    if RESERVED.fullmatch(request.principal):
        raise InvalidParameterException(f"No key can be made for {request.principal}: choose another name.")
    clusters = tuple(dict.fromkeys(require_cluster(cp, name).name for name in request.clusters))
    return _make(cp, principal=request.principal, clusters=clusters)


def _create_agent_key(cp: ControlPlane, request: CreateAgentKey) -> dict[str, Any]:
    cluster = require_cluster(cp, request.cluster)
    instance_id = cp.new_id()
    if request.container_instance is not None:
        instance_id = identifier(request.container_instance, cluster)
        known = instances.load(cp.table, cluster.name, instance_id) if looks_like_an_id(instance_id) else None
        if known is None or known.transport != AMAZON_AGENT or known.status is InstanceStatus.INACTIVE:
            raise InvalidParameterException(
                "No such container instance was registered by Amazon's own agent, or it is deregistered."
            )
    own = AgentOf(cluster=cluster.name, instance_id=instance_id)
    return _make(cp, principal=f"container-instance/{own.cluster}/{own.instance_id}", agent_of=own)


def _make(cp: ControlPlane, **members: Any) -> dict[str, Any]:
    """The secret is given here and never again: nobody has it but its holder, though it can be computed."""
    signing_key = cp.signing_keys.newest()
    key = AccessKey(
        access_key_id=new_access_key_id(cp.new_id()),
        signing_key=signing_key.key_id,
        created_at=cp.clock(),
        **members,
    )
    cp.table.commit([access_keys.created(key)])
    return {**_described(cp, key), "secretAccessKey": secret_of(signing_key, key.access_key_id)}


def _revoke_key(cp: ControlPlane, access_key_id: str) -> dict[str, Any]:
    """Revoking it again changes nothing."""
    known = access_keys.load(cp.table, access_key_id) if looks_like_an_access_key_id(access_key_id) else None
    if known is None:
        raise InvalidParameterException(f"There is no key {access_key_id}.")
    if known.revoked_at is None:
        with suppress(ItemChangedError):  # somebody else has just done it
            cp.table.commit([access_keys.revoked(access_key_id, cp.clock())])
        known = access_keys.load(cp.table, access_key_id) or known
    return _described(cp, known)


def _described(cp: ControlPlane, key: AccessKey) -> dict[str, Any]:
    own = key.agent_of
    return {
        "accessKeyId": key.access_key_id,
        "principal": key.principal,
        "clusters": list(key.clusters),
        "containerInstanceArn": cp.arns.container_instance(own.cluster, own.instance_id) if own else None,
        "status": "REVOKED" if key.revoked_at else "ACTIVE",
        "createdAt": key.created_at.isoformat(timespec="seconds"),
    }


def _put_policy(cp: ControlPlane, request: PutPolicy) -> dict[str, Any]:
    policy = Policy(
        principal=request.principal,
        name=request.name,
        statements=tuple(
            Statement(effect=each.effect, actions=tuple(each.action), resources=tuple(each.resource))
            for each in request.document.statement
        ),
    )
    for statement in policy.statements:
        _check(statement)
    before = policies.of_principal(cp.table, policy.principal) if request.unless_there_is_any else ()
    if not before:
        cp.table.commit([policies.put(policy)])
    return _document(before[0] if before else policy)


def _check(statement: Statement) -> None:
    """What would never match anything is a mistake, and is refused."""
    for action in statement.actions:
        named = {known for known in ACTIONS if like(action.lower(), known.lower())}
        if not named:
            raise InvalidParameterException(f"Action {action} matches no action of Amazon ECS, nor iam:PassRole.")
        if named <= {f"ecs:{operation}" for operation in AGENT_OPERATIONS}:
            raise InvalidParameterException(
                f"Action {action} is for agents, and no policy allows it: make a key for a container instance "
                "(ecs-anywhere keys create --instance)."
            )
    for resource in statement.resources:
        if not (resource == "*" or re.fullmatch(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+", resource)):
            raise InvalidParameterException(f"Resource {resource} is neither an ARN nor *.")


def _document(policy: Policy) -> dict[str, Any]:
    statements = [
        {"Effect": each.effect, "Action": list(each.actions), "Resource": list(each.resources)}
        for each in policy.statements
    ]
    document: Mapping[str, Any] = {"Version": "2012-10-17", "Statement": statements}
    return {"principal": policy.principal, "name": policy.name, "document": document}


def _delete_policy(cp: ControlPlane, request: DeletePolicy) -> dict[str, Any]:
    try:
        cp.table.commit([policies.deleted(request.principal, request.name)])
    except ItemChangedError as error:
        raise InvalidParameterException(f"{request.principal} has no policy {request.name}.") from error
    return {"principal": request.principal, "name": request.name}
