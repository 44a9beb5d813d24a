"""Activations: the right to make a number of machines into container instances, until a time."""

from datetime import datetime

from control_plane.domain.entity import Entity
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write
from ecs_protocol.messages import Attribute


class Activation(Entity):
    """The code itself is never stored."""

    activation_id: str
    cluster: str
    code_digest: str
    registration_limit: int
    registrations: int = 0
    expires_at: datetime
    attributes: tuple[Attribute, ...] = ()


class ActivationUse(Entity):
    """What one CSR was given, written before the identity is made, so that asking again makes no second one."""

    instance_id: str
    certificate_arn: str | None = None
    certificate_pem: str | None = None


def load(table: Table, activation_id: str) -> Activation | None:
    item = table.get(keys.activation(activation_id))
    return None if item is None else Activation.model_validate(item)


def created(activation: Activation) -> Write:
    return Write(
        "Put",
        keys.activation(activation.activation_id),
        ItemChangedError(activation.activation_id),
        item=attributes(activation),
        condition="attribute_not_exists(#pk)",
    )


def load_use(table: Table, activation_id: str, csr_digest: str) -> ActivationUse | None:
    item = table.get(keys.activation_use(activation_id, csr_digest))
    return None if item is None else ActivationUse.model_validate(item)


def used(activation: Activation, csr_digest: str, use: ActivationUse) -> list[Write]:
    """Count one registration and note for whom, if the limit is not reached."""
    return [
        Write(
            "Update",
            keys.activation(activation.activation_id),
            ItemChangedError("limit"),
            update="ADD #registrations :one",
            condition="#registrations < :limit",
            values={":one": 1, ":limit": activation.registration_limit},
        ),
        Write(
            "Put",
            keys.activation_use(activation.activation_id, csr_digest),
            ItemChangedError("used"),
            item=attributes(use),
            condition="attribute_not_exists(#pk)",
        ),
    ]


def certified(activation_id: str, csr_digest: str, use: ActivationUse) -> Write:
    """The certificate that was made; the first to say so wins."""
    return Write(
        "Put",
        keys.activation_use(activation_id, csr_digest),
        ItemChangedError("certified"),
        item=attributes(use),
        condition="attribute_not_exists(#certificateArn)",
    )
