"""The cluster query language: which container instances an expression selects. Pure.

    expression  and-part { (or | ||) and-part }
    and-part    unary { (and | &&) unary }
    unary       (not | !) unary  |  "(" expression ")"  |  comparison
    comparison  subject operator [argument]            (the operators and what they compare: subjects.py)

An argument is a word, or a text in single or double quotes, which have no escapes; `in` and `not_in` take a list of
them. A word ends at white space, a parenthesis, `&&` or `||`, in a list also at `,` or `]`. `not` binds more tightly
than `and`, `and` more than `or`.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.patterns import PatternError
from control_plane.domain.placement.subjects import (
    OPERATORS,
    ArgumentError,
    Facts,
    Operator,
    Subject,
    comparison_of,
    subject_named,
)

MAX_LENGTH = 2000
"""Of an expression: Amazon's bound for a placement constraint, here for a filter, too."""

MAX_DEPTH = 50
"""Parentheses and `not` within each other."""

_SUBJECT = re.compile(r"[A-Za-z0-9_.:/\\-]+")
_OPERATOR = re.compile(r"==|!=|>=|<=|=~|!~|>|<|!in\b|!exists\b|[a-z_]+\b")
_BLANK = re.compile(r"\s*")
_WORD = re.compile(r"(?:(?!&&|\|\|)[^\s()'\"])+")
_LISTED = re.compile(r"(?:(?!&&|\|\|)[^\s()'\",\[\]])+")


@dataclass(frozen=True)
class Comparison:
    """`subject operator argument`; `arguments` is empty for exists, and has all of a list."""

    subject: str
    operator: Operator
    arguments: tuple[str, ...] = ()

    @cached_property
    def _test(self) -> Callable[[Facts], bool]:
        return comparison_of(subject_named(self.subject), self.operator, self.arguments)

    def matches(self, facts: Facts) -> bool:
        return self._test(facts)

    def subjects(self) -> frozenset[str]:
        return frozenset({self.subject})


@dataclass(frozen=True)
class Not:
    """Selects what `of` does not."""

    of: "Term"

    def matches(self, facts: Facts) -> bool:
        return not self.of.matches(facts)

    def subjects(self) -> frozenset[str]:
        return self.of.subjects()


@dataclass(frozen=True)
class _Several:
    """Two parts or more."""

    parts: "tuple[Term, ...]"

    def subjects(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.subjects() for part in self.parts))


@dataclass(frozen=True)
class And(_Several):
    """Selects what all parts do."""

    def matches(self, facts: Facts) -> bool:
        return all(part.matches(facts) for part in self.parts)


@dataclass(frozen=True)
class Or(_Several):
    """Selects what any part does."""

    def matches(self, facts: Facts) -> bool:
        return any(part.matches(facts) for part in self.parts)


Term = Comparison | Not | And | Or


@dataclass(frozen=True)
class Expression:
    """What is shown and stored is what somebody wrote: another spelling of it might be longer than what is allowed."""

    text: str
    meaning: Term

    def matches(self, facts: Facts) -> bool:
        return self.meaning.matches(facts)

    def subjects(self) -> frozenset[str]:
        return self.meaning.subjects()

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=256)
def parse_query(text: str) -> Expression:
    """Raises InvalidParameterException, which says at which character what was expected."""
    if len(text) > MAX_LENGTH:
        raise InvalidParameterException(
            f"The expression has {len(text)} characters, but at most {MAX_LENGTH} are allowed."
        )
    return Expression(text, _Reader(text).read())


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> Term:
        term = self._or(0)
        if self._at < len(self._text):
            raise self._expected("'and', 'or' or the end (an argument with parentheses or spaces needs quotes)")
        return term

    def _or(self, depth: int) -> Term:
        parts = [self._and(depth)]
        while self._takes("||", "or"):
            parts.append(self._and(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, depth: int) -> Term:
        parts = [self._unary(depth)]
        while self._takes("&&", "and"):
            parts.append(self._unary(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _unary(self, depth: int) -> Term:
        if depth > MAX_DEPTH:
            raise self._expected(f"at most {MAX_DEPTH} parentheses and negations within each other")
        if self._takes("!", "not"):
            return Not(self._unary(depth + 1))
        if self._takes("("):
            inner = self._or(depth + 1)
            if not self._takes(")"):
                raise self._expected("'and', 'or' or ')'")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        self._skip()
        found = _SUBJECT.match(self._text, self._at)
        name = found[0] if found else ""
        subject = subject_named(name)
        if subject is None:
            raise self._expected(
                "agentConnected, agentVersion, attribute:NAME, ec2InstanceId, registeredAt, runningTasksCount, "
                "task:group, 'not' or '('"
            )
        self._at += len(name)
        operator = self._operator(subject)
        arguments, places = self._arguments(operator)
        try:
            comparison_of(subject, operator, tuple(arguments))
        except ArgumentError as error:
            self._at = places[error.index]
            raise self._expected(error.expected) from error
        except PatternError as error:
            raise _invalid(places[0] + error.position, f"in this regular expression, {error.message}") from error
        return Comparison(name, operator, tuple(arguments))

    def _operator(self, subject: Subject) -> Operator:
        self._skip()
        found = _OPERATOR.match(self._text, self._at)
        operator = OPERATORS.get(found[0]) if found else None
        if found is None or operator is None or operator not in subject.operators:
            choice = ", ".join(f"{each.symbol} ({each.word})" for each in subject.operators)
            raise self._expected(f"an operator that {subject.name} takes: {choice}")
        self._at = found.end()
        return operator

    def _arguments(self, operator: Operator) -> tuple[list[str], list[int]]:
        """The arguments, and where each begins."""
        if operator.takes == 0:
            return [], []
        if operator.takes == 1:
            place, text = self._argument(_WORD)
            return [text], [place]
        if not self._takes("["):
            raise self._expected("a list such as [one, two]")
        texts, places = [], []
        while True:
            place, text = self._argument(_LISTED)
            texts.append(text)
            places.append(place)
            if self._takes("]"):
                return texts, places
            if not self._takes(","):
                raise self._expected("',' or ']'")

    def _argument(self, word: re.Pattern[str]) -> tuple[int, str]:
        self._skip()
        quote = self._text[self._at : self._at + 1]
        if quote and quote in "'\"":
            close = self._text.find(quote, self._at + 1)
            if close < 0:
                raise self._expected(f"a closing {quote}")
            begin, self._at = self._at + 1, close + 1
            return begin, self._text[begin:close]
        found = word.match(self._text, self._at)
        if found is None:
            raise self._expected("a value")
        self._at = found.end()
        return found.start(), found[0]

    def _takes(self, *tokens: str) -> bool:
        """Move past one of the tokens if it is next; a word must end there."""
        self._skip()
        for token in tokens:
            if self._text.startswith(token, self._at):
                end = self._at + len(token)
                if token.isalpha() and re.match(r"[A-Za-z0-9_.:/\\-]", self._text[end : end + 1]):
                    continue
                self._at = end
                return True
        return False

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _expected(self, what: str) -> InvalidParameterException:
        self._skip()
        rest = self._text[self._at : self._at + 30]
        return _invalid(self._at, f"expected {what}, but found {repr(rest) if rest else 'the end'}")


def _invalid(position: int, message: str) -> InvalidParameterException:
    return InvalidParameterException(f"Invalid expression: at character {position + 1}, {message}.")
