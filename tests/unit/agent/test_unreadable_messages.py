"""What an agent says of a message that it cannot read: never what is in it, which may be credentials."""

import logging
from typing import Any, cast

import pytest

from ecs_anywhere_agent.mqtt import MqttLink


class _NoStreams:
    def received(self, _topic: str, _payload: bytes) -> bool:
        return False


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"type": "TaskCredentials", "credentials": [{"secretAccessKey": "s3cr3t"}]}', id="incomplete"),
        pytest.param(b'{"type": "MadeUpLater", "secretAccessKey": "s3cr3t"}', id="of-an-unknown-type"),
        pytest.param(b'{"secretAccessKey": "s3cr3t"', id="cut-off"),
    ],
)
def test_it_is_not_in_the_log(payload: bytes, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    nothing = cast("Any", None)
    link = MqttLink(
        nothing,
        nothing,
        keep_alive_seconds=1,
        describe=nothing,
        emit=heard.append,
        elapsed=lambda: 0.0,
        streams=cast("Any", _NoStreams()),
    )
    with caplog.at_level(logging.DEBUG):
        assert link._received("commands", payload) is None
    assert "does not understand" in caplog.text
    assert "s3cr3t" not in caplog.text
