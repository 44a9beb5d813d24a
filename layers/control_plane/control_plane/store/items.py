"""Between entities and DynamoDB items. The only place that knows DynamoDB's types."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, cast

from boto3.dynamodb.types import TypeSerializer
from pydantic import BaseModel

Item = dict[str, Any]
"""An item in Python's own types."""

WireItem = dict[str, dict[str, Any]]
"""An item in DynamoDB's JSON."""

_serialize: Callable[[Any], dict[str, Any]] = cast("Any", TypeSerializer().serialize)


def to_wire(item: Mapping[str, Any]) -> WireItem:
    """Members that are None or an empty set are left out: an item says only what there is to say."""
    return {name: _serialize(value) for name, value in _plain(item).items()}


def value_to_wire(value: Any) -> dict[str, Any]:
    """One value, for an expression."""
    return _serialize(_plain(value))


def from_wire(wire: Mapping[str, Mapping[str, Any]]) -> Item:
    """Read without boto3's deserializer, which takes longer than all else that reading a large fleet takes."""
    return {name: _native(value) for name, value in wire.items()}


def attributes(entity: BaseModel) -> Item:
    """The entity's attributes; what is None or empty is left out."""
    members = entity.model_dump(by_alias=True, exclude_none=True)
    return {name: value for name, value in members.items() if value not in ((), [], {}, set(), frozenset())}


def unchanged(member: str, before: Any) -> tuple[str, dict[str, Any]]:
    """The condition, and its values, that a member which is left out while empty is what it was."""
    if before:
        return f"#{member} = :before_{member}", {f":before_{member}": before}
    return f"attribute_not_exists(#{member})", {}


def replacing(member: str, after: Any) -> tuple[str, dict[str, Any]]:
    """The update, and its values, that gives such a member a new value."""
    return (f"SET #{member} = :{member}", {f":{member}": after}) if after else (f"REMOVE #{member}", {})


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case float():
            return Decimal(str(value))
        case Mapping():
            return {key: _plain(member) for key, member in value.items() if _says_something(member)}
        case list() | tuple():
            return [_plain(member) for member in value]
        case set() | frozenset():
            return {_plain(member) for member in value}
        case _:
            return value


def _says_something(value: Any) -> bool:
    return value is not None and value != set()


def _native(wire: Mapping[str, Any]) -> Any:
    """A value in DynamoDB's JSON, of the types that `_plain` gives. botocore's parser has decoded what is binary."""
    [(kind, content)] = wire.items()
    match kind:
        case "S" | "BOOL":
            return content
        case "B":
            return b64decode(content) if isinstance(content, str) else content
        case "N":
            return _number(content)
        case "M":
            return {key: _native(member) for key, member in content.items()}
        case "L":
            return [_native(member) for member in content]
        case "SS":
            return set(content)
        case "NS":
            return {_number(member) for member in content}
        case "NULL":
            return None
        case _:
            raise TypeError(f"a value of type {kind} is nothing that is stored here")


def _number(text: str) -> int | float:
    """DynamoDB may write a whole number as 1E+2 or 3.0, too."""
    if text.lstrip("-").isdecimal():
        return int(text)
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else float(value)
