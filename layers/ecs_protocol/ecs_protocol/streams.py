"""What the machine and an operator say to each other in a stream, over MQTT: what containers write, or a command.

    control plane ── commands ─────────────►  machine     OpenLogs | OpenExec (messages/)
    operator      ── <stream>/in ──────────►  machine     Attach | Acknowledge | Input | Resize | Stop
    operator      ◄─ <stream>/out ──────────  machine     Attached | Output | Alive | Ended

Both are QoS 1: a message may come twice or overtake another. Output and Ended are numbered together from 1, Input from
1; whoever receives puts them in order, and acknowledges the last of which nothing is missing. Nothing runs before the
operator has attached. No IoT rule hears of these topics: a stream invokes no function and writes no item.
"""

import base64
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter

from ecs_protocol.messages import AT_FIRST_USE, Message, SessionId

MAX_CHUNK_BYTES = 16_384
"""Of output or input in one message, before base64."""
WINDOW_CHUNKS = 16
"""How many messages a sender is ahead of what was acknowledged: what a slow terminal makes the machine hold."""
ACKNOWLEDGE_CHUNKS = 6
"""After how many a receiver acknowledges without being asked: well within the window."""
HEARTBEAT_SECONDS = 15.0
"""How often an operator says that it is there; the machine answers each time."""
SILENCE_SECONDS = 45.0
"""After which either takes the other for gone."""
ATTACH_SECONDS = 30.0
"""How long a machine waits for the operator of a stream that was opened."""
ATTACH_AGAIN_SECONDS = 2.0
"""How often an operator attaches until it is answered."""
STREAM_SECONDS = 3600
"""How long a stream lasts at most."""
MAX_STREAMS = 4
"""At once on a machine."""
MAX_COLUMNS = 1000


def _decoded(value: Any) -> Any:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


Base64 = Annotated[
    bytes,
    BeforeValidator(_decoded),
    PlainSerializer(lambda value: base64.b64encode(value).decode(), return_type=str, when_used="json"),
]
"""Bytes; base64 on the wire."""


class TerminalSize(Message):
    """In characters."""

    columns: int = Field(ge=1, le=MAX_COLUMNS)
    rows: int = Field(ge=1, le=MAX_COLUMNS)


class Stream(Message):
    """How an operator reaches a stream that was opened: as it comes in `tokenValue` of ExecuteCommand's session.

    What it is allowed with is in the address that it comes with.
    """

    v: int = 1
    session_id: SessionId
    client_id: str
    topic: str
    """`<topic>/in` is the operator's to publish to, `<topic>/out` to subscribe to."""


# --- operator to machine ----------------------------------------------------------------------------------------


class Attach(Message):
    """The operator is there: begin. Answered by Attached, and sent again until it is."""

    v: int = 1
    type: Literal["Attach"] = "Attach"
    terminal: TerminalSize | None = None
    """None: no terminal, stdout and stderr stay apart."""


class Acknowledge(Message):
    """All up to this number has been received and shown. Also the heartbeat; answered by Alive if it is `asking`."""

    v: int = 1
    type: Literal["Acknowledge"] = "Acknowledge"
    through: int = Field(ge=0)
    asking: bool = False


class Input(Message):
    """For the command's stdin."""

    v: int = 1
    type: Literal["Input"] = "Input"
    number: int = Field(ge=1)
    content: Base64 = Field(max_length=MAX_CHUNK_BYTES)
    end: bool = False
    """Nothing follows."""


class Resize(Message):
    """The operator's terminal has another size."""

    v: int = 1
    type: Literal["Resize"] = "Resize"
    terminal: TerminalSize


class Stop(Message):
    """The operator wants no more: the command is ended. Also its last will, should its connection be lost."""

    v: int = 1
    type: Literal["Stop"] = "Stop"


ToMachine = Attach | Acknowledge | Input | Resize | Stop
TO_MACHINE: TypeAdapter[ToMachine] = TypeAdapter(Annotated[ToMachine, Field(discriminator="type")], config=AT_FIRST_USE)


# --- machine to operator ----------------------------------------------------------------------------------------


class Attached(Message):
    """It has begun, or had begun before."""

    v: int = 1
    type: Literal["Attached"] = "Attached"


class Output(Message):
    """What was written."""

    v: int = 1
    type: Literal["Output"] = "Output"
    number: int = Field(ge=1)
    content: Base64 = Field(max_length=MAX_CHUNK_BYTES)
    to_stderr: bool = False


class Alive(Message):
    """The machine is there, and has passed on the input up to this number."""

    v: int = 1
    type: Literal["Alive"] = "Alive"
    input_through: int = Field(default=0, ge=0)


class Ended(Message):
    """The stream is over: the command, or what was followed, has ended (`exitCode`), or `reason` says why."""

    v: int = 1
    type: Literal["Ended"] = "Ended"
    number: int = Field(ge=1)
    exit_code: int | None = None
    reason: str | None = Field(default=None, max_length=1024)


FromMachine = Attached | Output | Alive | Ended
FROM_MACHINE: TypeAdapter[FromMachine] = TypeAdapter(
    Annotated[FromMachine, Field(discriminator="type")], config=AT_FIRST_USE
)
