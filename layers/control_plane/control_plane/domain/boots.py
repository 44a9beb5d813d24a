"""Whether two machines use one identity, from the boot ids that they tell when they connect. Pure.

A copied virtual machine has the marks of the original, and its key. But a boot that is over never speaks again: where
one that was followed by another does, two machines live. AWS IoT ends the session of the one when the other connects
(DUPLICATE_CLIENTID), and they connect in turn. That reason alone proves nothing: a machine that lost its network
without the broker's noticing ends its own session so.

    known boot, or the first ever                ─► BELIEVED
    new boot; the machine was not connected      ─► BELIEVED: it was started again
    new boot; the known one seems connected      ─► WAITS: power was cut, or it is a copy
        nothing is heard of the known one        ─► BELIEVED, when it asks again after PROBATION
        the known one speaks                     ─► two machines: the new one is REFUSED
    a boot that another one has followed speaks  ─► two machines: the later one is REFUSED from then on
    two machines are known                       ─► all but the one that was there first are REFUSED, until an operator
                                                    chooses

Messages come late, twice and in any order. What counts is when AWS IoT received them: what was sent before a boot ended
was received before the next one spoke.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from control_plane.domain.entity import Entity

PROBATION = timedelta(seconds=10)
"""How long a new boot waits beside one that seems connected. A machine whose session was ended is back in two seconds,
or has been back some times before."""

JUST_NOW = timedelta(seconds=10)
"""Whoever appeared so shortly before it spoke appeared with the connection that it spoke over."""

SKEW = timedelta(seconds=1)
"""By how much the clocks of AWS IoT's brokers may differ."""

REMEMBERED = 10
"""Boots that are over, and boots that are refused."""


class Boot(Entity):
    """One run of a machine's system."""

    boot_id: str
    first_at: datetime
    """When AWS IoT received its first message."""


class Boots(Entity):
    """What is known of the boots under one identity."""

    current: Boot
    earlier: tuple[str, ...] = ()
    """That the current one has followed, newest first."""
    coming: Boot | None = None
    """That is not believed yet."""
    refused: tuple[str, ...] = ()
    """Of machines that are not the one that an operator, or having been there first, has made it."""
    duplicate_found_at: datetime | None = None
    """Two machines are known, and no operator has chosen since."""


class Verdict(StrEnum):
    """What becomes of a message that opens a connection."""

    BELIEVED = "BELIEVED"
    WAITS = "WAITS"
    """It is not answered; its sender asks again."""
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class Heard:
    """`boots` is what is known from now on; the same object if that is nothing new."""

    verdict: Verdict
    boots: Boots | None
    duplicate: bool = False
    """Two machines have just been found."""


def hear(boots: Boots | None, boot_id: str | None, at: datetime, *, connected_since: datetime | None) -> Heard:
    """A message was received `at`. Agents of older releases tell no boot id, and are believed.

    `connected_since`: None, the instance is not known to be connected.
    """
    if boot_id is None:
        return Heard(Verdict.BELIEVED, boots)
    if boots is None:
        return Heard(Verdict.BELIEVED, Boots(current=Boot(boot_id=boot_id, first_at=at)))
    if boot_id == boots.current.boot_id:
        return _hear_current(boots, at)
    if boot_id in boots.refused:
        return Heard(Verdict.REFUSED, boots)
    if at <= boots.current.first_at + SKEW:
        return Heard(Verdict.WAITS, boots)  # late: that boot is over, and asks no more
    if boots.duplicate_found_at is not None:
        return Heard(Verdict.REFUSED, _changed(boots, refused=_with(boot_id, boots.refused)))
    if boot_id in boots.earlier:
        return Heard(Verdict.BELIEVED, _earlier_again(boots, boot_id, at), duplicate=True)
    was_there = connected_since is not None and at - connected_since > JUST_NOW
    coming = boots.coming
    waited = coming is not None and coming.boot_id == boot_id and at - coming.first_at >= PROBATION
    if was_there and not waited:
        known = coming is not None and (coming.boot_id == boot_id or at <= coming.first_at)
        return Heard(Verdict.WAITS, boots if known else _changed(boots, coming=Boot(boot_id=boot_id, first_at=at)))
    return Heard(Verdict.BELIEVED, _changed(boots, current=_first(boots, boot_id, at), earlier=_followed(boots)))


def _hear_current(boots: Boots, at: datetime) -> Heard:
    if boots.coming is None or at <= boots.coming.first_at + SKEW:
        return Heard(Verdict.BELIEVED, boots)
    refused = _with(boots.coming.boot_id, boots.refused)
    return Heard(Verdict.BELIEVED, _changed(boots, refused=refused, duplicate_found_at=at), duplicate=True)


def _earlier_again(boots: Boots, boot_id: str, at: datetime) -> Boots:
    """The current one came while this one was away."""
    return _changed(
        boots,
        current=Boot(boot_id=boot_id, first_at=at),
        earlier=tuple(each for each in boots.earlier if each != boot_id),
        refused=_with(boots.current.boot_id, boots.refused),
        duplicate_found_at=at,
    )


def choose(boots: Boots, boot_id: str, now: datetime) -> Boots:
    """An operator has chosen. Raises KeyError if no machine has told that boot id."""
    known = {boots.current.boot_id, *boots.refused, *([boots.coming.boot_id] if boots.coming else ())}
    if boot_id not in known:
        raise KeyError(boot_id)
    current = boots.current if boots.current.boot_id == boot_id else Boot(boot_id=boot_id, first_at=now)
    refused = tuple(sorted(known - {boot_id}))[:REMEMBERED]
    return Boots(current=current, earlier=boots.earlier, refused=refused)


def _first(boots: Boots, boot_id: str, at: datetime) -> Boot:
    coming = boots.coming
    return coming if coming is not None and coming.boot_id == boot_id else Boot(boot_id=boot_id, first_at=at)


def _followed(boots: Boots) -> tuple[str, ...]:
    return _with(boots.current.boot_id, boots.earlier)


def _with(boot_id: str, others: Sequence[str]) -> tuple[str, ...]:
    return (boot_id, *(each for each in others if each != boot_id))[:REMEMBERED]


def _changed(boots: Boots, **members: object) -> Boots:
    return boots.model_copy(update={"coming": None, **members})
