"""Placement constraints and strategies, as requests and task definitions write them. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-constraints.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-strategies.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.query import MAX_LENGTH, Expression, parse_query
from control_plane.domain.placement.subjects import OF_TASKS

MAX_CONSTRAINTS = 10
"""Of a task: those of its definition and those of the request or service together."""

MAX_STRATEGIES = 5

Written = Mapping[str, str]
"""A constraint or strategy in the shape of the ECS API."""


@dataclass(frozen=True)
class Constraints:
    """`expressions` an instance must satisfy, each; `distinct`: it must hold no other task of the group."""

    expressions: tuple[Expression, ...] = ()
    distinct: bool = False

    @property
    def of_tasks(self) -> bool:
        """Whether an expression asks what runs on an instance."""
        return any(expression.subjects() & OF_TASKS for expression in self.expressions)


UNCONSTRAINED = Constraints()


@dataclass(frozen=True)
class Spread:
    """Evenly over the instances, or over the values of an attribute, counting the tasks of the group."""

    attribute: str | None = None
    """None: over instances."""


@dataclass(frozen=True)
class Binpack:
    """On the instance that has the least left of it."""

    resource: Literal["cpu", "memory"]


@dataclass(frozen=True)
class Random:
    """On any, each as likely as the others."""


Strategy = Spread | Binpack | Random

SERVICE_DEFAULT: tuple[Strategy, ...] = (Spread("ecs.availability-zone"),)
"""Of services that name no strategy. Standalone tasks have none: they go to the instance with the fewest tasks."""

_SPREAD_ATTRIBUTE = re.compile(r"attribute:[a-zA-Z0-9_./\\-]{1,128}")


def parse_constraints(own: Sequence[Written], of_definition: Sequence[Written] = ()) -> Constraints:
    """Raises InvalidParameterException."""
    count = len(own) + len(of_definition)
    if count > MAX_CONSTRAINTS:
        raise InvalidParameterException(
            f"A task can have at most {MAX_CONSTRAINTS} placement constraints, those of its task definition included, "
            f"but has {count}."
        )
    expressions: list[Expression] = []
    distinct = False
    for constraint in (*of_definition, *own):
        match constraint.get("type"):
            case "distinctInstance":
                if "expression" in constraint:
                    raise InvalidParameterException("distinctInstance expression should not be specified.")
                distinct = True
            case "memberOf":
                expressions.append(_expression(constraint.get("expression", "")))
            case _:
                raise InvalidParameterException("A placement constraint has the type distinctInstance or memberOf.")
    return Constraints(tuple(expressions), distinct)


def _expression(text: str) -> Expression:
    if not text:
        raise InvalidParameterException("A memberOf placement constraint needs an expression.")
    if len(text) > MAX_LENGTH:
        raise InvalidParameterException(
            f"The expression of a placement constraint has at most {MAX_LENGTH} characters, but has {len(text)}."
        )
    return parse_query(text)


def parse_strategy(written: Sequence[Written]) -> tuple[Strategy, ...]:
    """Raises InvalidParameterException."""
    if len(written) > MAX_STRATEGIES:
        raise InvalidParameterException(
            f"A task can have at most {MAX_STRATEGIES} placement strategies, but has {len(written)}."
        )
    return tuple(_strategy(each) for each in written)


def _strategy(written: Written) -> Strategy:
    field = written.get("field", "")
    match written.get("type"):
        case "random":
            return Random()
        case "binpack":
            if field.lower() == "cpu":
                return Binpack("cpu")
            if field.lower() == "memory":
                return Binpack("memory")
            raise InvalidParameterException(f"The field of a binpack strategy is cpu or memory, but is '{field}'.")
        case "spread":
            if field.lower() in {"host", "instanceid"}:
                return Spread()
            if _SPREAD_ATTRIBUTE.fullmatch(field):
                return Spread(field.removeprefix("attribute:"))
            raise InvalidParameterException(
                f"The field of a spread strategy is instanceId, host or attribute:NAME, but is '{field[:200]}'."
            )
        case _:
            raise InvalidParameterException("A placement strategy has the type random, spread or binpack.")


def as_stored(written: Sequence[Written]) -> tuple[dict[str, str], ...]:
    """A list of strategies as Amazon ECS gives it back: `host` is another word for instanceId."""
    hosts = {"host", "instanceid"}
    return tuple(
        {**each, "field": "instanceId"} if each.get("field", "").lower() in hosts else dict(each) for each in written
    )
