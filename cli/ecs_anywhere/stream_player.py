"""The operator's end of a stream (ecs_protocol/streams.py): what comes and is typed goes in, what is to be said and
shown comes out. Pure.

    ATTACHING ── Attached, Output ──► PLAYING ── Ended ──► OVER
                                         └── interrupted ──► STOPPING ── Ended, or patience ends ──► OVER
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

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
    FromMachine,
    Input,
    Output,
    Resize,
    Stop,
    TerminalSize,
    ToMachine,
)

GAP_SECONDS = 10.0
"""How long a message that others have overtaken is waited for."""
STOP_SECONDS = 15.0
"""How long the machine is waited for once it was told to stop."""

NO_ANSWER = (
    f"The machine has not answered for {ATTACH_SECONDS:g} seconds. It may be cut off, or its agent may be older than "
    "these streams."
)
SILENT = f"Nothing has come from the machine for {SILENCE_SECONDS:g} seconds: it, or the connection to it, is gone."
LOST = "A part of the output was lost on its way."


class Phase(Enum):
    ATTACHING = auto()
    PLAYING = auto()
    STOPPING = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class Player:
    """Moments are on a clock that never goes back."""

    began: float
    terminal: TerminalSize | None
    """None: there is none."""
    phase: Phase = Phase.ATTACHING
    heard_at: float = 0.0
    said_at: float = 0.0
    received: Mapping[int, Output | Ended] = field(default_factory=dict)
    """What overtook another."""
    gap_since: float = 0.0
    shown: int = 0
    acknowledged: int = 0
    input_sent: int = 0
    input_taken: int = 0
    input_ended: bool = False
    stop_until: float = 0.0
    exit_code: int | None = None
    interrupted: bool = False
    problem: str | None = None
    """Why it is over, if not because what was played has ended."""

    @property
    def wants_input(self) -> bool:
        room = self.input_sent - self.input_taken < WINDOW_CHUNKS
        return self.phase is Phase.PLAYING and room and not self.input_ended


# --- events, besides what the machine says ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Typed:
    """At most a chunk. Nothing: the input has ended."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    """The terminal has another size."""

    terminal: TerminalSize


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The operator wants no more."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The operator's own connection is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """It is `due(player)` or later."""


Event = FromMachine | Typed | Resized | Interrupted | Disconnected | Tick


# --- actions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """To the machine."""

    message: ToMachine


@dataclass(frozen=True, slots=True)
class Show:
    """What was written; before anything that is said after it."""

    content: bytes
    to_stderr: bool = False


Action = Say | Show
Step = tuple[Player, tuple[Action, ...]]


def begin(now: float, terminal: TerminalSize | None) -> Step:
    player = Player(began=now, terminal=terminal, heard_at=now, said_at=now)
    return player, (Say(Attach(terminal=terminal)),)


def step(player: Player, event: Event, now: float) -> Step:
    """Take in one event."""
    if player.phase is Phase.OVER:
        return player, ()
    match event:
        case Attached() | Output() | Alive() | Ended():
            return _hear(replace(player, heard_at=now), event, now)
        case Typed() if player.phase is Phase.PLAYING:
            number = player.input_sent + 1
            typed = Input(number=number, content=event.content, end=not event.content)
            return replace(player, input_sent=number, input_ended=typed.end, said_at=now), (Say(typed),)
        case Resized() if player.terminal is not None and player.phase is not Phase.STOPPING:
            return replace(player, terminal=event.terminal), (Say(Resize(terminal=event.terminal)),)
        case Interrupted():
            return _interrupt(player, now)
        case Disconnected():
            return replace(player, phase=Phase.OVER, problem=event.reason), ()
        case Tick():
            return _look_at_the_clock(player, now)
    return player, ()


def due(player: Player) -> float:
    """When a Tick is wanted."""
    match player.phase:
        case Phase.ATTACHING:
            return min(player.said_at + ATTACH_AGAIN_SECONDS, player.began + ATTACH_SECONDS)
        case Phase.STOPPING:
            return player.stop_until
        case _:
            dues = [player.said_at + HEARTBEAT_SECONDS, player.heard_at + SILENCE_SECONDS]
            return min([*dues, player.gap_since + GAP_SECONDS] if player.received else dues)


def _hear(player: Player, said: FromMachine, now: float) -> Step:
    if player.phase is Phase.ATTACHING:
        player = replace(player, phase=Phase.PLAYING)
    match said:
        case Alive():
            return replace(player, input_taken=max(player.input_taken, said.input_through)), ()
        case Output() | Ended() if said.number > player.shown:
            gap_since = player.gap_since if player.received else now
            return _play(replace(player, received={**player.received, said.number: said}, gap_since=gap_since), now)
    return player, ()


def _play(player: Player, now: float) -> Step:
    """All of which nothing before is missing. One that was stopped says that it has ended, and is heard."""
    waiting = dict(player.received)
    shown, actions = player.shown, list[Action]()
    ended = next((each for each in waiting.values() if isinstance(each, Ended)), None)
    if player.phase is Phase.STOPPING and ended is not None:
        return replace(player, phase=Phase.OVER, exit_code=ended.exit_code), ()
    while (each := waiting.pop(shown + 1, None)) is not None:
        shown = each.number
        if isinstance(each, Ended):
            over = replace(player, phase=Phase.OVER, shown=shown, exit_code=each.exit_code, problem=each.reason)
            return over, (*actions, Say(Acknowledge(through=shown)))
        if player.phase is not Phase.STOPPING:
            actions.append(Show(each.content, each.to_stderr))
    player = replace(player, received=waiting, shown=shown, gap_since=now if actions else player.gap_since)
    if shown - player.acknowledged < ACKNOWLEDGE_CHUNKS:
        return player, tuple(actions)
    return replace(player, acknowledged=shown, said_at=now), (*actions, Say(Acknowledge(through=shown)))


def _interrupt(player: Player, now: float) -> Step:
    """Nobody waits for a machine that has not answered yet, nor, once more interrupted, for one that has."""
    if player.phase is Phase.STOPPING:
        return replace(player, phase=Phase.OVER), ()
    if player.phase is Phase.ATTACHING:
        return replace(player, phase=Phase.OVER, interrupted=True), (Say(Stop()),)
    return replace(player, phase=Phase.STOPPING, interrupted=True, stop_until=now + STOP_SECONDS), (Say(Stop()),)


def _look_at_the_clock(player: Player, now: float) -> Step:
    if player.phase is Phase.STOPPING:
        return (replace(player, phase=Phase.OVER, problem=SILENT), ()) if now >= player.stop_until else (player, ())
    if player.phase is Phase.ATTACHING:
        if now >= player.began + ATTACH_SECONDS:
            return replace(player, phase=Phase.OVER, problem=NO_ANSWER), ()
        if now >= player.said_at + ATTACH_AGAIN_SECONDS:
            return replace(player, said_at=now), (Say(Attach(terminal=player.terminal)),)
        return player, ()
    if now >= player.heard_at + SILENCE_SECONDS:
        return replace(player, phase=Phase.OVER, problem=SILENT), (Say(Stop()),)
    if player.received and now >= player.gap_since + GAP_SECONDS:
        return replace(player, phase=Phase.OVER, problem=LOST), (Say(Stop()),)
    if now >= player.said_at + HEARTBEAT_SECONDS:
        acknowledge = Acknowledge(through=player.shown, asking=True)
        return replace(player, said_at=now, acknowledged=player.shown), (Say(acknowledge),)
    return player, ()
