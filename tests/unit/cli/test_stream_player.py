"""The operator's end of a stream: what it says and shows, and how it ends."""

from typing import Any

import pytest

from ecs_anywhere import stream_player
from ecs_anywhere.stream_player import (
    GAP_SECONDS,
    LOST,
    NO_ANSWER,
    SILENT,
    STOP_SECONDS,
    Disconnected,
    Interrupted,
    Phase,
    Player,
    Resized,
    Say,
    Show,
    Tick,
    Typed,
    due,
)
from ecs_anywhere.streams import cluster_of
from ecs_protocol.streams import (
    ACKNOWLEDGE_CHUNKS,
    ATTACH_AGAIN_SECONDS,
    ATTACH_SECONDS,
    HEARTBEAT_SECONDS,
    SILENCE_SECONDS,
    WINDOW_CHUNKS,
    Acknowledge,
    Alive,
    Attach,
    Attached,
    Ended,
    Input,
    Output,
    Resize,
    Stop,
    TerminalSize,
)

SIZE = TerminalSize(columns=80, rows=24)


class Playing:
    """A player, and the clock that it is shown."""

    def __init__(self, terminal: TerminalSize | None = None) -> None:
        self.now = 1000.0
        self.player: Player
        self.player, self.first = stream_player.begin(self.now, terminal)

    def does(self, event: stream_player.Event, after: float = 0.0) -> tuple[stream_player.Action, ...]:
        self.now += after
        self.player, actions = stream_player.step(self.player, event, self.now)
        return actions

    def ticks(self, until: float) -> list[Any]:
        """What it says while nothing comes, each with when."""
        said = []
        while due(self.player) <= until and self.player.phase is not Phase.OVER:
            self.now = max(self.now, due(self.player))
            said += [(self.now, each.message) for each in self.does(Tick()) if isinstance(each, Say)]
        return said


@pytest.fixture
def playing() -> Playing:
    made = Playing(SIZE)
    assert made.first == (Say(Attach(terminal=SIZE)),)
    assert made.does(Attached()) == ()
    return made


def output(number: int, content: bytes = b"x") -> Output:
    return Output(number=number, content=content)


def test_it_attaches_again_until_it_is_answered_and_gives_up_in_the_end() -> None:
    playing = Playing()
    said = playing.ticks(until=1000.0 + 2.5 * ATTACH_AGAIN_SECONDS)
    assert said == [(1000.0 + n * ATTACH_AGAIN_SECONDS, Attach()) for n in (1, 2)]
    playing.ticks(until=1000.0 + ATTACH_SECONDS)
    assert (playing.player.phase, playing.player.problem) == (Phase.OVER, NO_ANSWER)
    assert playing.now == 1000.0 + ATTACH_SECONDS


def test_output_answers_as_well_if_the_answer_is_late() -> None:
    playing = Playing()
    assert playing.does(output(1, b"a")) == (Show(b"a"),)
    assert playing.player.phase is Phase.PLAYING


def test_output_is_shown_in_order_and_once(playing: Playing) -> None:
    assert playing.does(output(2, b"2")) == ()
    assert playing.does(output(1, b"1")) == (Show(b"1"), Show(b"2"))
    assert playing.does(output(2, b"2")) == ()
    stderr = Output(number=3, content=b"3", to_stderr=True)
    assert playing.does(stderr) == (Show(b"3", to_stderr=True),)


def test_what_was_shown_is_acknowledged_now_and_then_and_with_each_heartbeat(playing: Playing) -> None:
    actions = [playing.does(output(number)) for number in range(1, ACKNOWLEDGE_CHUNKS + 2)]
    assert actions == [
        *[(Show(b"x"),)] * (ACKNOWLEDGE_CHUNKS - 1),
        (Show(b"x"), Say(Acknowledge(through=ACKNOWLEDGE_CHUNKS))),
        (Show(b"x"),),
    ]
    said = playing.ticks(until=1000.0 + HEARTBEAT_SECONDS)
    assert said == [(1000.0 + HEARTBEAT_SECONDS, Acknowledge(through=ACKNOWLEDGE_CHUNKS + 1, asking=True))]


def test_a_quiet_minute_costs_four_heartbeats(playing: Playing) -> None:
    said = []
    for _ in range(4):
        said += playing.ticks(until=playing.now + HEARTBEAT_SECONDS)
        playing.does(Alive())
    assert said == [(1000.0 + n * HEARTBEAT_SECONDS, Acknowledge(through=0, asking=True)) for n in (1, 2, 3, 4)]


def test_the_end_comes_after_the_last_output(playing: Playing) -> None:
    assert playing.does(Ended(number=2, exit_code=3)) == ()
    assert playing.does(output(1)) == (Show(b"x"), Say(Acknowledge(through=2)))
    assert (playing.player.phase, playing.player.exit_code, playing.player.problem) == (Phase.OVER, 3, None)
    assert playing.does(output(3)) == ()


def test_why_it_ended_is_kept(playing: Playing) -> None:
    playing.does(Ended(number=1, reason="its machine has lost its connection"))
    assert playing.player.problem == "its machine has lost its connection"


def test_a_machine_that_falls_silent_is_gone(playing: Playing) -> None:
    playing.ticks(until=1000.0 + SILENCE_SECONDS)
    assert (playing.player.phase, playing.player.problem) == (Phase.OVER, SILENT)
    assert playing.now == 1000.0 + SILENCE_SECONDS


def test_output_that_is_lost_is_not_passed_over(playing: Playing) -> None:
    playing.does(output(2))
    assert playing.ticks(until=1000.0 + GAP_SECONDS)[-1:] == [(1000.0 + GAP_SECONDS, Stop())]
    assert playing.player.problem == LOST


def test_a_connection_that_is_lost_is_told(playing: Playing) -> None:
    playing.does(Disconnected("gone"))
    assert (playing.player.phase, playing.player.problem) == (Phase.OVER, "gone")


def test_input_waits_while_the_command_takes_none(playing: Playing) -> None:
    for number in range(1, WINDOW_CHUNKS + 1):
        assert playing.player.wants_input
        assert playing.does(Typed(b"x")) == (Say(Input(number=number, content=b"x")),)
    assert not playing.player.wants_input
    playing.does(Alive(input_through=1))
    assert playing.player.wants_input


def test_nothing_is_read_after_the_end_of_the_input(playing: Playing) -> None:
    assert playing.does(Typed(b"")) == (Say(Input(number=1, content=b"", end=True)),)
    assert not playing.player.wants_input


def test_nothing_is_read_before_anybody_takes_it() -> None:
    assert not Playing().player.wants_input


def test_the_size_of_a_terminal_is_told_and_of_none_is_not(playing: Playing) -> None:
    wider = TerminalSize(columns=120, rows=40)
    assert playing.does(Resized(wider)) == (Say(Resize(terminal=wider)),)
    assert Playing().does(Resized(wider)) == ()


def test_an_interrupt_waits_until_the_machine_has_ended_what_ran(playing: Playing) -> None:
    assert playing.does(Interrupted()) == (Say(Stop()),)
    assert playing.does(output(1)) == ()
    assert playing.player.phase is Phase.STOPPING
    playing.does(Ended(number=7, exit_code=143, reason="stopped by the operator"))
    assert (playing.player.phase, playing.player.interrupted, playing.player.problem) == (Phase.OVER, True, None)


def test_nobody_waits_for_ever_for_that(playing: Playing) -> None:
    playing.does(Interrupted())
    playing.ticks(until=1000.0 + STOP_SECONDS)
    assert (playing.player.phase, playing.player.problem) == (Phase.OVER, SILENT)


def test_nor_when_interrupted_twice_or_before_the_machine_has_answered(playing: Playing) -> None:
    playing.does(Interrupted())
    playing.does(Interrupted())
    assert playing.player.phase is Phase.OVER
    unanswered = Playing()
    assert unanswered.does(Interrupted()) == (Say(Stop()),)
    assert (unanswered.player.phase, unanswered.player.interrupted) == (Phase.OVER, True)


@pytest.mark.parametrize(
    ("task", "cluster"),
    [("0" * 32, "default"), (f"arn:aws:ecs:us-east-1:000000000000:task/prod/{'0' * 32}", "prod")],
    ids=["an-id", "an-arn"],
)
def test_the_cluster_of_an_arn_is_known(task: str, cluster: str) -> None:
    assert cluster_of(task) == cluster
