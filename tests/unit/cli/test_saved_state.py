"""What MiniStack had saved while functions were at work; the whole of it is seen in tests/e2e."""

import json
import time
from pathlib import Path
from typing import Any

from ecs_anywhere import saved_state


def test_what_ended_consumers_held_is_free_again(tmp_path: Path) -> None:
    later = time.time() + 300
    received = {"receipt_handle": "r", "visible_at": later, "receive_count": 1}
    delayed = {"receipt_handle": None, "visible_at": later, "receive_count": 0}
    write(tmp_path / "sqs.json", {"queues": {"data": {"url": {"messages": [received, delayed]}}}})
    write(tmp_path / "lambda.json", {"dynamodb_stream_positions": {"data": {"esm": 53}}, "functions": {}})
    saved_state.mend(tmp_path)
    [freed, waits] = read(tmp_path / "sqs.json")["queues"]["data"]["url"]["messages"]
    assert freed["visible_at"] <= time.time()
    assert waits == delayed
    assert read(tmp_path / "lambda.json") == {"functions": {}}


def test_nothing_saved_is_nothing_to_mend(tmp_path: Path) -> None:
    saved_state.mend(tmp_path)
    assert list(tmp_path.iterdir()) == []


def write(file: Path, payload: dict[str, Any]) -> None:
    file.write_text(json.dumps({"__ministack_format__": 1, "payload": payload}))


def read(file: Path) -> Any:
    return json.loads(file.read_text())["payload"]
