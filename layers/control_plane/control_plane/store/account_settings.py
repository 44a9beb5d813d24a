"""What principals have said of account settings. Each is an item of its own, and the last word counts."""

from control_plane.domain.races import ItemChangedError
from control_plane.store import keys
from control_plane.store.table import Table, Write


def of_principal(table: Table, principal: str) -> dict[str, str]:
    """The values that it has set, by name."""
    return {item["sk"]: item["value"] for item in table.query(keys.account_settings_partition(principal))}


def load(table: Table, principal: str, name: str) -> str | None:
    item = table.get(keys.account_setting(principal, name))
    return None if item is None else str(item["value"])


def put(principal: str, name: str, value: str) -> Write:
    return Write("Put", keys.account_setting(principal, name), ItemChangedError(name), item={"value": value})


def deleted(principal: str, name: str) -> Write:
    return Write("Delete", keys.account_setting(principal, name), ItemChangedError(name))
