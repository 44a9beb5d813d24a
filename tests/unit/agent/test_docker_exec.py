"""What the Engine says of a command that has begun a moment ago."""

from typing import Any

from ecs_anywhere_agent.streams.docker_exec import _begun


class FakeEngine:
    def __init__(self, *found: dict[str, Any]) -> None:
        self._found = list(found)

    def inspect_exec(self, exec_id: str) -> dict[str, Any]:
        del exec_id
        return self._found.pop(0)


def test_a_command_whose_process_is_not_known_yet_is_waited_for() -> None:
    """An agent that begins ends what one that was killed at that moment had begun."""
    engine = FakeEngine({"Running": True, "Pid": 0}, {"Running": True, "Pid": 0}, {"Running": True, "Pid": 7})
    assert _begun(engine, "exec") == {"Running": True, "Pid": 7}  # type: ignore[arg-type]


def test_one_that_has_ended_is_not_waited_for() -> None:
    assert _begun(FakeEngine({"Running": False, "Pid": 0}), "exec")["Running"] is False  # type: ignore[arg-type]
