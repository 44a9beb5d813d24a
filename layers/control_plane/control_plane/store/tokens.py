"""Client tokens: what a request was answered, so that the same request sent again is not carried out again."""

from datetime import datetime, timedelta

from control_plane.domain.entity import Entity
from control_plane.domain.races import TokenUsedError
from control_plane.store import keys
from control_plane.store.items import attributes
from control_plane.store.table import Table, Write

KEPT = timedelta(hours=24)


class Answered(Entity):
    """`request` is a digest of what was asked; `failures` are those of the answer."""

    request: str
    task_ids: tuple[str, ...] = ()
    failures: tuple[dict[str, str], ...] = ()


def used(
    operation: str, cluster: str, token: str, answered: Answered, *, now: datetime, kept: timedelta = KEPT
) -> Write:
    """Goes with the writes that carry the request out. DynamoDB deletes late: what has expired does not count."""
    return Write(
        "Put",
        keys.token(operation, cluster, token),
        TokenUsedError(token),
        item={**attributes(answered), "expiresAt": int((now + kept).timestamp())},
        condition="attribute_not_exists(#pk) OR #expiresAt < :now",
        values={":now": int(now.timestamp())},
    )


def load(table: Table, operation: str, cluster: str, token: str, now: datetime) -> Answered | None:
    item = table.get(keys.token(operation, cluster, token))
    if item is None or item["expiresAt"] < now.timestamp():
        return None
    return Answered.model_validate(item)
