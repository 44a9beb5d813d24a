"""Amazon's own definition of every ECS operation, from botocore: what a request may hold, and what an answer has.

Each request is read once, by the shape of its operation: null members are absent, unknown ones are dropped (a newer
client may send them), the wrong JSON type is a SerializationException, and a value outside Amazon's bounds is the
operation's own error.

https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape

from control_plane.domain.errors import (
    ClientException,
    InvalidParameterException,
    RequestEntityTooLargeException,
    SerializationException,
    UnknownOperationException,
)

MAX_BYTES = 2**20
_INTEGER_LIMITS = {"integer": 2**31, "long": 2**63}
_JSON_TYPES = {dict: "START_OBJECT", list: "START_ARRAY", str: "STRING_VALUE", int: "NUMBER_VALUE"}
_JSON_TYPES |= {float: "NUMBER_VALUE", bool: "BOOLEAN_VALUE"}


@lru_cache(maxsize=1)
def service_model() -> ServiceModel:
    """The newest that the installed botocore has: about a tenth of a second, once for each Lambda environment."""
    return ServiceModel(Loader().load_service_model("ecs", "service-2"), "ecs")


def operation_of(target: str | None) -> str:
    """The operation that the header X-Amz-Target names. Raises UnknownOperationException."""
    prefix, _, operation = (target or "").partition(".")
    model = service_model()
    if prefix != model.metadata["targetPrefix"] or operation not in model.operation_names:
        raise UnknownOperationException(
            f"X-Amz-Target '{(target or '')[:200]}' names no operation of Amazon ECS. Check the endpoint, or update "
            "ECS Anywhere if the operation is new."
        )
    return operation


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; none is an empty one.

    Raises SerializationException, RequestEntityTooLargeException.
    """
    if len(body) > MAX_BYTES:
        raise RequestEntityTooLargeException(f"The body is longer than {MAX_BYTES} bytes.")
    try:
        parsed = json.loads(body or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SerializationException("The body is not valid JSON.") from error
    if not isinstance(parsed, dict):
        raise SerializationException(f"{_json_type(parsed)} cannot be converted to a request: send a JSON object.")
    return parsed


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def validate_request(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The members that the operation knows, with timestamps as aware datetimes.

    Raises SerializationException, InvalidParameterException, or what RegisterTaskDefinition has for it,
    ClientException.
    """
    shape = service_model().operation_model(operation).input_shape
    if shape is None:
        return {}
    reader = _Reader()
    value: dict[str, Any] = reader.read(dict(request), shape, "")
    if reader.violations:
        count = len(reader.violations)
        refuse = ClientException if operation == "RegisterTaskDefinition" else InvalidParameterException
        raise refuse(f"{count} validation error{'s' * (count > 1)} detected: {'; '.join(reader.violations)}")
    return value


class _Reader:
    """Reads one request. `violations` are what Amazon's bounds forbid, in Amazon's words."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def read(self, value: Any, shape: Shape, path: str) -> Any:
        read: Callable[[Any, Shape, str], Any] = getattr(self, f"_{shape.type_name}")
        return read(value, shape, path)

    def _structure(self, value: Any, shape: StructureShape, path: str) -> dict[str, Any]:
        _require(value, dict, shape)
        for name in shape.required_members:
            if value.get(name) is None:
                self._violated("null", _member(path, name), "Member must not be null")
        return {
            name: self.read(value[name], member, _member(path, name))
            for name, member in shape.members.items()
            if value.get(name) is not None
        }

    def _list(self, value: Any, shape: ListShape, path: str) -> list[Any]:
        _require(value, list, shape)
        self._bounded(len(value), shape, path, value, "length")
        return [self.read(each, shape.member, f"{path}.{index}.member") for index, each in enumerate(value, 1)]

    def _map(self, value: Any, shape: MapShape, path: str) -> dict[str, Any]:
        _require(value, dict, shape)
        present = {name: each for name, each in value.items() if each is not None}
        return {
            self.read(name, shape.key, path): self.read(each, shape.value, f"{path}.{name}.member")
            for name, each in present.items()
        }

    def _string(self, value: Any, shape: StringShape, path: str) -> str:
        _require(value, str, shape)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise SerializationException(f"'{path}' is not valid Unicode.") from error
        self._bounded(len(value), shape, path, value, "length")
        if shape.enum and value not in shape.enum:
            self._violated(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
        text: str = value
        return text

    def _integer(self, value: Any, shape: Shape, path: str) -> int:
        limit = _INTEGER_LIMITS[shape.type_name]
        if type(value) is not int or not -limit <= value < limit:
            raise _not_convertible(value, shape)
        self._bounded(value, shape, path, value, "value")
        return value

    _long = _integer

    def _double(self, value: Any, shape: Shape, path: str) -> float:
        if type(value) not in {int, float}:
            raise _not_convertible(value, shape)
        self._bounded(value, shape, path, value, "value")
        try:
            return float(value)
        except OverflowError as error:
            raise _not_convertible(value, shape) from error

    _float = _double

    def _boolean(self, value: Any, shape: Shape, path: str) -> bool:
        del path
        _require(value, bool, shape)
        return bool(value)

    def _timestamp(self, value: Any, shape: Shape, path: str) -> datetime:
        del path
        if type(value) not in {int, float}:
            raise _not_convertible(value, shape)
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError, ValueError) as error:
            raise _not_convertible(value, shape) from error

    def _bounded(self, size: float, shape: Shape, path: str, value: Any, what: str) -> None:
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if least is not None and size < least:
            self._violated(value, path, f"Member must have {what} greater than or equal to {least}")
        if most is not None and size > most:
            self._violated(value, path, f"Member must have {what} less than or equal to {most}")

    def _violated(self, value: Any, path: str, constraint: str) -> None:
        shown = value if value == "null" else f"'{str(value)[:200]}'"
        self.violations.append(f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}")


def _member(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _require(value: Any, wanted: type, shape: Shape) -> None:
    if not isinstance(value, wanted):
        raise _not_convertible(value, shape)


def _not_convertible(value: Any, shape: Shape) -> SerializationException:
    return SerializationException(f"{_json_type(value)} cannot be converted to {shape.type_name.capitalize()}")


def _json_type(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "NULL_VALUE")


def serialise(operation: str, answer: Mapping[str, Any]) -> str:
    """The JSON of an operation's answer: the members that Amazon's model has and that are not None."""
    shape = service_model().operation_model(operation).output_shape
    return json.dumps(_written(answer, shape) if shape else {}, separators=(",", ":"), ensure_ascii=False)


def _written(value: Any, shape: Shape) -> Any:
    if isinstance(shape, StructureShape):
        members = shape.members
        return {
            name: _written(each, members[name]) for name, each in value.items() if each is not None and name in members
        }
    if isinstance(shape, ListShape):
        return [_written(each, shape.member) for each in value]
    if isinstance(shape, MapShape):
        return {name: _written(each, shape.value) for name, each in value.items()}
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    return value
