"""Activations: the right to make a number of machines into container instances, until a time."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from control_plane.domain.entity import Entity
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write
from ecs_protocol.messages import Attribute

LISTED = timedelta(days=30)
"""How long an activation that has expired is still listed."""


class Activation(Entity):
    """The code itself is never stored."""

    activation_id: str
    cluster: str
    code_digest: str
    registration_limit: int
    registrations: int = 0
    expires_at: datetime
    created_at: datetime | None = None
    """None of one that was made before this was stored; such a one is not listed either."""
    attributes: tuple[Attribute, ...] = ()


class ActivationUse(Entity):
    """What one key was given, written before the identity is made, so that asking again makes no second one."""

    instance_id: str
    certificate_arn: str | None = None
    certificate_pem: str | None = None


def load(table: Table, activation_id: str) -> Activation | None:
    item = table.get(keys.activation(activation_id))
    return None if item is None else Activation.model_validate(item)


def load_listed(table: Table) -> list[Activation]:
    """All that are there, the oldest first."""
    ids = [item["sk"] for item in table.query_many(keys.activation_partitions())]
    found = table.get_many([keys.activation(activation_id) for activation_id in ids]).values()
    activations = [Activation.model_validate(item) for item in found]
    return sorted(activations, key=lambda each: (each.created_at or each.expires_at, each.activation_id))


def created(activation: Activation) -> list[Write]:
    return [
        Write(
            "Put",
            keys.activation(activation.activation_id),
            ItemChangedError(activation.activation_id),
            item=attributes(activation),
            condition="attribute_not_exists(#pk)",
        ),
        Write(
            "Put",
            keys.listed_activation(activation.activation_id),
            ItemChangedError(activation.activation_id),
            item={"expiresAt": int((activation.expires_at + LISTED).timestamp())},
        ),
    ]


def deleted(activation_id: str) -> list[Write]:
    """From then on nothing is registered with it: what counts a use, and what notes its certificate, wants it there."""
    gone = ItemChangedError(activation_id)
    return [
        Write("Delete", keys.activation(activation_id), gone, condition="attribute_exists(#pk)"),
        Write("Delete", keys.listed_activation(activation_id), gone),
    ]


def uses(table: Table, activation_id: str) -> Sequence[keys.Key]:
    """The keys of what it gave out."""
    partition = keys.activation_use(activation_id, "")
    return [keys.Key(item["pk"], item["sk"]) for item in table.query(partition.pk, partition.sk)]


def load_use(table: Table, activation_id: str, csr_digest: str) -> ActivationUse | None:
    item = table.get(keys.activation_use(activation_id, csr_digest))
    return None if item is None else ActivationUse.model_validate(item)


def used(activation: Activation, csr_digest: str, use: ActivationUse) -> list[Write]:
    """Count one registration and note for whom, if the limit is not reached and the activation is there."""
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
        "Update",
        keys.activation_use(activation_id, csr_digest),
        ItemChangedError("certified"),
        update="SET #certificateArn = :arn, #certificatePem = :pem",
        condition="attribute_exists(#pk) AND attribute_not_exists(#certificateArn)",
        values={":arn": use.certificate_arn, ":pem": use.certificate_pem},
    )
