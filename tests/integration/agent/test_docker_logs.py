"""Where what containers write goes."""

import json
import socket
import zlib
from collections.abc import Iterator
from contextlib import closing as closed
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.runtime.docker_engine import Engine
from integration.agent.docker_containers import Containers, closing
from shows import shows

pytestmark = pytest.mark.docker

NON_BLOCKING = {"mode": "non-blocking", "max-buffer-size": "10m"}
"""Amazon ECS's default."""


@pytest.fixture
def containers(engine: Engine, tmp_path: Path) -> Iterator[Containers]:
    with closing(Containers(engine, tmp_path)) as made:
        yield made


@shows("logConfiguration.logDriver", "logConfiguration.options")
def test_a_file_with_options(containers: Containers) -> None:
    options = {"max-size": "10k", "max-file": "2"}
    started = containers.start(
        {
            "command": ["sh", "-c", "echo written"],
            "logConfiguration": {"logDriver": "json-file", "options": options},
        }
    )["main"]
    told = containers.inspect(started)["HostConfig"]["LogConfig"]
    assert told == {"Type": "json-file", "Config": {**NON_BLOCKING, **options}}
    assert containers.output(started) == "written\n"


@pytest.mark.parametrize("driver", ["gelf", "syslog"])
@shows("logConfiguration.logDriver", "logConfiguration.options")
def test_what_is_written_arrives_at_a_server(containers: Containers, driver: str) -> None:
    with closed(socket.socket(type=socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        address = f"udp://127.0.0.1:{server.getsockname()[1]}"
        containers.start(
            {
                "command": ["sh", "-c", "echo written"],
                "logConfiguration": {
                    "logDriver": driver,
                    "options": {f"{driver}-address": address, "tag": "the-tag"},
                },
            }
        )
        packet = server.recv(10_000)
    if driver == "gelf":
        content = json.loads(zlib.decompress(packet, wbits=47))
        assert (content["short_message"], content["_tag"]) == ("written", "the-tag")
    else:
        assert b"the-tag" in packet
        assert packet.rstrip().endswith(b"written")


@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param({"logDriver": "fluentd", "options": {"fluentd-address": "127.0.0.1:1"}}, id="fluentd"),
        pytest.param({"logDriver": "journald", "options": {"tag": "x"}}, id="journald"),
        pytest.param(
            {"logDriver": "splunk", "options": {"splunk-token": "t", "splunk-url": "https://127.0.0.1:1"}}, id="splunk"
        ),
    ],
)
@shows("logConfiguration.logDriver", "logConfiguration.options")
def test_docker_takes_the_options_of_its_other_drivers(containers: Containers, configuration: dict[str, Any]) -> None:
    """Made, not started: nobody is there who would take what they write."""
    (spec,) = containers.specs({"command": ["sleep", "1"], "logConfiguration": configuration}).values()
    told = containers.inspect(containers.driver.create(spec))["HostConfig"]["LogConfig"]
    assert told == {"Type": configuration["logDriver"], "Config": {**NON_BLOCKING, **configuration["options"]}}
