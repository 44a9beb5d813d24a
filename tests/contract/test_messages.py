"""Every message of every release is read for ever, and what later releases add is ignored (rule 11)."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ecs_protocol import messages, streams
from ecs_protocol.messages import AGENT_REQUEST, CONTROL_PLANE_MESSAGE, Message
from ecs_protocol.streams import FROM_MACHINE, TO_MACHINE

RELEASES = Path(__file__).parent / "messages"
SAMPLES = sorted(RELEASES.glob("*/*.json"))
READERS: tuple[TypeAdapter[Any], ...] = (AGENT_REQUEST, CONTROL_PLANE_MESSAGE, TO_MACHINE, FROM_MACHINE)


def _type(sample: Path) -> type[Message]:
    found: type[Message] = getattr(messages, sample.stem, None) or getattr(streams, sample.stem)
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.parent.name}-{sample.stem}")
def test_a_message_of_any_release_is_read_whole(sample: Path) -> None:
    text = sample.read_text()
    read = _type(sample).from_json(text)
    sent = json.loads(text)
    assert {name: value for name, value in json.loads(read.to_json()).items() if name in sent} == sent


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.parent.name}-{sample.stem}")
def test_a_member_of_a_later_release_is_ignored(sample: Path) -> None:
    later = {**json.loads(sample.read_text()), "v": 2, "madeUpLater": {"some": "thing"}}
    read = _type(sample).from_json(json.dumps(later))
    assert "madeUpLater" not in read.to_json()


def test_each_message_has_a_sample() -> None:
    wire = {
        name
        for name, each in {**vars(messages), **vars(streams)}.items()
        if isinstance(each, type)
        and issubclass(each, Message)
        and "v" in each.model_fields
        and not name.startswith("_")
    }
    assert wire <= {sample.stem for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_what_has_a_type_is_told_apart_by_it(sample: Path) -> None:
    text = sample.read_text()
    if "type" not in json.loads(text) or sample.stem == "TaskStateChanges":
        return
    assert sample.stem in {type(read).__name__ for read in map(partial(_read_by, text), READERS)}


def _read_by(text: str, reader: TypeAdapter[Any]) -> Message | None:
    """None: it is said in another place."""
    try:
        read: Message = reader.validate_json(text)
    except ValidationError:
        return None
    return read


def test_a_machine_with_an_identity_of_an_earlier_release_asks_for_credentials_where_it_asks_for_all() -> None:
    wanted = (messages.CredentialsWanted(task_id="0" * 32, role="task"),)
    request = messages.GetCredentials(request_id="r", wanted=wanted)
    topics = messages.Topics(requests="requests", task_state_changes="reports", commands="commands")
    assert topics.of(request) == "requests"
    own = topics.model_copy(update={"credentials": "credentials"})
    assert own.of(request) == "credentials"
    assert own.of(messages.Reconcile(request_id="r", digest="d")) == "requests"
