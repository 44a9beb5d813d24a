"""An unmodified boto3 client of the API's function, over the real flows on moto."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from functions.api_ecs import app

from unit.api.clients import ecs_client
from world import World


class Context:
    function_name = "api_ecs"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:api_ecs"
    aws_request_id = "invocation-1"


@dataclass
class Client:
    """`ecs` signs and sends as it always does; after each of its requests the next of `meanwhile` happens."""

    ecs: Any = None
    meanwhile: list[Callable[[], Any]] = field(default_factory=list)

    def answer(self, event: dict[str, Any]) -> dict[str, Any]:
        answered: dict[str, Any] = app.handler(event, Context())
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return answered


def client_of(world: World, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(app, "control_plane", lambda: world.cp)
    world.now = datetime.now(UTC)  # when the client signs
    made = Client()
    made.ecs = ecs_client(made.answer, key_id="ADMINISTRATOR", secret="secret")
    return made


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> Client:
    return client_of(world, monkeypatch)
