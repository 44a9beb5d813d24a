"""100,000 machines that come back together, against what IoT Core takes: 500 connections a second."""

import heapq
import random

import pytest

from ecs_anywhere_agent.reconnecting import BackOff, Outcome

MACHINES = 100_000
CONNECTIONS_A_SECOND = 500


def come_back(first_tries: list[float], back_offs: list[BackOff], chance: random.Random) -> tuple[list[float], int]:
    """When each machine is connected, and how many tries were refused.

    The broker is a bucket of one second's connections, which refuses whatever comes while it is empty.
    """
    tries = [(moment, machine) for machine, moment in enumerate(first_tries)]
    heapq.heapify(tries)
    connected, refused = [0.0] * len(tries), 0
    bucket, filled = float(CONNECTIONS_A_SECOND), 0.0
    while tries:
        now, machine = heapq.heappop(tries)
        bucket, filled = min(bucket + (now - filled) * CONNECTIONS_A_SECOND, CONNECTIONS_A_SECOND), now
        if bucket >= 1:
            bucket -= 1
            connected[machine] = now
            continue
        refused += 1
        back_off = back_offs[machine] = back_offs[machine].after(Outcome.REFUSED)
        heapq.heappush(tries, (now + back_off.wait(Outcome.REFUSED, chance.uniform), machine))
    return connected, refused


def test_the_broker_was_gone_for_a_moment() -> None:
    """All of them lose their connection at once, and at once it would be there again."""
    chance = random.Random(1)
    lost = BackOff().after(Outcome.LASTED)
    first = [lost.wait(Outcome.LASTED, chance.uniform) for _ in range(MACHINES)]
    connected, refused = come_back(first, [lost] * MACHINES, chance)
    assert max(connected) < 15 * 60, "the last one: 200 s are what 500 a second need for all"
    assert sorted(connected)[MACHINES // 2] < 4 * 60
    assert refused < 8 * MACHINES


@pytest.mark.parametrize("hours", [1, 24])
def test_the_network_was_gone_for_hours(hours: int) -> None:
    """None of them could ask anybody; each notices within a minute that it can."""
    chance = random.Random(hours)
    away = BackOff(unreachable=hours * 60)
    first = [chance.uniform(0, 60) for _ in range(MACHINES)]
    connected, refused = come_back(first, [away] * MACHINES, chance)
    assert max(connected) < 15 * 60
    assert sorted(connected)[MACHINES // 2] < 4 * 60
    assert refused < 8 * MACHINES


def test_some_machines_come_back_at_once() -> None:
    """What is usual, and must not pay for what is rare."""
    chance = random.Random(2)
    lost = BackOff().after(Outcome.LASTED)
    first = [lost.wait(Outcome.LASTED, chance.uniform) for _ in range(CONNECTIONS_A_SECOND)]
    connected, refused = come_back(first, [lost] * len(first), chance)
    assert (max(connected) <= 2, refused) == (True, 0)
