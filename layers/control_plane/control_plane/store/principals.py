"""Keys and policies as a warm function remembers them: not longer than it may take until a revoked key stops."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from control_plane.domain.access_key import AccessKey
from control_plane.domain.authorization import Policy
from control_plane.store import access_keys, policies
from control_plane.store.table import Table

T = TypeVar("T")

KEPT = timedelta(seconds=15)
"""How long what was revoked, denied or allowed goes unnoticed, at most."""
MOST = 1000
"""Of each kind. A function that has more callers reads more often."""


class Principals:
    """One read for each key, and one for each principal's policies, in KEPT."""

    def __init__(self, table: Table) -> None:
        self._keys: _Recent[AccessKey] = _Recent(lambda key_id: access_keys.load(table, key_id))
        self._policies: _Recent[tuple[Policy, ...]] = _Recent(lambda name: policies.of_principal(table, name))

    def key(self, access_key_id: str, now: datetime) -> AccessKey | None:
        """None if there is none, which is not remembered: a new key works at once."""
        return self._keys.get(access_key_id, now)

    def policies_of(self, principal: str, now: datetime) -> tuple[Policy, ...]:
        return self._policies.get(principal, now) or ()


class _Recent(Generic[T]):
    def __init__(self, read: Callable[[str], T | None]) -> None:
        self._read = read
        self._known: dict[str, tuple[datetime, T]] = {}

    def get(self, name: str, now: datetime) -> T | None:
        if name in self._known and now - self._known[name][0] < KEPT:
            return self._known[name][1]
        self._known.pop(name, None)
        if len(self._known) >= MOST:
            self._known.clear()
        value = self._read(name)
        if value is not None:
            self._known[name] = (now, value)
        return value
