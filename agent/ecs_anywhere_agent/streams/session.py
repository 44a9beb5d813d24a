"""One stream: what the operator says and what the source gives go in, what is to be done comes out. Pure.

    WAITING ── Attach ──► RUNNING ── the source ended ──► ENDING ── all is sent ──► OVER
                             └────── Stop, silence, … ──► STOPPING ── the source ended ──► OVER

Output is sent at once while little comes, and in few messages while much does. What the operator has not acknowledged
is at most a window; the source is read no further while what it gave waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

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
    FromMachine,
    Input,
    Output,
    Resize,
    Stop,
    TerminalSize,
    ToMachine,
)

GAP_SECONDS = 0.05
"""Between two messages of output."""
MAX_PENDING_BYTES, MAX_PENDING_PIECES = 65_536, 64
"""How much may wait to be sent before the source is read no further."""
END_SECONDS = 10.0
"""How long a source may take to end."""


class Phase(Enum):
    WAITING = auto()
    RUNNING = auto()
    ENDING = auto()
    """The source has ended; what it gave is still to be sent."""
    STOPPING = auto()
    """The source is to end; what it gives is wanted by nobody."""
    OVER = auto()


@dataclass(frozen=True, slots=True)
class Session:
    """The stream as it is. Moments are on a clock that never goes back."""

    opened_at: float
    lasts: float
    """Seconds."""
    phase: Phase = Phase.WAITING
    heard_at: float = 0.0
    """When the operator last said something."""
    pending: tuple["Written", ...] = ()
    sent: int = 0
    """The newest number."""
    acknowledged: int = 0
    send_at: float = 0.0
    """No output is sent earlier."""
    inputs: Mapping[int, Input] = field(default_factory=dict)
    """What came too early."""
    input_given: int = 0
    """The newest number that the source was given,"""
    input_taken: int = 0
    """and that it has taken."""
    input_told: int = 0
    exit_code: int | None = None
    reason: str | None = None
    stop_until: float = 0.0


# --- events, besides what the operator says -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """By the source."""

    content: bytes
    to_stderr: bool = False


@dataclass(frozen=True, slots=True)
class InputTaken:
    """The source has taken the input up to this number."""

    number: int


@dataclass(frozen=True, slots=True)
class SourceEnded:
    """The source has ended, or could not begin."""

    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The stream is to end, whatever the operator wants."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """It is `due(session)` or later."""


Event = ToMachine | Written | InputTaken | SourceEnded | Cut | Tick


# --- actions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the source."""

    terminal: TerminalSize | None


@dataclass(frozen=True, slots=True)
class Send:
    """To the operator."""

    message: FromMachine


@dataclass(frozen=True, slots=True)
class Give:
    """Input, to the source."""

    number: int
    content: bytes
    end: bool


@dataclass(frozen=True, slots=True)
class SetSize:
    """Of the source's terminal."""

    terminal: TerminalSize


@dataclass(frozen=True, slots=True)
class EndSource:
    """End what runs; SourceEnded is to follow."""


Action = Begin | Send | Give | SetSize | EndSource
Step = tuple[Session, tuple[Action, ...]]

NOTHING: tuple[Action, ...] = ()


def step(session: Session, event: Event, now: float) -> Step:
    """Take in one event. Once the session is OVER its source has ended, and nothing more is to be done."""
    if session.phase is Phase.OVER:
        return session, NOTHING
    actions = NOTHING
    match event:
        case Tick():
            pass
        case Written() | InputTaken() | SourceEnded():
            session, actions = _from_source(session, event)
        case Cut():
            session, actions = _stop(session, event.reason, now)
        case _:
            session, actions = _heard(replace(session, heard_at=now), event, now)
    session, overdue = _look_at_the_clock(session, now)
    session, sent = _send(session, now)
    return session, (*actions, *overdue, *sent)


def wants_output(session: Session) -> bool:
    """Whether the source is to be read on."""
    waiting = sum(len(each.content) for each in session.pending)
    return waiting < MAX_PENDING_BYTES and len(session.pending) < MAX_PENDING_PIECES


def due(session: Session) -> float:
    """When a Tick is wanted."""
    match session.phase:
        case Phase.WAITING:
            return session.opened_at + ATTACH_SECONDS
        case Phase.STOPPING:
            return session.stop_until
        case _:
            limits = min(session.heard_at + SILENCE_SECONDS, session.opened_at + session.lasts)
            return min(limits, session.send_at) if session.pending and _window_is_open(session) else limits


def _from_source(session: Session, event: Written | InputTaken | SourceEnded) -> Step:
    match event:
        case Written() if session.phase is Phase.STOPPING:
            return session, NOTHING
        case Written():
            return replace(session, pending=(*session.pending, event)), NOTHING
        case InputTaken():
            session = replace(session, input_taken=event.number)
            return _tell_input(session) if event.number - session.input_told >= ACKNOWLEDGE_CHUNKS else (session, ())
        case SourceEnded() if session.phase is Phase.STOPPING:
            return _over(replace(session, exit_code=event.exit_code))
        case SourceEnded():
            ended = replace(session, phase=Phase.ENDING, exit_code=event.exit_code, reason=event.reason)
            return ended, NOTHING


def _heard(session: Session, said: ToMachine, now: float) -> Step:
    match said:
        case Attach() if session.phase is Phase.WAITING:
            return replace(session, phase=Phase.RUNNING), (Begin(said.terminal), Send(Attached()))
        case Attach():
            return session, (Send(Attached()),)
        case Stop():
            return _stop(session, "stopped by the operator", now)
        case _ if session.phase is Phase.WAITING:
            return session, NOTHING
        case Acknowledge():
            through = max(session.acknowledged, min(said.through, session.sent))
            session = replace(session, acknowledged=through)
            return _tell_input(session) if said.asking else (session, NOTHING)
        case Input():
            return _take_input(session, said)
        case Resize():
            return session, (SetSize(said.terminal),)


def _take_input(session: Session, said: Input) -> Step:
    """In order, each once. What is beyond the window is sent by nobody who keeps to the rules, and is not kept."""
    if not session.input_given < said.number <= session.input_taken + WINDOW_CHUNKS:
        return session, NOTHING
    waiting = {**session.inputs, said.number: said}
    given = session.input_given
    actions: list[Action] = []
    while given + 1 in waiting:
        given += 1
        each = waiting.pop(given)
        actions.append(Give(given, each.content, each.end))
    return replace(session, inputs=waiting, input_given=given), tuple(actions)


def _tell_input(session: Session) -> Step:
    return replace(session, input_told=session.input_taken), (Send(Alive(input_through=session.input_taken)),)


def _stop(session: Session, reason: str, now: float) -> Step:
    """What is not sent is wanted by nobody."""
    if session.phase is Phase.WAITING:
        return _over(replace(session, reason=reason))
    if session.phase is Phase.STOPPING:
        return session, NOTHING
    if session.phase is Phase.ENDING:
        return _over(replace(session, pending=()))
    stopping = replace(session, phase=Phase.STOPPING, pending=(), reason=reason, stop_until=now + END_SECONDS)
    return stopping, (EndSource(),)


def _look_at_the_clock(session: Session, now: float) -> Step:
    match session.phase:
        case Phase.WAITING if now >= session.opened_at + ATTACH_SECONDS:
            return replace(session, phase=Phase.OVER), NOTHING
        case Phase.STOPPING if now >= session.stop_until:
            return _over(replace(session, reason=f"{session.reason}; what ran has not ended yet"))
        case Phase.RUNNING | Phase.ENDING if now >= session.heard_at + SILENCE_SECONDS:
            return _stop(session, f"nothing was heard of the operator for {SILENCE_SECONDS:g} seconds", now)
        case Phase.RUNNING | Phase.ENDING if now >= session.opened_at + session.lasts:
            return _stop(session, f"a stream lasts {session.lasts:g} seconds at most", now)
    return session, NOTHING


def _send(session: Session, now: float) -> Step:
    """One message of what waits, if it may be sent now; the end, once nothing waits."""
    if session.phase not in {Phase.RUNNING, Phase.ENDING}:
        return session, NOTHING
    actions: list[Action] = []
    if session.pending and now >= session.send_at and _window_is_open(session):
        content, pending = _chunk(session.pending)
        output = Output(number=session.sent + 1, content=content, to_stderr=session.pending[0].to_stderr)
        session = replace(session, pending=pending, sent=output.number, send_at=now + GAP_SECONDS)
        actions.append(Send(output))
    if session.phase is Phase.ENDING and not session.pending:
        session, last = _over(session)
        actions += last
    return session, tuple(actions)


def _over(session: Session) -> Step:
    ended = Ended(number=session.sent + 1, exit_code=session.exit_code, reason=session.reason)
    return replace(session, phase=Phase.OVER, sent=ended.number), (Send(ended),)


def _window_is_open(session: Session) -> bool:
    return session.sent - session.acknowledged < WINDOW_CHUNKS


def _chunk(pending: tuple[Written, ...]) -> tuple[bytes, tuple[Written, ...]]:
    """As much as one message takes of what was written to the same stream, and what is left."""
    taken = b""
    for at, each in enumerate(pending):
        room = MAX_CHUNK_BYTES - len(taken)
        if not room or each.to_stderr is not pending[0].to_stderr:
            return taken, pending[at:]
        taken += each.content[:room]
        if len(each.content) > room:
            return taken, (replace(each, content=each.content[room:]), *pending[at + 1 :])
    return taken, ()
