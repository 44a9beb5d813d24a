"""What an agent says of a message that it cannot read: never what is in it, which may be credentials."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ecs_anywhere_agent.mqtt import MqttLink
from ecs_protocol.messages import AgentRequest, MessageRejected
from unit.agent.world import ARN

INCOMPLETE = b'{"type": "TaskCredentials", "credentials": [{"secretAccessKey": "s3cr3t"}]}'


class _NoStreams:
    def received(self, _topic: str, _payload: bytes) -> bool:
        return False


class Link:
    """A link without a connection, and what it would have said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.said: list[AgentRequest] = []
        nothing = cast("Any", None)
        self.link = MqttLink(
            cast("Any", SimpleNamespace(container_instance_arn=ARN)),
            nothing,
            keep_alive_seconds=1,
            describe=nothing,
            emit=nothing,
            elapsed=lambda: self.now,
            streams=cast("Any", _NoStreams()),
        )
        monkeypatch.setattr(self.link, "request", self.said.append)

    def hear(self, payload: bytes) -> None:
        assert self.link._received("commands", payload) is None


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    return Link(monkeypatch)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(INCOMPLETE, id="incomplete"),
        pytest.param(b'{"type": "MadeUpLater", "secretAccessKey": "s3cr3t"}', id="of-an-unknown-type"),
        pytest.param(b'{"secretAccessKey": "s3cr3t"', id="cut-off"),
    ],
)
def test_it_is_neither_in_the_log_nor_in_what_the_control_plane_hears(
    link: Link, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        link.hear(payload)
    assert "refused a message of the control plane" in caplog.text
    assert "s3cr3t" not in caplog.text
    [said] = link.said
    assert isinstance(said, MessageRejected)
    assert "s3cr3t" not in said.to_json()


def test_the_control_plane_hears_of_it_once_a_minute(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for link.now in (0.0, 1.0, 59.0, 60.0, 61.0):
            link.hear(INCOMPLETE)
    assert (len(link.said), caplog.text.count("refused a message")) == (2, 5)
