"""What the parts of a task definition check alike."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.request_checks import says_nothing

Container = Mapping[str, Any]


def refuse_others(given: Mapping[str, Any], known: frozenset[str], what: str) -> None:
    """A member that would change what runs, and that nothing here honours, is refused. Raises ClientException."""
    for member in sorted(set(given) - known):
        if not says_nothing(given[member]):
            raise ClientException(f"{what}: '{member}' is not supported yet. Remove it (see docs/api.md).")


def refuse_nul(given: Mapping[str, Any], what: str) -> None:
    """Raises ClientException."""
    if any("\0" in text for text in _texts(given)):
        raise ClientException(f"{what}: a text has the character NUL, which no program can be given. Remove it.")


def check_number(number: int, limits: tuple[int, int], member: str, container: str) -> None:
    """Raises ClientException."""
    least, most = limits
    if not least <= number <= most:
        raise ClientException(f"Invalid '{member}' setting for container '{container}'. Write {least} to {most}.")


def repeated(values: Iterable[Any]) -> list[Any]:
    """Those that come more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def has_cycle(edges: Mapping[str, Iterable[str]]) -> bool:
    """Whether one comes back to where it began; `edges` lead only to what has edges itself."""
    left = {name: set(targets) for name, targets in edges.items()}
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    return bool(left)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from (name, *_texts(each))
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)
