"""Policies of principals. Each is an item of its own, and the last word counts."""

from control_plane.domain.authorization import Policy
from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write


def of_principal(table: Table, principal: str) -> tuple[Policy, ...]:
    beginning = keys.policy(principal, "")
    return tuple(Policy.model_validate(item) for item in table.query(beginning.pk, beginning.sk))


def every(table: Table) -> list[Policy]:
    found = (Policy.model_validate(item) for item in table.query_many(keys.policy_partitions()))
    return sorted(found, key=lambda policy: (policy.principal, policy.name))


def put(policy: Policy) -> Write:
    return Write(
        "Put", keys.policy(policy.principal, policy.name), ItemChangedError(policy.name), item=attributes(policy)
    )


def deleted(principal: str, name: str) -> Write:
    """Raises ItemChangedError if there is none."""
    return Write("Delete", keys.policy(principal, name), ItemChangedError(name), condition="attribute_exists(#pk)")
