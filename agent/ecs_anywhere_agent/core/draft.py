"""The state in the making, for the length of one step."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ecs_anywhere_agent.core.actions import Action, Log
from ecs_anywhere_agent.core.values import Instant, Link, Rules, State, Task, TaskDefinition


class Draft:
    """A State that may be changed: it copies each mapping once, on its first change."""

    def __init__(self, state: State, now: Instant, rules: Rules) -> None:
        self.before = state
        self.now = now
        self.rules = rules
        self.actions: list[Action] = []
        self._state = state
        self._copied: dict[str, dict[str, Any]] = {}

    @property
    def state(self) -> State:
        return self._state

    @property
    def link(self) -> Link | None:
        return self._state.link

    def task(self, task_id: str) -> Task | None:
        return self._state.tasks.get(task_id)

    def tasks(self) -> Iterator[Task]:
        """Each task as it was when the iteration began."""
        return iter(tuple(self._state.tasks.values()))

    def put(self, task: Task) -> Task:
        if self._state.tasks.get(task.task_id) is not task:
            self._own("tasks")[task.task_id] = task
        return task

    def forget(self, task: Task) -> None:
        del self._own("tasks")[task.task_id]
        self._own("ended")[task.task_id] = self.now.elapsed + self.rules.remember_ended
        if all(other.task_definition != task.task_definition for other in self._state.tasks.values()):
            self._own("task_definitions").pop(task.task_definition, None)

    def learn(self, name: str, definition: TaskDefinition) -> None:
        self._own("task_definitions")[name] = definition

    def drop_expired_memories(self) -> None:
        expired = [task_id for task_id, until in self._state.ended.items() if until <= self.now.elapsed]
        for task_id in expired:
            del self._own("ended")[task_id]

    def change(self, **members: Any) -> None:
        self._state = replace(self._state, **members)

    def change_link(self, **members: Any) -> None:
        if self._state.link is not None:
            self._state = replace(self._state, link=replace(self._state.link, **members))

    def do(self, *actions: Action) -> None:
        self.actions.extend(actions)

    def log(self, text: str) -> None:
        self.actions.append(Log(text))

    def _own(self, member: str) -> dict[str, Any]:
        if member not in self._copied:
            self._copied[member] = dict(getattr(self._state, member))
            self.change(**{member: self._copied[member]})
        return self._copied[member]
