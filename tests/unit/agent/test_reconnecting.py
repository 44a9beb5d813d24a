"""How long a machine waits before it tries to connect again."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_anywhere_agent.reconnecting import BackOff, Outcome

LASTED, REFUSED, UNREACHABLE, DUPLICATE = Outcome.LASTED, Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.DUPLICATE


def longest(outcomes: Sequence[Outcome]) -> float:
    """The longest wait after the last of them."""
    back_off = BackOff()
    for outcome in outcomes:
        back_off = back_off.after(outcome)
    return back_off.wait(outcomes[-1], lambda _low, high: high)


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        ([LASTED], 2),
        ([UNREACHABLE], 2),
        ([UNREACHABLE] * 3, 8),
        ([UNREACHABLE] * 1_000_000, 60),
        ([REFUSED] * 3, 8),
        ([REFUSED] * 1_000, 600),
        pytest.param([*[REFUSED] * 1_000, DUPLICATE], 3600, id="another-machine-has-its-identity"),
        pytest.param([*[UNREACHABLE] * 1_000, REFUSED], 2, id="one-refusal-after-a-day-without-network"),
        pytest.param([*[REFUSED] * 5, UNREACHABLE, REFUSED], 64, id="a-lost-network-forgives-no-refusal"),
        pytest.param([*[REFUSED] * 1_000, LASTED], 2, id="a-lasting-connection-does"),
    ],
)
def test_the_longest_wait(outcomes: Sequence[Outcome], seconds: float) -> None:
    assert longest(outcomes) == seconds


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=60), st.floats(0, 1))
def test_a_wait_is_never_under_a_second_nor_over_its_longest(outcomes: list[Outcome], chance: float) -> None:
    back_off = BackOff()
    for outcome in outcomes:
        back_off = back_off.after(outcome)
        wait = back_off.wait(outcome, lambda low, high: low + (high - low) * chance)
        assert 1 <= wait <= {REFUSED: 600, DUPLICATE: 3600}.get(outcome, 60)
