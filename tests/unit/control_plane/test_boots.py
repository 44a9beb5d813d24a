"""Which boot is believed, and when two machines are found. Times are seconds after the first message."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.domain.boots import PROBATION, REMEMBERED, Boot, Boots, Heard, Verdict, choose, hear

START = datetime(2026, 1, 1, tzinfo=UTC)
BELIEVED, WAITS, REFUSED = Verdict.BELIEVED, Verdict.WAITS, Verdict.REFUSED
LONG_AGO = -3600.0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def boot(boot_id: str, seconds: float) -> Boot:
    return Boot(boot_id=boot_id, first_at=at(seconds))


class Ear:
    """What the control plane has heard so far."""

    def __init__(self) -> None:
        self.boots: Boots | None = None
        self.found = 0

    def hear(self, boot_id: str | None, seconds: float, connected_since: float | None = LONG_AGO) -> Verdict:
        since = None if connected_since is None else at(connected_since)
        heard = hear(self.boots, boot_id, at(seconds), connected_since=since)
        self.boots, self.found = heard.boots, self.found + heard.duplicate
        return heard.verdict


GONE = None

HISTORIES: dict[str, list[tuple[str, float, float | None, Verdict]]] = {
    "a first boot": [("a", 0, GONE, BELIEVED), ("a", 1, 0, BELIEVED)],
    "a connection that flaps for hours": [("a", n * 7, LONG_AGO, BELIEVED) for n in range(1000)],
    "a reboot after it has said goodbye": [("a", 0, GONE, BELIEVED), ("b", 60, GONE, BELIEVED)],
    "a reboot whose connection was told of before its first message": [
        ("a", 0, GONE, BELIEVED),
        ("b", 60, 59, BELIEVED),
    ],
    "a power cut that the broker has not noticed": [
        ("a", 0, GONE, BELIEVED),
        ("b", 60, LONG_AGO, WAITS),
        ("b", 62, LONG_AGO, WAITS),
        ("b", 66, LONG_AGO, WAITS),
        ("b", 74, LONG_AGO, BELIEVED),
    ],
    "a power cut during a power cut": [
        ("a", 0, GONE, BELIEVED),
        ("b", 60, LONG_AGO, WAITS),
        ("c", 65, LONG_AGO, WAITS),
        ("c", 79, LONG_AGO, BELIEVED),
    ],
    "a message of the boot before that comes late, twice": [
        ("a", 0, GONE, BELIEVED),
        ("b", 60, GONE, BELIEVED),
        ("a", 30, LONG_AGO, WAITS),
        ("a", 30, LONG_AGO, WAITS),
        ("b", 61, LONG_AGO, BELIEVED),
    ],
    "a message of the boot before that comes while the next one waits": [
        ("a", 0, GONE, BELIEVED),
        ("b", 60, LONG_AGO, WAITS),
        ("a", 59, LONG_AGO, BELIEVED),
        ("b", 74, LONG_AGO, BELIEVED),
    ],
    "brokers whose clocks differ a little": [
        ("a", 0, GONE, BELIEVED),
        ("b", 60, GONE, BELIEVED),
        ("a", 60.9, LONG_AGO, WAITS),
        ("b", 70, LONG_AGO, BELIEVED),
    ],
    "an agent of an older release, before and after": [
        ("", 0, GONE, BELIEVED),
        ("a", 60, LONG_AGO, BELIEVED),
        ("", 90, LONG_AGO, BELIEVED),
        ("a", 99, LONG_AGO, BELIEVED),
    ],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_one_machine_is_never_taken_for_two(history: str) -> None:
    ear = Ear()
    heard = [ear.hear(boot_id or None, seconds, since) for boot_id, seconds, since, _ in HISTORIES[history]]
    assert heard == [expected for *_, expected in HISTORIES[history]]
    assert ear.found == 0


@pytest.mark.parametrize("seed", range(50))
def test_one_machine_is_never_taken_for_two_in_whatever_order_its_messages_come(seed: int) -> None:
    """It starts again now and then, takes two seconds for it at least, and speaks; each may come late or twice."""
    chance = random.Random(seed)
    sent, now = [], 0.0
    for number in range(30):
        now += chance.uniform(2, 60)
        for _ in range(chance.randint(1, 5)):
            sent.append((str(number), now))
            now += chance.choice([0.1, 2, 30])
    late = sorted([*sent, *chance.sample(sent, 30)], key=lambda each: each[1] + chance.choice([0, 0, 1, 90]))
    ear = Ear()
    for boot_id, seconds in late:
        ear.hear(boot_id, seconds, chance.choice([GONE, LONG_AGO, seconds - 1]))
    assert ear.found == 0


def test_a_copy_is_refused_before_it_was_ever_believed() -> None:
    """The original, whose session the copy has ended, is back within seconds."""
    ear = Ear()
    assert [ear.hear("original", 0), ear.hear("copy", 60), ear.hear("original", 62)] == [BELIEVED, WAITS, BELIEVED]
    assert ear.found == 1
    assert ear.boots == Boots(current=boot("original", 0), refused=("copy",), duplicate_found_at=at(62))
    assert [ear.hear("copy", 64), ear.hear("original", 66), ear.hear("copy", 9999)] == [REFUSED, BELIEVED, REFUSED]
    assert ear.found == 1


def test_a_copy_that_came_while_the_original_was_away_is_refused_when_that_is_back() -> None:
    ear = Ear()
    heard = [ear.hear("original", 0), ear.hear("copy", 60, GONE), ear.hear("copy", 70), ear.hear("original", 600)]
    assert heard == [BELIEVED, BELIEVED, BELIEVED, BELIEVED]
    assert ear.found == 1
    assert ear.boots == Boots(current=boot("original", 600), refused=("copy",), duplicate_found_at=at(600))
    assert ear.hear("copy", 605) is REFUSED


def test_until_an_operator_chooses_any_other_boot_is_refused() -> None:
    """The copy may start again, and is the copy all the same."""
    ear = Ear()
    ear.hear("original", 0), ear.hear("copy", 60), ear.hear("original", 62)
    assert ear.hear("copy, started again", 600, GONE) is REFUSED
    assert ear.boots
    assert ear.boots.refused == ("copy, started again", "copy")


def test_what_a_boot_that_is_over_had_sent_is_no_other_machine() -> None:
    ear = Ear()
    ear.hear("before", 0), ear.hear("original", 60, GONE), ear.hear("copy", 120), ear.hear("original", 122)
    known = ear.boots
    assert [ear.hear("before", 30), ear.hear("another before", 40)] == [WAITS, WAITS]
    assert ear.boots is known


def test_the_operator_keeps_the_original() -> None:
    ear = Ear()
    ear.hear("original", 0), ear.hear("copy", 60), ear.hear("original", 62)
    assert ear.boots
    ear.boots = choose(ear.boots, "original", at(900))
    assert ear.boots == Boots(current=boot("original", 0), refused=("copy",))
    assert [ear.hear("copy", 901), ear.hear("original", 902)] == [REFUSED, BELIEVED]
    assert ear.hear("original, started again", 2000, GONE) is BELIEVED


def test_the_operator_keeps_the_copy() -> None:
    ear = Ear()
    ear.hear("original", 0), ear.hear("copy", 60), ear.hear("original", 62)
    assert ear.boots
    ear.boots = choose(ear.boots, "copy", at(900))
    assert ear.boots == Boots(current=boot("copy", 900), refused=("original",))
    assert [ear.hear("original", 901), ear.hear("copy", 902)] == [REFUSED, BELIEVED]
    with pytest.raises(KeyError):
        choose(ear.boots, "somebody else's", at(903))


def test_what_is_remembered_is_bounded_and_what_is_nothing_new_is_the_same_object() -> None:
    ear = Ear()
    for number in range(100):
        assert ear.hear(str(number), number * 60, GONE) is BELIEVED
    assert ear.boots
    assert len(ear.boots.earlier) == REMEMBERED
    assert hear(ear.boots, "99", at(9999), connected_since=None) == Heard(BELIEVED, ear.boots)
    assert hear(ear.boots, "99", at(9999), connected_since=None).boots is ear.boots
    assert hear(ear.boots, "98", at(0), connected_since=None).boots is ear.boots
    assert timedelta(seconds=14) > PROBATION, "an agent asks again after 2, 6 and 14 seconds"
