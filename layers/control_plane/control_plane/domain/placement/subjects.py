"""What the cluster query language can ask of a container instance, with which operators. Pure.

A comparison with what is not there selects nothing, also with != and not_in, except for task:group: there they say
that no task is of such a group. So `attribute:stack != prod` selects what has the attribute `stack`, with another
value, as Amazon ECS documents it, and `not(attribute:stack == prod)` selects what lacks it, too.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from control_plane.domain.placement.patterns import parse_pattern


class Facts(Protocol):
    """What is known of a container instance. A read-only view, so that whoever has it need not copy anything."""

    @property
    def agent_connected(self) -> bool: ...
    @property
    def agent_version(self) -> str | None: ...
    @property
    def ec2_instance_id(self) -> str: ...
    @property
    def registered_at(self) -> datetime | None: ...
    @property
    def running_tasks(self) -> int:
        """Tasks whose last status is RUNNING."""
        ...

    @property
    def groups(self) -> Collection[str]:
        """Of the tasks on it that are to run."""
        ...

    def attribute(self, name: str) -> str | None:
        """Its value, empty if it has none; None: the instance has no such attribute."""
        ...


@dataclass(frozen=True)
class Operator:
    """`takes`: 0 arguments, 1, or a list (2)."""

    symbol: str
    word: str
    takes: int = 1


class ArgumentError(Exception):
    """An argument that its subject cannot be compared with; `index` says which."""

    def __init__(self, index: int, expected: str) -> None:
        super().__init__(expected)
        self.index = index
        self.expected = expected


EQUALS = Operator("==", "equals")
NOT_EQUALS = Operator("!=", "not_equals")
GREATER = Operator(">", "greater_than")
GREATER_EQUAL = Operator(">=", "greater_than_equal")
LESS = Operator("<", "less_than")
LESS_EQUAL = Operator("<=", "less_than_equal")
MATCHES = Operator("=~", "matches")
NOT_MATCHES = Operator("!~", "not_matches")
IN = Operator("in", "in", takes=2)
NOT_IN = Operator("!in", "not_in", takes=2)
EXISTS = Operator("exists", "exists", takes=0)
NOT_EXISTS = Operator("!exists", "not_exists", takes=0)

_EQUALITY = (EQUALS, NOT_EQUALS)
_ORDER = (GREATER, GREATER_EQUAL, LESS, LESS_EQUAL)
_TEXT = (IN, NOT_IN, MATCHES, NOT_MATCHES)
_PRESENCE = (EXISTS, NOT_EXISTS)

OPERATORS: Mapping[str, Operator] = {
    text: operator
    for operator in (*_EQUALITY, *_ORDER, *_TEXT, *_PRESENCE)
    for text in (operator.symbol, operator.word)
}

_DENIED: Mapping[Operator, Operator] = {NOT_EQUALS: EQUALS, NOT_IN: IN, NOT_MATCHES: MATCHES, NOT_EXISTS: EXISTS}


@dataclass(frozen=True)
class Subject:
    """`kind` says what its values are and how they are compared."""

    name: str
    operators: tuple[Operator, ...]
    kind: str = "text"


_SUBJECTS: Mapping[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject("agentConnected", (*_EQUALITY, *_TEXT)),
        Subject("agentVersion", (*_EQUALITY, *_ORDER), "version"),
        Subject("ec2InstanceId", (*_EQUALITY, *_TEXT)),
        Subject("registeredAt", (*_EQUALITY, *_ORDER), "time"),
        Subject("runningTasksCount", (*_EQUALITY, *_ORDER), "number"),
        Subject("task:group", (*_EQUALITY, *_TEXT, *_PRESENCE), "groups"),
    )
}

OF_TASKS = frozenset({"task:group", "runningTasksCount"})
"""Subjects for which the tasks of an instance must be known."""

_ATTRIBUTE = re.compile(r"attribute:[A-Za-z0-9_./\\-]{1,128}")


def subject_named(name: str) -> Subject | None:
    """None if the language has no such subject."""
    if _ATTRIBUTE.fullmatch(name):
        return Subject(name, (*_EQUALITY, *_ORDER, *_TEXT, *_PRESENCE), "attribute")
    return _SUBJECTS.get(name)


def comparison_of(subject: Subject | None, operator: Operator, arguments: tuple[str, ...]) -> Callable[[Facts], bool]:
    """The comparison as a function. Raises ArgumentError, PatternError."""
    if subject is None or operator not in subject.operators:
        raise ArgumentError(0, "a subject, and an operator that it takes")
    match subject.kind:
        case "version" | "time" | "number":
            return _ordered(subject, operator, arguments[0])
        case "groups":
            return _of_groups(operator, arguments)
        case "attribute":
            return _of_attribute(subject.name.removeprefix("attribute:"), operator, arguments)
        case _:
            test = _text_test(operator, arguments)
            if subject.name == "agentConnected":
                return lambda facts: test("true" if facts.agent_connected else "false")
            return lambda facts: test(facts.ec2_instance_id)


def _of_groups(operator: Operator, arguments: tuple[str, ...]) -> Callable[[Facts], bool]:
    affirmed = _DENIED.get(operator, operator)
    denied = operator in _DENIED
    if affirmed is EXISTS:
        return lambda facts: bool(facts.groups) is not denied
    test = _text_test(affirmed, arguments)
    return lambda facts: any(test(group) for group in facts.groups) is not denied


def _of_attribute(name: str, operator: Operator, arguments: tuple[str, ...]) -> Callable[[Facts], bool]:
    if operator in _PRESENCE:
        there = operator is EXISTS
        return lambda facts: (facts.attribute(name) is not None) is there
    test = _order_test(operator, arguments[0]) if operator in _ORDER else _text_test(operator, arguments)

    def compare(facts: Facts) -> bool:
        value = facts.attribute(name)
        return value is not None and test(value)

    return compare


def _text_test(operator: Operator, arguments: tuple[str, ...]) -> Callable[[str], bool]:
    denied = operator in _DENIED
    if operator in {MATCHES, NOT_MATCHES}:
        pattern = parse_pattern(arguments[0])
        return lambda value: pattern.matches(value) is not denied
    wanted = frozenset(arguments)
    return lambda value: (value in wanted) is not denied


def _order_test(operator: Operator, argument: str) -> Callable[[str], bool]:
    """Attributes are compared as numbers if both are, else as texts."""
    number = _number(argument)

    def test(value: str) -> bool:
        other = _number(value)
        if number is not None and other is not None:
            return _holds(operator, _sign(other, number))
        return _holds(operator, (value > argument) - (value < argument))

    return test


def _ordered(subject: Subject, operator: Operator, argument: str) -> Callable[[Facts], bool]:
    if subject.kind == "number":
        if not re.fullmatch(r"[0-9]{1,9}", argument):
            raise ArgumentError(0, "a whole number")
        count = int(argument)
        return lambda facts: _holds(operator, (facts.running_tasks > count) - (facts.running_tasks < count))
    if subject.kind == "time":
        return _time_test(operator, argument)
    wanted = _version(argument)
    if wanted is None:
        raise ArgumentError(0, "a version such as 1.14.5")
    version = wanted

    def compare(facts: Facts) -> bool:
        found = _version(facts.agent_version or "")
        return found is not None and _holds(operator, (found > version) - (found < version))

    return compare


def _time_test(operator: Operator, argument: str) -> Callable[[Facts], bool]:
    """A time without a zone is UTC, a date its first moment. Times are compared by the second, as they are shown."""
    try:
        parsed = datetime.fromisoformat(argument)
    except ValueError as error:
        raise ArgumentError(0, "a time such as 2018-06-18T22:28:28Z or 2018-06-18") from error
    try:
        wanted = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError as error:
        raise ArgumentError(0, "a time such as 2018-06-18T22:28:28Z or 2018-06-18") from error
    second = wanted.replace(microsecond=0)

    def compare(facts: Facts) -> bool:
        if facts.registered_at is None:
            return False
        found = facts.registered_at.replace(microsecond=0)
        return _holds(operator, (found > second) - (found < second))

    return compare


def _holds(operator: Operator, sign: int) -> bool:
    """`sign` is 1 if the instance's value is greater, -1 if it is less, 0 if they are equal."""
    match operator.symbol:
        case "==":
            return sign == 0
        case "!=":
            return sign != 0
        case ">":
            return sign > 0
        case ">=":
            return sign >= 0
        case "<":
            return sign < 0
        case _:
            return sign <= 0


def _sign(one: float, two: float) -> int:
    return (one > two) - (one < two)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text) else None


def _version(text: str) -> tuple[int, ...] | None:
    """1.14.5 of `v1.14.5-dev`; zeros at the end say nothing."""
    found = re.match(r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,5})(?![0-9.])", text)
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
