"""One stream of a machine: what it does for an operator, and when it ends."""

from dataclasses import replace
from typing import Any

import pytest

from ecs_anywhere_agent.streams import session as streaming
from ecs_anywhere_agent.streams.pace import BYTES_A_SECOND, MESSAGES_A_SECOND, Pace
from ecs_anywhere_agent.streams.session import (
    END_SECONDS,
    GAP_SECONDS,
    Begin,
    Cut,
    EndSource,
    Give,
    InputTaken,
    Phase,
    Send,
    Session,
    SetSize,
    SourceEnded,
    Tick,
    Written,
    due,
    wants_output,
)
from ecs_protocol.streams import (
    ACKNOWLEDGE_CHUNKS,
    ATTACH_SECONDS,
    MAX_CHUNK_BYTES,
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
SILENT = f"nothing was heard of the operator for {SILENCE_SECONDS:g} seconds"


class Stream:
    """A session, and the clock that it is shown."""

    def __init__(self, lasts: float = 3600.0) -> None:
        self.now = 1000.0
        self.session = Session(opened_at=self.now, lasts=lasts)

    def does(self, event: streaming.Event, after: float = 0.0) -> tuple[streaming.Action, ...]:
        self.now += after
        self.session, actions = streaming.step(self.session, event, self.now)
        return actions

    def sends(self, event: streaming.Event, after: float = 0.0) -> list[Any]:
        return [each.message for each in self.does(event, after) if isinstance(each, Send)]

    def until_quiet(self) -> list[Any]:
        """What it sends while nobody says anything, as long as it wants to."""
        sent: list[Any] = []
        while due(self.session) - self.now <= GAP_SECONDS and self.session.phase is not Phase.OVER:
            self.now = max(due(self.session), self.now)
            sent += self.sends(Tick())
        return sent


@pytest.fixture
def stream() -> Stream:
    attached = Stream()
    assert attached.does(Attach(terminal=SIZE)) == (Begin(SIZE), Send(Attached()))
    return attached


def output(number: int, content: bytes, *, to_stderr: bool = False) -> Output:
    return Output(number=number, content=content, to_stderr=to_stderr)


def test_nothing_begins_before_an_operator_attaches() -> None:
    stream = Stream()
    assert stream.does(Acknowledge(through=0, asking=True)) == ()
    assert stream.does(Input(number=1, content=b"rm -rf /\n")) == ()
    assert stream.does(Tick(), after=ATTACH_SECONDS - 0.1) == ()
    assert stream.does(Tick(), after=0.1) == ()
    assert stream.session.phase is Phase.OVER
    assert stream.does(Attach()) == ()


def test_attaching_again_begins_nothing_again(stream: Stream) -> None:
    assert stream.does(Attach(terminal=SIZE)) == (Send(Attached()),)


def test_what_is_written_after_a_pause_is_sent_at_once(stream: Stream) -> None:
    assert stream.sends(Written(b"a")) == [output(1, b"a")]
    assert stream.sends(Written(b"b")) == []
    assert stream.sends(Written(b"c")) == []
    assert stream.until_quiet() == [output(2, b"bc")]
    assert stream.sends(Written(b"d"), after=1.0) == [output(3, b"d")]


def test_stdout_and_stderr_stay_apart_and_in_order(stream: Stream) -> None:
    for written in (Written(b"1"), Written(b"2"), Written(b"E", to_stderr=True), Written(b"3")):
        stream.does(written)
    assert stream.until_quiet() == [output(2, b"2"), output(3, b"E", to_stderr=True), output(4, b"3")]


def test_what_is_large_comes_in_chunks_that_together_are_it(stream: Stream) -> None:
    content = bytes(range(256)) * 200
    sent = stream.sends(Written(content)) + stream.until_quiet()
    assert b"".join(each.content for each in sent) == content
    assert [len(each.content) for each in sent] == [MAX_CHUNK_BYTES] * 3 + [len(content) - 3 * MAX_CHUNK_BYTES]
    assert max(len(each.to_json()) for each in sent) < 30_000


def test_a_slow_operator_stops_the_machine_until_it_acknowledges(stream: Stream) -> None:
    sent: list[Any] = []
    for _ in range(100):
        if not wants_output(stream.session):
            break
        sent += stream.sends(Written(b"x" * MAX_CHUNK_BYTES)) + stream.until_quiet()
    assert len(sent) == WINDOW_CHUNKS
    assert not wants_output(stream.session)
    assert len(stream.sends(Acknowledge(through=2)) + stream.until_quiet()) == 2
    assert wants_output(stream.session)


@pytest.mark.parametrize("through", [10**9, WINDOW_CHUNKS + 1], ids=["far-too-much", "one-too-many"])
def test_what_was_not_sent_cannot_be_acknowledged(stream: Stream, through: int) -> None:
    stream.does(Written(b"a"))
    stream.does(Acknowledge(through=through))
    assert stream.session.acknowledged == 1


def test_many_small_pieces_stop_the_source_as_well(stream: Stream) -> None:
    stream.does(Written(b"."))
    for _ in range(streaming.MAX_PENDING_PIECES):
        assert wants_output(stream.session)
        stream.does(Written(b"."))
    assert not wants_output(stream.session)


def test_input_is_given_in_order_and_once(stream: Stream) -> None:
    assert stream.does(Input(number=2, content=b"2")) == ()
    assert stream.does(Input(number=1, content=b"1")) == (Give(1, b"1", False), Give(2, b"2", False))
    assert stream.does(Input(number=2, content=b"2")) == ()
    assert stream.does(Input(number=3, content=b"", end=True)) == (Give(3, b"", True),)


def test_input_beyond_the_window_is_not_kept(stream: Stream) -> None:
    assert stream.does(Input(number=WINDOW_CHUNKS + 1, content=b"x")) == ()
    assert stream.session.inputs == {}
    stream.does(InputTaken(1))
    stream.does(Input(number=WINDOW_CHUNKS + 1, content=b"x"))
    assert set(stream.session.inputs) == {WINDOW_CHUNKS + 1}


def test_what_the_command_has_taken_is_told_now_and_then_and_when_asked(stream: Stream) -> None:
    told = [stream.sends(InputTaken(number)) for number in range(1, ACKNOWLEDGE_CHUNKS + 1)]
    assert told == [[]] * (ACKNOWLEDGE_CHUNKS - 1) + [[Alive(input_through=ACKNOWLEDGE_CHUNKS)]]
    stream.does(InputTaken(ACKNOWLEDGE_CHUNKS + 1))
    assert stream.sends(Acknowledge(through=0, asking=True)) == [Alive(input_through=ACKNOWLEDGE_CHUNKS + 1)]
    assert stream.sends(Acknowledge(through=0)) == []


def test_a_terminal_changes_its_size(stream: Stream) -> None:
    wider = TerminalSize(columns=120, rows=40)
    assert stream.does(Resize(terminal=wider)) == (SetSize(wider),)


def test_the_end_comes_after_all_that_was_written(stream: Stream) -> None:
    stream.does(Written(b"a"))
    stream.does(Written(b"b"))
    assert stream.sends(SourceEnded(exit_code=3)) == []
    assert stream.until_quiet() == [output(2, b"b"), Ended(number=3, exit_code=3)]
    assert stream.session.phase is Phase.OVER


@pytest.mark.parametrize(
    ("event", "after", "reason"),
    [
        pytest.param(Stop(), 0.0, "stopped by the operator", id="the-operator-stops"),
        pytest.param(Cut("its container has ended"), 0.0, "its container has ended", id="it-is-cut"),
        pytest.param(Tick(), SILENCE_SECONDS, SILENT, id="the-operator-is-silent"),
    ],
)
def test_what_runs_is_ended_before_the_operator_is_told(
    stream: Stream, event: streaming.Event, after: float, reason: str
) -> None:
    stream.does(Written(b"sent"))
    stream.does(Written(b"waits"))
    assert stream.does(event, after) == (EndSource(),)
    assert stream.does(Written(b"last words")) == ()
    assert stream.does(SourceEnded(exit_code=143)) == (Send(Ended(number=2, exit_code=143, reason=reason)),)
    assert stream.session.phase is Phase.OVER


def test_what_does_not_end_is_told_so(stream: Stream) -> None:
    stream.does(Stop())
    reason = "stopped by the operator; what ran has not ended yet"
    assert stream.sends(Tick(), after=END_SECONDS) == [Ended(number=1, reason=reason)]


def test_no_stream_lasts_longer_than_it_was_opened_for() -> None:
    stream = Stream(lasts=60.0)
    stream.does(Attach())
    for _ in range(5):
        assert EndSource() not in stream.does(Acknowledge(through=0), after=10.0)
    assert stream.does(Acknowledge(through=0), after=10.0) == (EndSource(),)


def test_a_heartbeat_keeps_it_open(stream: Stream) -> None:
    for _ in range(10):
        assert stream.sends(Acknowledge(through=0, asking=True), after=SILENCE_SECONDS - 1) == [Alive()]
    assert stream.session.phase is Phase.RUNNING


def test_a_stream_that_is_cut_before_anybody_attached_says_why() -> None:
    stream = Stream()
    assert stream.does(Cut("the agent ends")) == (Send(Ended(number=1, reason="the agent ends")),)


def test_what_comes_after_the_end_changes_nothing(stream: Stream) -> None:
    stream.does(SourceEnded(exit_code=0))
    over = stream.session
    for event in (Attach(), Stop(), Input(number=1, content=b"x"), Written(b"x"), SourceEnded(), Tick()):
        assert stream.does(event, after=100.0) == ()
    assert stream.session == replace(over)


def test_all_streams_of_a_machine_share_its_pace() -> None:
    pace = Pace()
    small = [pace.wait(10, 5.0) for _ in range(3)]
    assert small == pytest.approx([0.0, 1 / MESSAGES_A_SECOND, 2 / MESSAGES_A_SECOND])
    assert pace.wait(int(BYTES_A_SECOND), 100.0) == 0.0
    assert pace.wait(10, 100.0) == pytest.approx(1.0)
