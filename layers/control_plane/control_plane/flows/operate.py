"""What operators do that is no ECS operation. The CLI calls it by lambda:Invoke, so that IAM decides who may."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from control_plane.domain.errors import EcsError, InvalidParameterException
from control_plane.flows.activate import code_digest
from control_plane.flows.check import check
from control_plane.flows.lookup import require_cluster
from control_plane.flows.orphans import adopt_orphan, list_orphans, stop_orphan
from control_plane.flows.principals import PrincipalRequest, operate_principals
from control_plane.runtime import ControlPlane
from control_plane.store import activations, clusters
from control_plane.store.activations import Activation
from ecs_protocol.messages import Attribute

MAX_SECONDS = 30 * 24 * 3600


class _CreateActivation(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["CreateActivation"]
    cluster: str = "default"
    registration_limit: int = Field(default=1, ge=1, le=1000)
    expires_in_seconds: int = Field(default=24 * 3600, ge=60, le=MAX_SECONDS)
    attributes: dict[str, str] = Field(default_factory=dict, max_length=20)


class _ReplayDeadLetters(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["ReplayDeadLetters"]
    queue: str = Field(min_length=1)


class _Resume(BaseModel):
    """What has vanished so far is to be replaced, however much it is (domain/scheduling/departures.py)."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["Resume"]
    cluster: str = "default"


class _Check(BaseModel):
    """One key of a cluster's instances; without `shard` the first."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["Check"]
    cluster: str = "default"
    shard: int | None = Field(default=None, ge=0)
    repair: bool = False


class _Orphans(BaseModel):
    """List, or decide about the one that is named."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["ListOrphans", "StopOrphan", "AdoptOrphan"]
    cluster: str = "default"
    task: str = ""


_Request = _CreateActivation | _ReplayDeadLetters | _Resume | _Check | _Orphans | PrincipalRequest
_REQUEST: TypeAdapter[_Request] = TypeAdapter(Annotated[_Request, Field(discriminator="operation")])


def operate(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers what the operation gives, or {error, message}."""
    try:
        parsed = _REQUEST.validate_python(dict(request))
        match parsed:
            case _CreateActivation():
                return _create_activation(cp, parsed)
            case _ReplayDeadLetters():
                return {"replayed": cp.queues.replay(parsed.queue)}
            case _Check():
                return check(cp, parsed.cluster, parsed.shard, repair=parsed.repair)
            case _Orphans(operation="ListOrphans"):
                return {"orphans": list_orphans(cp, parsed.cluster)}
            case _Orphans(operation="StopOrphan"):
                return stop_orphan(cp, parsed.cluster, parsed.task)
            case _Orphans():
                return adopt_orphan(cp, parsed.cluster, parsed.task)
            case _Resume():
                cluster = require_cluster(cp, parsed.cluster)
                cp.table.commit([clusters.resumed(cluster.name, cp.clock())])
                return {"cluster": cluster.name}
            case _:
                return operate_principals(cp, parsed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return {"error": "InvalidParameterException", "message": f"{where}: {first['msg']}"}
    except EcsError as error:
        return {"error": error.code, "message": error.message}


def _create_activation(cp: ControlPlane, request: _CreateActivation) -> dict[str, Any]:
    """The code is given here and never again: only its digest is stored."""
    cluster = require_cluster(cp, request.cluster)
    reserved = [name for name in request.attributes if name.startswith(("ecs.", "com.amazonaws."))]
    if reserved:
        raise InvalidParameterException(f"Attribute {reserved[0]} is reserved. Choose a name of your own.")
    code = secrets.token_urlsafe(24)
    activation = Activation(
        activation_id=cp.new_id(),
        cluster=cluster.name,
        code_digest=code_digest(code),
        registration_limit=request.registration_limit,
        expires_at=cp.clock() + timedelta(seconds=request.expires_in_seconds),
        attributes=tuple(Attribute(name=name, value=value) for name, value in request.attributes.items()),
    )
    cp.table.commit([activations.created(activation)])
    return {
        "activationId": activation.activation_id,
        "activationCode": code,
        "expiresAt": activation.expires_at.isoformat(timespec="seconds"),
    }
