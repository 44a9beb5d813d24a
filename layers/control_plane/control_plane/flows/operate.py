"""What operators do that is no ECS operation. The CLI calls it by lambda:Invoke, so that IAM decides who may."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from control_plane.domain.errors import EcsError
from control_plane.flows.activations import create_activation, delete_activation, list_activations
from control_plane.flows.check import check
from control_plane.flows.farewell import revoke_certificate
from control_plane.flows.lookup import require_cluster
from control_plane.flows.orphans import adopt_orphan, list_orphans, stop_orphan
from control_plane.flows.principals import PrincipalRequest, operate_principals
from control_plane.flows.rotate_certificate import require_rotation
from control_plane.flows.stream_logs import stream_logs
from control_plane.flows.tell_machines_apart import keep_machine, list_duplicates
from control_plane.flows.why import why
from control_plane.runtime import ControlPlane
from control_plane.store import clusters

MAX_SECONDS = 30 * 24 * 3600


class _CreateActivation(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["CreateActivation"]
    cluster: str = "default"
    registration_limit: int = Field(default=1, ge=1, le=1000)
    expires_in_seconds: int = Field(default=24 * 3600, ge=60, le=MAX_SECONDS)
    attributes: dict[str, str] = Field(default_factory=dict, max_length=20)


class _ListActivations(BaseModel):
    """Of one cluster, or of all."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["ListActivations"]
    cluster: str | None = None


class _DeleteActivation(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["DeleteActivation"]
    activation_id: str = Field(min_length=1, max_length=64)


class _Certificate(BaseModel):
    """Have an instance's replaced, or revoke that of one which is deregistered: its machine need not hear so."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["RotateCertificate", "RevokeCertificate"]
    cluster: str = "default"
    container_instance: str = Field(min_length=1)


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


class _Why(BaseModel):
    """Why a task, a service or a waiting event does not run."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["Why"]
    cluster: str = "default"
    name: str = Field(min_length=1)


class _Duplicates(BaseModel):
    """List the instances whose identity several machines use, or decide which of them is the one that is named."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["ListDuplicates", "KeepMachine"]
    cluster: str = "default"
    container_instance: str = ""
    boot_id: str = ""


class _StreamLogs(BaseModel):
    """What a task's containers write."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["StreamLogs"]
    cluster: str = "default"
    task: str = Field(min_length=1)
    container: str | None = Field(default=None, max_length=255)
    follow: bool = False
    tail: int | None = Field(default=None, ge=0)
    since_seconds: int | None = Field(default=None, ge=1)


class _Orphans(BaseModel):
    """List, or decide about the one that is named."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    operation: Literal["ListOrphans", "StopOrphan", "AdoptOrphan"]
    cluster: str = "default"
    task: str = ""


_Operation = (
    _CreateActivation
    | _ListActivations
    | _DeleteActivation
    | _Certificate
    | _ReplayDeadLetters
    | _Resume
    | _Check
    | _Why
    | _Duplicates
    | _StreamLogs
    | _Orphans
    | PrincipalRequest
)
_REQUEST: TypeAdapter[_Operation] = TypeAdapter(Annotated[_Operation, Field(discriminator="operation")])


def operate(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers what the operation gives, or {error, message}."""
    try:
        return _carry_out(cp, _REQUEST.validate_python(dict(request)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return {"error": "InvalidParameterException", "message": f"{where}: {first['msg']}"}
    except EcsError as error:
        return {"error": error.code, "message": error.message}


def _carry_out(cp: ControlPlane, parsed: _Operation) -> dict[str, Any]:
    """Raises the errors of the operation."""
    match parsed:
        case _CreateActivation() | _ListActivations() | _DeleteActivation() | _Certificate():
            return _who_may_join(cp, parsed)
        case _ReplayDeadLetters():
            return {"replayed": cp.queues.replay(parsed.queue)}
        case _Check():
            return check(cp, parsed.cluster, parsed.shard, repair=parsed.repair)
        case _Why():
            return why(cp, parsed.cluster, parsed.name)
        case _Duplicates(operation="ListDuplicates"):
            return {"duplicates": list_duplicates(cp, parsed.cluster)}
        case _Duplicates():
            return keep_machine(cp, parsed.cluster, parsed.container_instance, parsed.boot_id)
        case _StreamLogs():
            return stream_logs(
                cp,
                parsed.cluster,
                parsed.task,
                container=parsed.container,
                follow=parsed.follow,
                tail=parsed.tail,
                since_seconds=parsed.since_seconds,
            )
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


def _who_may_join(
    cp: ControlPlane, request: _CreateActivation | _ListActivations | _DeleteActivation | _Certificate
) -> dict[str, Any]:
    match request:
        case _CreateActivation():
            return create_activation(
                cp,
                cluster_name=request.cluster,
                registration_limit=request.registration_limit,
                expires_in_seconds=request.expires_in_seconds,
                machine_attributes=request.attributes,
            )
        case _ListActivations():
            return list_activations(cp, request.cluster)
        case _DeleteActivation():
            return delete_activation(cp, request.activation_id)
        case _Certificate(operation="RotateCertificate"):
            return require_rotation(cp, request.cluster, request.container_instance)
        case _Certificate():
            return revoke_certificate(cp, request.cluster, request.container_instance)
