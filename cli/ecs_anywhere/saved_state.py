"""What MiniStack saves of itself, mended before it starts: it says more of its consumers than is true after they ended.

Functions are not running when it starts. But a message that one of them had received stays hidden for the queue's
visibility timeout, and with it its whole group of a FIFO queue; and the place up to which they had read a table's
stream is kept, though the stream itself is not, and begins anew at 0.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecs_anywhere.files import write_whole


def mend(folder: Path) -> None:
    """`folder` is STATE_DIR of a MiniStack that does not run."""
    _change(folder / "lambda.json", _read_streams_from_their_beginning)
    _change(folder / "sqs.json", _show_what_was_received)


def _change(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    if file.exists():
        saved = json.loads(file.read_text())
        change(saved["payload"])
        write_whole(file, json.dumps(saved))


def _read_streams_from_their_beginning(functions: dict[str, Any]) -> None:
    functions.pop("dynamodb_stream_positions", None)


def _show_what_was_received(queues: dict[str, Any]) -> None:
    for queue in queues["queues"]["data"].values():
        for message in queue["messages"]:
            if message.get("receipt_handle"):
                message["visible_at"] = min(message["visible_at"], time.time())
