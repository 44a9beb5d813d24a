"""An image of Amazon ECR: the token is MiniStack's, and what the Engine is asked is seen at its socket.

The Engine is not a real one here: that would look for Amazon's own host, whatever else is set.
"""

import base64
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ecs_anywhere_agent.container_spec import container_specs
from ecs_anywhere_agent.core.actions import PullImage
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, ImagePulled
from ecs_anywhere_agent.execution_role import ExecutionRoles
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.runtime.docker import DockerRuntime
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_images import PullBehavior
from integration.agent.conftest import Broker
from integration.agent.execution import ROLE, NoNetwork, credentials, held, roles
from integration.agent.runtimes import ARN, REF, Told

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:1"
DIGEST = "sha256:" + "1" * 64


class Handler(BaseHTTPRequestHandler):
    """Has every image once it was pulled."""

    logins: list[dict[str, str] | None]

    def do_GET(self) -> None:
        repository = IMAGE.rpartition(":")[0]
        self._answer({"Id": "sha256:2", "RepoDigests": [f"{repository}@{DIGEST}"]})

    def do_POST(self) -> None:
        told = self.headers.get("X-Registry-Auth")
        self.logins.append(None if told is None else json.loads(base64.urlsafe_b64decode(told)))
        self._answer({"status": "Pull complete"})

    def _answer(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        pass


class Seen:
    """A runtime, what it has told, and with which logins it has pulled."""

    def __init__(self, socket_path: Path, data_dir: Path) -> None:
        self.logins: list[dict[str, str] | None] = []
        handler = type("Handler", (Handler,), {"logins": self.logins})
        self.server = ThreadingUnixStreamServer(str(socket_path), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self.path, self.data_dir = socket_path, data_dir

    def pull(self, by: ExecutionRoles, **of_task: Any) -> Told:
        runtime = DockerRuntime(Engine(str(self.path)), {}, self.data_dir, PullBehavior.ALWAYS, 0.0, roles=by)
        runtime._sight.emit = self.told.put
        definition = {
            "family": "web",
            "revision": 1,
            "containerDefinitions": [{"name": "main", "image": IMAGE, "memory": 32}],
            **of_task,
        }
        task = "arn:aws:ecs:us-east-1:000000000000:task/default/" + REF.task_id
        (spec,) = container_specs(definition, {}, container_instance_arn=ARN, cluster="default", task_arn=task)
        runtime.perform(PullImage(REF, spec.image, spec.registry))
        told = self.told.get(timeout=30)
        runtime.close()
        return told


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    with TemporaryDirectory() as directory:  # a socket's path has 107 characters, more than pytest leaves
        made = Seen(Path(directory) / "docker.sock", tmp_path)
        yield made
        made.server.shutdown()
        made.server.server_close()


def test_an_image_of_ecr_is_pulled_with_a_token_of_the_execution_role(seen: Seen, aws: Broker) -> None:
    data = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert seen.pull(roles(), executionRoleArn=ROLE) == ImagePulled(REF, DIGEST)
    assert seen.logins == [{"username": username, "password": password}]


def test_without_a_role_it_is_pulled_like_any_other(seen: Seen) -> None:
    assert seen.pull(ExecutionRoles(HeldCredentials(), NoNetwork())) == ImagePulled(REF, DIGEST)
    assert seen.logins == [None]


def test_without_a_token_it_cannot_be_pulled_in_amazons_words(seen: Seen, aws: Broker) -> None:
    del aws
    strangers = credentials().model_copy(update={"access_key_id": "ASIAOFNOBODY"})
    failed = seen.pull(ExecutionRoles(held(strangers)), executionRoleArn=ROLE)
    assert isinstance(failed, ActionFailed)
    assert failed.attempt is Attempt.PULL_ECR
    assert failed.reason.startswith("ecr auth: UnrecognizedClientException: ")
    assert seen.logins == []
