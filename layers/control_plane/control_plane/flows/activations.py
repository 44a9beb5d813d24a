"""Activations: make one, list those that are there, delete one.

https://docs.aws.amazon.com/systems-manager/latest/userguide/activations.html is what Amazon ECS Anywhere has of this.
"""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.races import ItemChangedError
from control_plane.flows.lookup import require_cluster
from control_plane.runtime import ControlPlane
from control_plane.store import activations
from control_plane.store.activations import Activation
from ecs_protocol.messages import Attribute

CODE_BYTES = 24


def code_digest(code: str) -> str:
    """What is stored of an activation code: it is random and long, so that a plain digest suffices."""
    return hashlib.sha256(code.encode()).hexdigest()


def create_activation(
    cp: ControlPlane,
    *,
    cluster_name: str,
    registration_limit: int,
    expires_in_seconds: int,
    machine_attributes: Mapping[str, str],
) -> dict[str, Any]:
    """Answers {activationId, activationCode, expiresAt}. The code is given here and never again.

    Raises ClusterNotFoundException, InvalidParameterException.
    """
    cluster = require_cluster(cp, cluster_name)
    reserved = [name for name in machine_attributes if name.startswith(("ecs.", "com.amazonaws."))]
    if reserved:
        raise InvalidParameterException(f"Attribute {reserved[0]} is reserved. Choose a name of your own.")
    code = secrets.token_urlsafe(CODE_BYTES)
    now = cp.clock()
    activation = Activation(
        activation_id=cp.new_id(),
        cluster=cluster.name,
        code_digest=code_digest(code),
        registration_limit=registration_limit,
        expires_at=now + timedelta(seconds=expires_in_seconds),
        created_at=now,
        attributes=tuple(Attribute(name=name, value=value) for name, value in machine_attributes.items()),
    )
    cp.table.commit(activations.created(activation))
    return {
        "activationId": activation.activation_id,
        "activationCode": code,
        "expiresAt": activation.expires_at.isoformat(timespec="seconds"),
    }


def list_activations(cp: ControlPlane, cluster_name: str | None) -> dict[str, Any]:
    """Answers {activations}, of one cluster or of all, without codes: nobody has those."""
    now = cp.clock()
    return {
        "activations": [
            {
                "activationId": each.activation_id,
                "cluster": each.cluster,
                "registrationLimit": each.registration_limit,
                "registrations": each.registrations,
                "expiresAt": each.expires_at.isoformat(timespec="seconds"),
                "expired": each.expires_at <= now,
                "attributes": {attribute.name: attribute.value for attribute in each.attributes},
            }
            for each in activations.load_listed(cp.table)
            if cluster_name in {None, each.cluster}
        ]
    }


def delete_activation(cp: ControlPlane, activation_id: str) -> dict[str, Any]:
    """Answers {activationId}. Machines that have registered with it keep their identities.

    A registration that is under way gets none any more, unless its certificate is noted already. Raises
    InvalidParameterException.
    """
    try:
        cp.table.commit(activations.deleted(activation_id))
    except ItemChangedError as gone:
        raise InvalidParameterException(f"There is no activation {activation_id}.") from gone
    cp.table.delete_many(activations.uses(cp.table, activation_id))
    return {"activationId": activation_id}
