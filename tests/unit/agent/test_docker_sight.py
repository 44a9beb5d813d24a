"""What Docker says of a container at one moment may not be all yet."""

import threading
from typing import Any

import pytest

from ecs_anywhere_agent.core.events import ContainerChanged, Event
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_container import OUT_OF_MEMORY
from ecs_anywhere_agent.runtime.docker_sight import Sight
from unit.agent.test_docker_container import ENDED, inspected

REF = ContainerRef("a" * 32, "app")
KILLED = {**ENDED, "Status": "exited", "ExitCode": 137, "OOMKilled": False}


class FakeEngine:
    """Answers one after the other, the last one for ever."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self._states = list(states)

    def inspect(self, container: str) -> dict[str, Any]:
        del container
        return inspected(self._states.pop(0) if len(self._states) > 1 else self._states[0])


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        pytest.param([KILLED, {**KILLED, "OOMKilled": True}], OUT_OF_MEMORY, id="which-it-hears-of-a-moment-later"),
        pytest.param([{**KILLED, "OOMKilled": True}], OUT_OF_MEMORY, id="which-it-has-heard-of"),
        pytest.param([KILLED], None, id="by-somebody-else"),
    ],
)
def test_it_was_killed_as_its_memory_was_used_up(states: list[dict[str, Any]], reason: str | None) -> None:
    told: list[Event] = []
    sight = Sight(FakeEngine(*states), lambda *_: None, threading.Event())  # type: ignore[arg-type]
    sight.emit = told.append
    sight.remember(REF, "container")
    sight.tell(REF)
    [event] = told
    assert isinstance(event, ContainerChanged)
    assert (event.snapshot.exit_code, event.snapshot.reason) == (137, reason)
