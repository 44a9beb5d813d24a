"""The Docker runtime."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.core.actions import (
    CreateContainer,
    PullImage,
    RemoveContainer,
    RestartContainer,
    RuntimeAction,
    StartContainer,
    StopContainer,
)
from ecs_anywhere_agent.core.events import (
    ActionFailed,
    Attempt,
    Condition,
    ContainerChanged,
    ContainerSnapshot,
    ImagePulled,
)
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_config import container_config, container_name
from ecs_anywhere_agent.runtime.docker_container import digest_of, snapshot_of, snapshot_of_listed
from ecs_anywhere_agent.runtime.docker_engine import (
    Engine,
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
    find_engine,
)
from ecs_anywhere_agent.runtime.docker_features import features_of
from ecs_anywhere_agent.runtime.docker_images import CannotPullError, Images, PullBehavior
from ecs_anywhere_agent.runtime.docker_labels import owner_label, ref_of, task_limits_of
from ecs_anywhere_agent.runtime.docker_ports import NoFreePortsError, PortRanges
from ecs_anywhere_agent.runtime.docker_tasks import TaskCgroups
from ecs_anywhere_agent.runtime.docker_volumes import CannotCreateVolumeError, Volumes
from ecs_anywhere_agent.runtime.interface import Emit, RuntimeFacts, RuntimeUnavailableError

_log = logging.getLogger(__name__)

_FINISHED_WITHIN_SECONDS = 30.0
_RETRY_SECONDS = 1.0


class DockerRuntime:
    """Each action is tried until the Engine has answered it: a restart of Docker delays it, and no more."""

    def __init__(
        self, engine: Engine, info: dict[str, Any], data_dir: Path, pull: PullBehavior, pull_pause_seconds: float
    ) -> None:
        self._engine = engine
        self._info = info
        self._data_dir = str(data_dir.resolve())
        self._emit: Emit = lambda _: None
        self._calls = ThreadPoolExecutor(max_workers=8, thread_name_prefix="docker")
        self._pulls = ThreadPoolExecutor(max_workers=3, thread_name_prefix="pull")
        self._closing = threading.Event()
        self._images = Images(engine, pull, pull_pause_seconds, self._closing)
        self._volumes = Volumes(engine, self._data_dir)
        self._port_ranges = PortRanges()
        self._task_cgroups = TaskCgroups.find(info)
        self._lock = threading.Lock()
        self._ids: dict[ContainerRef, str] = {}
        self._never_started: set[ContainerRef] = set()
        """Created by this process, which has not tried to start them: nobody else does, so it need not ask."""
        self._newest: dict[tuple[type[RuntimeAction], ContainerRef], RuntimeAction] = {}
        """Of the actions that are not done yet."""
        self._looks: dict[ContainerRef, bool] = {}
        """Containers that are about to be looked at; True: and once more after that."""
        self._last_words: dict[ContainerRef, ContainerSnapshot] = {}
        """What the Engine said of an end, in case that the container is gone before it can be looked at."""
        self._events = threading.Thread(target=self._watch, name="docker-events", daemon=True)
        self._watching = threading.Event()

    @classmethod
    def connect(
        cls, data_dir: Path, *, pull: PullBehavior = PullBehavior.DEFAULT, pull_pause_seconds: float = 1.0
    ) -> "DockerRuntime":
        """The pause before a failed pull is tried again doubles each time. Raises RuntimeUnavailableError."""
        try:
            engine = find_engine()
            return cls(engine, engine.info(), data_dir, pull, pull_pause_seconds)
        except (EngineUnreachableError, EngineError) as error:
            raise RuntimeUnavailableError(
                f"Docker cannot be used ({error}). Install and start Docker Engine "
                "(https://docs.docker.com/engine/install/) and let this user reach it, or run the agent with "
                "`--runtime process`, which needs no Docker"
            ) from error

    def open(self, emit: Emit) -> tuple[ContainerSnapshot, ...]:
        self._emit = emit
        self._events.start()
        self._watching.wait(timeout=30)
        try:
            listed = self._engine.containers(self._label())
            self._volumes.remove_leftovers({ref.task_id for each in listed if (ref := ref_of(each["Labels"]))})
            snapshots = [self._first_look(each) for each in listed]
        except (EngineUnreachableError, EngineError) as error:
            raise RuntimeUnavailableError(f"Docker stopped answering ({error}); start it and try again") from error
        return tuple(snapshot for snapshot in snapshots if snapshot is not None)

    def _first_look(self, listed: dict[str, Any]) -> ContainerSnapshot | None:
        """One container that Docker says nothing about must not keep the agent from the others."""
        try:
            inspected = self._engine.inspect(listed["Id"])
        except EngineTimeoutError as error:
            snapshot = snapshot_of_listed(listed)
            if snapshot is not None:
                _log.warning("taken as %s, as Docker's list has it: %s", snapshot.condition, error)
                with self._lock:
                    self._ids[snapshot.ref] = listed["Id"]
                self._look_at(snapshot.ref)
            return snapshot
        return None if inspected is None else self._note(inspected)

    def facts(self) -> RuntimeFacts:
        features = features_of(self._info, limits_tasks=self._task_cgroups is not None)
        return RuntimeFacts(features, docker_version=self._info["ServerVersion"])

    def perform(self, action: RuntimeAction) -> None:
        with self._lock:
            self._newest[type(action), action.ref] = action
        self._submit_action(action)

    def _submit_action(self, action: RuntimeAction) -> None:
        pool = self._pulls if isinstance(action, PullImage) else self._calls
        with suppress(RuntimeError):  # closed: the next agent gives the action again
            pool.submit(self._work, action)

    def owns_process(self, pid: int) -> bool:
        return False

    def close(self, *, finish: bool = False) -> None:
        if finish:
            give_up = threading.Timer(_FINISHED_WITHIN_SECONDS, self._closing.set)
            give_up.start()
            self._calls.shutdown()
            give_up.cancel()
        self._closing.set()
        for pool in (self._calls, self._pulls):
            pool.shutdown(wait=False, cancel_futures=True)
        self._engine.close()
        for pool in (self._calls, self._pulls):
            pool.shutdown(wait=True)
        if self._events.is_alive():
            self._events.join(timeout=5)

    def _label(self) -> str:
        return owner_label(self._data_dir)

    def _work(self, action: RuntimeAction) -> None:
        while not self._closing.is_set():
            try:
                self._do(action)
                self._is_done(action)
                return
            except EngineTimeoutError as error:
                # A kill that hangs is given again by the core for ever: only the newest is tried again, and behind all
                # others, since what hangs must not hold up what does not.
                if self._is_newest(action):
                    _log.warning("%s; trying again", error)
                    self._submit_action(action)
                return
            except (EngineUnreachableError, EngineError) as error:
                if not self._closing.wait(_RETRY_SECONDS):
                    _log.warning("Docker did not do what it was asked (%s); trying again", error)

    def _is_newest(self, action: RuntimeAction) -> bool:
        with self._lock:
            return self._newest.get((type(action), action.ref)) is action

    def _is_done(self, action: RuntimeAction) -> None:
        with self._lock:
            if self._newest.get((type(action), action.ref)) is action:
                del self._newest[type(action), action.ref]

    def _do(self, action: RuntimeAction) -> None:
        match action:
            case PullImage():
                self._pull(action)
            case CreateContainer():
                self._create(action)
            case StartContainer():
                self._start(action.ref)
            case RestartContainer():
                self._restart(action.ref)
            case StopContainer():
                self._stop(action.ref, kill=action.kill)
            case RemoveContainer():
                self._remove(action.ref)

    def _pull(self, action: PullImage) -> None:
        try:
            image = self._images.obtain(action.image)
        except CannotPullError as error:
            self._emit(ActionFailed(action.ref, Attempt.PULL, str(error)))
            return
        self._emit(ImagePulled(action.ref, None if image is None else digest_of(image, action.image)))

    def _create(self, action: CreateContainer) -> None:
        name = container_name(action.ref, action.spec)
        try:
            container = self._engine.create(name, self._config(action))
        except CannotCreateVolumeError as error:
            self._emit(ActionFailed(action.ref, Attempt.CREATE_VOLUME, str(error)))
            return
        except (EngineError, NoFreePortsError, OSError) as error:
            in_use = isinstance(error, EngineError) and error.status == 409
            existing = self._engine.inspect(name) if in_use else None
            if existing is None:
                self._emit(ActionFailed(action.ref, Attempt.CREATE, str(error)))
                return
            with self._lock:
                self._ids[action.ref] = existing["Id"]
            self._tell(action.ref)
            return
        with self._lock:
            self._ids[action.ref] = container
            self._never_started.add(action.ref)
        self._emit(ContainerChanged(ContainerSnapshot(action.ref, Condition.CREATED, runtime_id=container)))

    def _config(self, action: CreateContainer) -> dict[str, Any]:
        """What the container needs is made first."""
        ref, spec = action.ref, action.spec
        self._volumes.prepare(ref.task_id, spec)
        parent = None if self._task_cgroups is None else self._task_cgroups.prepare(ref.task_id, spec.task_limits)
        starts = self._port_ranges.choose(spec.network.port_ranges) if spec.network_mode == "bridge" else {}
        return container_config(ref, spec, self._data_dir, cgroup_parent=parent, range_starts=starts)

    def _remove(self, ref: ContainerRef) -> None:
        """With the last of its containers goes what is the task's own."""
        container = self._find(ref)
        if container is not None:
            with suppress(EngineError):
                self._engine.remove(container)
        with self._lock:
            self._ids.pop(ref, None)
            self._never_started.discard(ref)
        self._volumes.remove_of(ref.task_id)
        if self._task_cgroups is not None:
            self._task_cgroups.remove(ref.task_id)

    def _start(self, ref: ContainerRef) -> None:
        container = self._find(ref)
        with self._lock:
            fresh = ref in self._never_started
            # Before the call: one whose answer is lost may have started it, and it may have ended since.
            self._never_started.discard(ref)
        if container is not None and fresh:
            self._try_to_start(ref, container)
            return
        inspected = None if container is None else self._engine.inspect(container)
        if container is not None and inspected is not None and inspected["State"]["Status"] == "created":
            self._prepare_again(ref, inspected)
            self._try_to_start(ref, container)
        else:
            self._tell(ref)

    def _restart(self, ref: ContainerRef) -> None:
        container = self._find(ref)
        inspected = None if container is None else self._engine.inspect(container)
        if container is not None and inspected is not None and not inspected["State"]["Running"]:
            self._prepare_again(ref, inspected)
            self._try_to_start(ref, container)
        else:
            self._tell(ref)

    def _prepare_again(self, ref: ContainerRef, inspected: dict[str, Any]) -> None:
        """The machine may have been restarted since the container was made."""
        if self._task_cgroups is not None and inspected["HostConfig"].get("CgroupParent"):
            try:
                self._task_cgroups.prepare(ref.task_id, task_limits_of(inspected["Config"]["Labels"]))
            except OSError as error:
                _log.warning("the limits of task %s cannot be set: %s", ref.task_id, error)

    def _try_to_start(self, ref: ContainerRef, container: str) -> None:
        try:
            self._engine.start(container)
        except EngineError as error:
            if self._engine.inspect(container) is not None:
                self._emit(ActionFailed(ref, Attempt.START, str(error)))
                return
        self._tell(ref)

    def _stop(self, ref: ContainerRef, *, kill: bool) -> None:
        container = self._find(ref)
        inspected = None if container is None else self._engine.inspect(container)
        if container is None or inspected is None or not inspected["State"]["Running"]:
            self._tell(ref)
            return
        try:
            self._engine.kill(container, "SIGKILL" if kill else inspected["Config"].get("StopSignal") or "SIGTERM")
        except EngineError as error:
            _log.info("%s of task %s: %s", ref.name, ref.task_id, error)
            self._tell(ref)

    def _find(self, ref: ContainerRef) -> str | None:
        with self._lock:
            return self._ids.get(ref)

    def _tell(self, ref: ContainerRef) -> None:
        container = self._find(ref)
        inspected = None if container is None else self._engine.inspect(container)
        snapshot = None if inspected is None else self._note(inspected)
        with self._lock:
            last_words = self._last_words.pop(ref, None)
            if inspected is None and self._ids.get(ref) == container:
                self._ids.pop(ref, None)
        if snapshot is None and last_words is not None:
            self._emit(ContainerChanged(last_words))
        self._emit(ContainerChanged(snapshot or ContainerSnapshot(ref, Condition.GONE)))

    def _note(self, inspected: dict[str, Any]) -> ContainerSnapshot | None:
        snapshot = snapshot_of(inspected)
        if snapshot is not None and snapshot.runtime_id is not None:
            with self._lock:
                self._ids[snapshot.ref] = snapshot.runtime_id
        return snapshot

    def _watch(self) -> None:
        """The Engine's events, for ever. After a gap every container is looked at: anything may have happened."""
        while not self._closing.is_set():
            try:
                for event in self._engine.events(self._label()):
                    if not event:
                        self._connected_again()
                    else:
                        self._take_event(event)
            except (EngineUnreachableError, EngineError) as error:
                if not self._closing.is_set():
                    _log.warning("Docker's events have ended (%s); connecting again", error)
            self._closing.wait(_RETRY_SECONDS)

    def _connected_again(self) -> None:
        if not self._watching.is_set():
            self._watching.set()
            return
        self._info = self._engine.info()
        with self._lock:
            known = tuple(self._ids)
        for ref in known:
            self._look_at(ref)

    def _take_event(self, event: dict[str, Any]) -> None:
        actor = event["Actor"]
        ref = ref_of(actor["Attributes"])
        if ref is None or self._find(ref) not in {None, actor["ID"]}:
            return
        with self._lock:
            if event["Action"] != "destroy":
                self._ids[ref] = actor["ID"]
            if event["Action"] == "die":
                code = int(actor["Attributes"].get("exitCode", 0))
                self._last_words[ref] = ContainerSnapshot(ref, Condition.EXITED, runtime_id=actor["ID"], exit_code=code)
        self._look_at(ref)

    def _look_at(self, ref: ContainerRef) -> None:
        """Not on the thread of the events: one container that Docker hangs at must not hide what the others do.

        One look at a time, so that no older one is told after a newer one.
        """
        with self._lock:
            if ref in self._looks:
                self._looks[ref] = True
                return
            self._looks[ref] = False
        self._submit(self._look, ref)

    def _look(self, ref: ContainerRef) -> None:
        while not self._closing.is_set():
            try:
                self._tell(ref)
            except EngineTimeoutError as error:
                _log.warning("%s; trying again", error)
                self._submit(self._look, ref)
                return
            except (EngineUnreachableError, EngineError):
                self._closing.wait(_RETRY_SECONDS)
                continue
            with self._lock:
                if not self._looks[ref]:
                    del self._looks[ref]
                    return
                self._looks[ref] = False

    def _submit(self, call: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # closed: the next agent looks at everything
            self._calls.submit(call, *arguments)
