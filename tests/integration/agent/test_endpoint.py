"""Where the local endpoint listens, what containers are told of it, and how it bears bad clients: real sockets."""

import json
import os
import shlex
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.endpoint import loopback
from ecs_anywhere_agent.endpoint.endpoint import FILE, Endpoint
from ecs_anywhere_agent.endpoint.server import Answer, Request
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_view import DockerView
from ecs_anywhere_agent.runtime.view import CannotLookError
from integration.agent.runtimes import REF, spec

ROLE = "arn:aws:iam::111122223333:role/app"
REGION = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    opened = Endpoint.open(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def served(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Tells each client what it has understood."""

    def answer(request: Request) -> Answer:
        if request.path == "/slow":
            time.sleep(0.5)
        return Answer(HTTPStatus.OK, json.dumps([request.path, request.headers.get("x-a"), request.local]))

    with endpoint.serving(answer):
        yield endpoint


def told(endpoint: Endpoint, *of_image: str, acts_as: str | None = None, **members: Any) -> dict[str, str]:
    return dict(endpoint.told(REF, spec("true", **members)._replace(acts_as=acts_as), of_image).environment)


def send(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    return answer


def test_a_process_is_told_of_metadata_and_of_credentials_if_its_task_has_a_role(endpoint: Endpoint) -> None:
    base, identifier = f"http://127.0.0.1:{endpoint.port}", endpoint.identifiers.of(REF)
    metadata = {"ECS_CONTAINER_METADATA_URI_V4": f"{base}/v4/{identifier}"}
    assert told(endpoint) == {**metadata, **REGION}
    assert told(endpoint, acts_as=ROLE) == {
        **metadata,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{base}/v2/credentials/{identifier}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": endpoint.identifiers.token_of(REF),
        **REGION,
    }


@pytest.mark.parametrize(
    ("environment", "of_image", "regions"),
    [
        pytest.param({}, (), ("us-east-1", "us-east-1"), id="nobody-says-one"),
        pytest.param({"AWS_REGION": "eu-west-1"}, (), ("eu-west-1", None), id="the-task-definition-does"),
        pytest.param({}, ("AWS_DEFAULT_REGION",), (None, None), id="the-image-does"),
    ],
)
def test_the_region_is_the_tasks_unless_somebody_says_another(
    endpoint: Endpoint, environment: dict[str, str], of_image: tuple[str, ...], regions: tuple[str | None, str | None]
) -> None:
    given = [{"name": name, "value": value} for name, value in environment.items()]
    variables = told(endpoint, *of_image, environment=given)
    assert (variables.get("AWS_REGION"), variables.get("AWS_DEFAULT_REGION")) == regions


def test_what_a_task_definition_says_of_the_uri_does_not_stand(endpoint: Endpoint) -> None:
    lie = {"name": "ECS_CONTAINER_METADATA_URI_V4", "value": "http://192.0.2.7/"}
    assert told(endpoint, environment=[lie]) == told(endpoint)


def test_port_and_ids_are_the_same_for_the_next_agent(tmp_path: Path) -> None:
    first = Endpoint.open(tmp_path)
    before = told(first, acts_as=ROLE)
    first.close()
    second = Endpoint.open(tmp_path)
    assert told(second, acts_as=ROLE) == before
    second.close()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_two_agents_of_a_machine_have_ports_and_ids_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = Endpoint.open(tmp_path / "one"), Endpoint.open(tmp_path / "two")
    try:
        assert one.port != two.port
        assert one.identifiers.of(REF) != two.identifiers.of(REF)
    finally:
        one.close()
        two.close()


def test_an_agent_whose_port_was_taken_starts_at_another_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Endpoint.open(tmp_path)
    port = first.port
    first.close()
    with socket.create_server(("127.0.0.1", port)):
        second = Endpoint.open(tmp_path)
        second.close()
    assert second.port != port
    assert f"port {port} of 127.0.0.1 cannot be had" in caplog.text
    assert json.loads((tmp_path / FILE).read_text())["port"] == second.port


def test_docker_in_a_network_that_is_not_this_machines_is_not_served(endpoint: Endpoint) -> None:
    endpoint.serve_docker("192.0.2.77")
    assert (told(endpoint, acts_as=ROLE), endpoint.features) == (REGION, frozenset())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can add an address")
@pytest.mark.parametrize(
    ("members", "base"),
    [
        pytest.param({"networkMode": "bridge"}, f"http://{loopback.ADDRESS}", id="bridge"),
        pytest.param({"networkMode": "host"}, "http://127.0.0.1", id="host"),
        pytest.param({"networkMode": "none"}, None, id="none"),
        pytest.param({"disableNetworking": True}, None, id="without-a-network"),
    ],
)
def test_a_container_of_docker_is_told_where_it_can_reach_the_endpoint(
    endpoint: Endpoint, members: dict[str, Any], base: str | None
) -> None:
    endpoint.serve_docker("127.0.0.1")
    assert endpoint.features == {"task-role", "task-role-network-host", "execution-role-awslogs"}
    identifier = endpoint.identifiers.of(REF)
    expected = (
        {}
        if base is None
        else {
            "ECS_CONTAINER_METADATA_URI_V4": f"{base}:{endpoint.port}/v4/{identifier}",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{base}:{endpoint.port}/v2/credentials/{identifier}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": endpoint.identifiers.token_of(REF),
        }
    )
    assert told(endpoint, acts_as=ROLE, **members) == {**expected, **REGION}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network")
@pytest.mark.parametrize(
    ("before", "shown"),
    [
        pytest.param("", ["192.0.2.1", "['task-role-network-host']", "['ECS']"], id="nobody-has-added-it"),
        pytest.param(
            f"ip address add {loopback.ADDRESS}/32 dev lo",
            [
                loopback.ADDRESS,
                "['execution-role-awslogs', 'task-role', 'task-role-network-host']",
                "['AWS', 'ECS']",
            ],
            id="somebody-else-has",
        ),
    ],
)
def test_an_agent_that_may_add_no_address(tmp_path: Path, before: str, shown: list[str]) -> None:
    """It serves metadata at the gateway, and announces no roles; in a network without any other agent."""
    program = """
        import sys
        from pathlib import Path
        from ecs_anywhere_agent.endpoint.endpoint import Endpoint
        from integration.agent.runtimes import REF, spec
        endpoint = Endpoint.open(Path(sys.argv[1]))
        endpoint.serve_docker("192.0.2.1")
        variables = dict(endpoint.told(REF, spec("true")._replace(acts_as="role")).environment)
        print(variables["ECS_CONTAINER_METADATA_URI_V4"].split("/")[2].split(":")[0])
        print(sorted(endpoint.features))
        print(sorted({each[:3] for each in variables if "CONTAINER" in each}))
    """
    unprivileged = ["setpriv", "--bounding-set", "-net_admin", sys.executable, "-c", textwrap.dedent(program)]
    network = f"ip link set lo up; ip address add 192.0.2.1/32 dev lo; {before or ':'}"
    script = f"{network}; exec {shlex.join([*unprivileged, str(tmp_path)])}"
    ran = subprocess.run(
        ["unshare", "--net", "sh", "-ec", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout.splitlines(), ran.returncode) == (shown, 0), ran.stderr


def test_a_request_is_understood(served: Endpoint) -> None:
    answer = send(served.port, b"GET /v4/x?y=z HTTP/1.1\r\nHost: h\r\nX-A:  b \r\n\r\n")
    assert answer == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\nConnection: close\r\n\r\n"
        b'["/v4/x", "b", true]'
    )


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"POST / HTTP/1.1\r\n\r\n", b"405", id="another-method"),
        pytest.param(b"nonsense\r\n\r\n", b"400", id="no-http"),
        pytest.param(b"GET / HTTP/2\r\n\r\n", b"400", id="another-version"),
        pytest.param(b"\x16\x03\x01\r\n\r\n", b"400", id="tls"),
        pytest.param(b"GET / HTTP/1.1\r\nX: ".ljust(8192, b"y"), b"431", id="too-long"),
    ],
)
def test_what_is_no_request_is_refused(served: Endpoint, request_: bytes, status: bytes) -> None:
    assert send(served.port, request_).split(b" ", 2)[1] == status


def test_who_says_nothing_is_hung_up_on_and_keeps_nobody_waiting(served: Endpoint) -> None:
    silent = [socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in range(4)]
    began = time.monotonic()
    assert send(served.port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < 1.5
    assert [each.recv(1) for each in silent] == [b""] * 4
    for each in silent:
        each.close()


def test_more_at_once_than_are_taken_are_hung_up_on_and_then_all_is_well(served: Endpoint) -> None:
    many = [socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in range(100)]
    refused = 0
    for each in many[64:]:
        try:
            refused += each.recv(1) == b""
        except ConnectionError:
            refused += 1
    for each in many:
        each.close()
    assert refused == 36
    assert send(served.port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_requests_are_answered_side_by_side(served: Endpoint) -> None:
    began = time.monotonic()
    threads = [threading.Thread(target=send, args=(served.port, b"GET /slow HTTP/1.1\r\n\r\n")) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert time.monotonic() - began < 8 * 0.5


def test_an_agent_that_ends_waits_for_no_engine_that_does_not_answer(tmp_path: Path) -> None:
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as silent, ThreadPoolExecutor() as threads:
        silent.bind(path)
        silent.listen()
        view = DockerView(Engine(path))
        looking = threads.submit(view.look, REF, "id")
        connection, _ = silent.accept()
        connection.recv(1)
        view.close()
        with pytest.raises(CannotLookError):
            looking.result(timeout=5)
        connection.close()
