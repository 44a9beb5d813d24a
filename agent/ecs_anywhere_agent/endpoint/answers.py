"""Who may have what: from a request to its answer.

A container is answered about itself and its own task only: it has to name itself by an id that nobody else knows, and
to ask from where it is. Everything else gets Amazon's error for an id that there is not.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from ecs_anywhere_agent.core.roles import Credentials, RoleRef
from ecs_anywhere_agent.core.values import Container, ContainerRef, Instant, State, Task
from ecs_anywhere_agent.endpoint import credentials, metadata
from ecs_anywhere_agent.endpoint.identifiers import Identifiers, same
from ecs_anywhere_agent.endpoint.limiting import Limiter, Rate
from ecs_anywhere_agent.endpoint.server import Answer, Request, plain
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.runtime.view import CannotLookError, Seen, View
from ecs_protocol.messages import RoleKind

_log = logging.getLogger(__name__)

_NOT_FOUND = "404 page not found"
_TOO_MANY = "You have reached maximum request limit."
_NO_CONTAINER = "unable to get container ID from request: unable to get docker ID from v3 endpoint ID"
_NO_TASK = "unable to get task arn from request: unable to get task Arn from v3 endpoint ID"
_NOTED, _NOTED_FOR_SECONDS = 256, 3600.0
"""What was logged is remembered, so that nobody can fill the log."""


class World(NamedTuple):
    """What the rest of the agent knows; each is called by any thread."""

    state: Callable[[], State]
    now: Callable[[], Instant]
    cut_off_since: Callable[[], datetime | None]
    """None: connected."""
    held: HeldCredentials
    view: View


class _Named(NamedTuple):
    """What an id names."""

    task: Task
    container: Container

    @property
    def ref(self) -> ContainerRef:
        return ContainerRef(self.task.task_id, self.container.name)


class _Asker(NamedTuple):
    """The container that asks: it has its id, and is where the request comes from."""

    named: _Named
    seen: Seen


class Answers:
    """For threads."""

    def __init__(self, identifiers: Identifiers, world: World, rate: Rate) -> None:
        self._identifiers = identifiers
        self._world = world
        self._limiter = Limiter(rate)
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        """When, by what it is about; the oldest first."""

    def __call__(self, request: Request) -> Answer:
        words = request.path.strip("/").split("/")
        match words:
            case ["v4", identifier, *rest] if (what := "/".join(rest)) in _METADATA:
                answer = partial(self._metadata, identifier, what)
            case ["v2", "credentials", identifier] if (task := self._of_log_driver(request, identifier)) is not None:
                return self._of_role(task, "execution")
            case ["v2", "credentials", *rest]:
                identifier = "/".join(rest)
                answer = partial(self._credentials, identifier)
            case _:
                return plain(HTTPStatus.NOT_FOUND, _NOT_FOUND)
        named = self._named(identifier)
        # Before the runtime is asked, which costs more than this.
        if not self._limiter.allows(request.peer if named is None else named.task.task_id, time.monotonic()):
            return plain(HTTPStatus.TOO_MANY_REQUESTS, _TOO_MANY)
        try:
            return answer(request, self._asker(request, named))
        except CannotLookError as error:
            self._note(str(error), f"a container asked for metadata or credentials: {error} ({error.__cause__})")
            return _json(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _metadata(self, identifier: str, what: str, request: Request, asker: _Asker | None) -> Answer:
        del request
        name, missing, answer = _METADATA[what]
        if asker is None:
            return _json(HTTPStatus.NOT_FOUND, f"V4 {name} handler: {missing}: {identifier}")
        return _json(HTTPStatus.OK, answer(self, asker))

    def _credentials(self, identifier: str, request: Request, asker: _Asker | None) -> Answer:
        if not identifier:
            return _error(credentials.no_id())
        if asker is None:
            return _error(credentials.unknown_id())
        if not same(request.headers.get("authorization", ""), self._identifiers.token_of(asker.named.ref)):
            self._note_refusal(request, "without the token that belongs to its id")
            return _error(credentials.unknown_id())
        task = asker.named.task
        if all(role.kind != "task" for role in task.roles):
            return _error(credentials.no_role())
        return self._of_role(task, "task")

    def _of_log_driver(self, request: Request, identifier: str) -> Task | None:
        """The task whose execution role's credentials Docker's daemon asks for, a process of this machine.

        It sends no token: as with Amazon's agent the id is all that it has, and root alone can read it.
        """
        task = self._world.state().tasks.get(identifier.partition("-")[0])
        mine = task is not None and same(identifier, self._identifiers.of_execution_role(task.task_id))
        return task if mine and request.local else None

    def _of_role(self, task: Task, kind: RoleKind) -> Answer:
        held = self._world.held.get(task.task_id, kind)
        known = self._world.state().credentials.get(RoleRef(task.task_id, kind), Credentials())
        if held is None or known.expires_at <= self._world.now().elapsed:
            return _error(credentials.not_to_be_had(held, known.refusal, self._world.cut_off_since()))
        return _json(HTTPStatus.OK, credentials.credentials_response(held))

    def _named(self, identifier: str) -> _Named | None:
        task = self._world.state().tasks.get(identifier.partition("-")[0])
        if task is None:
            return None
        containers = {each.name: each for each in task.containers}
        name = self._identifiers.name(identifier, task.task_id, containers)
        return None if name is None else _Named(task, containers[name])

    def _asker(self, request: Request, named: _Named | None) -> _Asker | None:
        """None: it is not what it says it is. Raises CannotLookError."""
        if named is None:
            self._note_refusal(request, "with an id that no container has")
            return None
        seen = self._world.view.look(named.ref, named.container.runtime_id)
        if seen is None:
            return None
        if not (request.local if seen.addresses is None else request.peer in seen.addresses):
            self._note_refusal(request, f"with the id of {named.container.name} of task {named.task.task_id}")
            return None
        return _Asker(named, seen)

    def _note_refusal(self, request: Request, how: str) -> None:
        """Not what was presented, which may be a secret of somebody else's."""
        self._note(request.peer, f"refused metadata or credentials to {request.peer}, which asked {how}")

    def _note(self, about: str, text: str) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._noted.get(about, -math.inf) < _NOTED_FOR_SECONDS:
                return
            self._noted.pop(about, None)
            self._noted[about] = now
            if len(self._noted) > _NOTED:
                del self._noted[next(iter(self._noted))]
        _log.warning("%s", text)

    def _definition(self, task: Task) -> Mapping[str, Any]:
        return self._world.state().task_definitions.get(task.task_definition, {})

    def container(self, asker: _Asker) -> Any:
        task, container = asker.named
        asked = metadata.Asked(task, self._definition(task), {container.name: asker.seen})
        return metadata.container_response(asked, container)

    def task(self, asker: _Asker, *, with_tags: bool = False) -> Any:
        """With all containers of the task that there are."""
        task = asker.named.task
        seen = {asker.named.container.name: asker.seen}
        for each in task.containers:
            found = seen.get(each.name) or self._world.view.look(ContainerRef(task.task_id, each.name), each.runtime_id)
            if found is not None:
                seen[each.name] = found
        return metadata.task_response(metadata.Asked(task, self._definition(task), seen), with_tags=with_tags)

    def stats(self, asker: _Asker) -> Any:
        return self._world.view.stats(asker.named.ref, asker.named.container.runtime_id)

    def task_stats(self, asker: _Asker) -> Any:
        """By DockerId. At once for all, since Docker takes its time for each."""
        task = asker.named.task
        refs = {each.runtime_id: ContainerRef(task.task_id, each.name) for each in task.containers if each.runtime_id}
        with ThreadPoolExecutor(max_workers=max(len(refs), 1)) as threads:
            return dict(zip(refs, threads.map(self._world.view.stats, refs.values(), refs), strict=True))


_METADATA: Mapping[str, tuple[str, str, Callable[[Answers, _Asker], Any]]] = {
    "": ("container metadata", _NO_CONTAINER, Answers.container),
    "task": ("task metadata", _NO_TASK, Answers.task),
    "taskWithTags": ("task metadata", _NO_TASK, partial(Answers.task, with_tags=True)),
    "stats": ("container stats", _NO_TASK, Answers.stats),
    "task/stats": ("task stats", _NO_TASK, Answers.task_stats),
}
"""By what follows the id: what Amazon's agent calls it in errors, and how."""


def _json(status: HTTPStatus, value: Any) -> Answer:
    return Answer(status, json.dumps(value, separators=(",", ":")))


def _error(error: Mapping[str, Any]) -> Answer:
    return _json(HTTPStatus(error["HTTPErrorCode"]), error)
