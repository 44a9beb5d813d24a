"""The process runtime: a container is a process of the host, for machines too small or too locked down for Docker.

<data dir>/containers/<task id>/<container>/
    spec.json    what to run, written when the container is created; values of secrets only sealed (sealing.py)
    keeper.json, child.json, exit.json    see keeper.py
    log          stdout and stderr
"""

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
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
from ecs_anywhere_agent.endpoint.endpoint import Endpoint
from ecs_anywhere_agent.execution_role import CannotFetchError, ExecutionRoles, Fetched
from ecs_anywhere_agent.identity import identity_files
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.runtime import launching, process_files
from ecs_anywhere_agent.runtime.cgroups import Cgroups, Limits
from ecs_anywhere_agent.runtime.exits import ExitWatcher
from ecs_anywhere_agent.runtime.health_checker import HealthChecker, probe_of
from ecs_anywhere_agent.runtime.interface import Emit, RuntimeFacts
from ecs_anywhere_agent.sealing import CannotUnsealError, Sealing
from ecs_protocol.capabilities import PROCESS_FEATURES
from ecs_protocol.messages import Attribute

_KILLED = 128 + 9
_SEALED = "sealed_environment"
NO_LIMITS = Attribute(name="ecs-anywhere.limits", value="none")


class ProcessRuntime:
    """See the module."""

    def __init__(
        self,
        data_dir: Path,
        cgroups: Cgroups | None,
        endpoint: Endpoint | None = None,
        roles: ExecutionRoles | None = None,
    ) -> None:
        """`roles`: None: nobody has one."""
        self._root = data_dir / "containers"
        self._endpoint = endpoint
        self._roles = roles or ExecutionRoles(HeldCredentials())
        self._sealing = Sealing(identity_files(data_dir))
        self._cgroups = cgroups
        self._emit: Emit = lambda _: None
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="process")
        self._fetches = ThreadPoolExecutor(max_workers=4, thread_name_prefix="fetch")
        """For what is made only once AWS has answered, so that nothing else waits for the network."""
        self._watcher = ExitWatcher(self._look_again)
        self._health = HealthChecker(self._health_changed)
        self._locks: dict[ContainerRef, threading.Lock] = {}
        self._sessions_lock = threading.Lock()
        self._sessions: dict[ContainerRef, int] = {}

    def open(self, emit: Emit) -> tuple[ContainerSnapshot, ...]:
        self._emit = emit
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._watcher.start()
        self._health.start()
        snapshots = []
        for directory in sorted(self._root.glob("*/*")):
            ref = ContainerRef(directory.parent.name, directory.name)
            snapshot = self._look(ref)
            if snapshot is None:
                shutil.rmtree(directory, ignore_errors=True)
            else:
                snapshots.append(snapshot)
        return tuple(snapshots)

    def facts(self) -> RuntimeFacts:
        may = {
            "other-user": os.geteuid() == 0,
            "ulimits": launching.may_raise_limits(),
            "task-limits": self._cgroups is not None,
        }
        features = PROCESS_FEATURES | {feature for feature, able in may.items() if able}
        return RuntimeFacts(features, attributes=() if self._cgroups else (NO_LIMITS,))

    def perform(self, action: RuntimeAction) -> None:
        if isinstance(action, PullImage):
            self._emit(ImagePulled(action.ref))
            return
        work: Callable[[], None]
        match action:
            case CreateContainer():
                work = lambda: self._create(action)  # noqa: E731
            case StartContainer():
                work = lambda: self._start(action.ref)  # noqa: E731
            case RestartContainer():
                work = lambda: self._restart(action.ref)  # noqa: E731
            case StopContainer():
                work = lambda: self._stop(action.ref, kill=action.kill)  # noqa: E731
            case RemoveContainer():
                work = lambda: self._remove(action.ref)  # noqa: E731
        fetches = isinstance(action, CreateContainer) and action.spec.needs_execution_role
        (self._fetches if fetches else self._threads).submit(self._alone, action.ref, work)

    def owns_process(self, pid: int) -> bool:
        with suppress(OSError):
            session = os.getsid(pid)
            with self._sessions_lock:
                return session in self._sessions.values()
        return False

    def storage(self) -> Path | None:
        return None

    def clean_up(self, needed_images: Callable[[], frozenset[str]], pressed: Callable[[], bool] | None) -> None:
        """There are no images."""

    def close(self, *, finish: bool = False) -> None:
        del finish  # it always is
        self._roles.close()
        for pool in (self._fetches, self._threads):
            pool.shutdown(wait=True)
        self._watcher.close()
        self._health.close()

    def _alone(self, ref: ContainerRef, work: Callable[[], None]) -> None:
        """Nobody looks at a container while it is changed, and what is seen first is told first."""
        with self._locks.setdefault(ref, threading.Lock()):
            work()

    def _directory(self, ref: ContainerRef) -> Path:
        return self._root / ref.task_id / ref.name

    def _create(self, action: CreateContainer) -> None:
        directory = self._directory(action.ref)
        try:
            if not (directory / process_files.SPEC).exists():
                fetched = self._roles.fetch(action.ref.task_id, action.spec)
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                procs: tuple[str, ...] = ()
                if self._cgroups:
                    of_task = Limits.of_task(action.spec.task_limits)
                    procs = self._cgroups.make(action.ref, Limits.of(action.spec), of_task)
                spec = self._prepared(action, fetched, procs)
                process_files.write(directory / process_files.SPEC, json.dumps(spec))
        except CannotFetchError as error:
            self._emit(ActionFailed(action.ref, Attempt.RESOURCES, str(error)))
            return
        except (OSError, launching.NotRunnableError) as error:
            self._emit(ActionFailed(action.ref, Attempt.CREATE, str(error)))
            return
        snapshot = self._look(action.ref)
        if snapshot is not None:
            self._emit(ContainerChanged(snapshot))

    def _prepared(self, action: CreateContainer, fetched: Fetched, procs: tuple[str, ...]) -> dict[str, Any]:
        """What spec.json holds. Raises NotRunnableError, OSError."""
        ref, spec = action.ref, fetched.into(action.spec)
        if self._endpoint is not None:
            spec = self._endpoint.told(ref, spec)
        environment = dict(spec.environment)
        secret = {name: environment.pop(name) for name in fetched.environment}
        sealed = {_SEALED: self._sealing.seal(json.dumps(secret), "/".join(ref))} if secret else {}
        return {**launching.prepare(spec._replace(environment=tuple(environment.items())), procs), **sealed}

    def _environment(self, ref: ContainerRef, spec: Mapping[str, Any]) -> dict[str, str]:
        """Raises CannotUnsealError, OSError."""
        sealed = json.loads(self._sealing.unseal(spec[_SEALED], "/".join(ref))) if _SEALED in spec else {}
        return {**spec.get("environment", {}), **sealed}

    def _start(self, ref: ContainerRef) -> None:
        directory = self._directory(ref)
        if not (directory / process_files.KEEPER).exists():
            try:
                self._ensure_cgroup(ref, directory)
                spec = process_files.read(directory / process_files.SPEC) or {}
                keeper_pid = launching.launch(directory, self._environment(ref, spec))
                if keeper_pid is not None:
                    self._watcher.watch(ref, keeper_pid, os.pidfd_open(keeper_pid))
            except (OSError, ValueError, CannotUnsealError) as error:
                self._emit(ActionFailed(ref, Attempt.START, str(error)))
                return
        failure = process_files.start_failure(directory)
        if failure is not None:
            self._emit(ActionFailed(ref, Attempt.START, failure))
            return
        self._tell(ref)

    def _restart(self, ref: ContainerRef) -> None:
        directory = self._directory(ref)
        snapshot = process_files.read_snapshot(ref, directory)
        if snapshot is None:
            self._tell(ref)
            return
        # One that could not be made has ended, too, and what it lacked may be there by now.
        if snapshot.condition is Condition.EXITED or process_files.start_failure(directory) is not None:
            try:
                # While there is a keeper.json nobody can join the new cgroup, so that nothing that runs dies with the
                # old one, whose count of kills for memory the new run must not inherit.
                self._make_cgroup(ref, directory)
                process_files.forget_run(directory)
            except OSError as error:
                self._emit(ActionFailed(ref, Attempt.START, str(error)))
                return
        self._start(ref)

    def _ensure_cgroup(self, ref: ContainerRef, directory: Path) -> None:
        """A restart of the machine removes it."""
        spec = process_files.read(directory / process_files.SPEC) or {}
        if not all(Path(procs).exists() for procs in spec.get("cgroup_procs", ())):
            self._make_cgroup(ref, directory)

    def _make_cgroup(self, ref: ContainerRef, directory: Path) -> None:
        spec = process_files.read(directory / process_files.SPEC) or {}
        procs: tuple[str, ...] = ()
        if self._cgroups:
            of_task = Limits(*spec["task_limits"]) if spec.get("task_limits") else None
            procs = self._cgroups.make(ref, Limits(*spec.get("limits", ())), of_task)
        process_files.write(directory / process_files.SPEC, json.dumps({**spec, "cgroup_procs": procs}))

    def _stop(self, ref: ContainerRef, *, kill: bool) -> None:
        if not process_files.ask_keeper_to_stop(self._directory(ref), kill=kill):
            self._tell(ref)

    def _remove(self, ref: ContainerRef) -> None:
        directory = self._directory(ref)
        self._health.forget(ref)
        process_files.kill_and_wait(directory)
        if self._cgroups:
            self._cgroups.remove(ref)
            self._cgroups.remove_for_task(ref.task_id)
        shutil.rmtree(directory, ignore_errors=True)
        with suppress(OSError):
            directory.parent.rmdir()
        with self._sessions_lock:
            self._sessions.pop(ref, None)
        self._locks.pop(ref, None)

    def _tell(self, ref: ContainerRef) -> None:
        snapshot = self._look(ref) or ContainerSnapshot(ref, Condition.GONE)
        self._emit(ContainerChanged(snapshot))

    def _look(self, ref: ContainerRef) -> ContainerSnapshot | None:
        """The container as it is now; watches it if it runs."""
        directory = self._directory(ref)
        snapshot = process_files.read_snapshot(ref, directory)
        if snapshot is None:
            return None
        if snapshot.condition is Condition.RUNNING:
            with self._sessions_lock:
                self._sessions[ref] = process_files.session(directory)
            keeper = process_files.open_keeper(directory)
            if keeper is None:
                return self._look(ref)
            self._watcher.watch(ref, *keeper)
            return self._with_health(snapshot, directory)
        self._health.forget(ref)
        with self._sessions_lock:
            self._sessions.pop(ref, None)
        if snapshot.exit_code == _KILLED and self._cgroups and self._cgroups.killed_for_memory(ref):
            reason = "OutOfMemoryError: Container killed due to memory usage"
            return process_files.because(snapshot, reason)
        return snapshot

    def _with_health(self, snapshot: ContainerSnapshot, directory: Path) -> ContainerSnapshot:
        spec = process_files.read(directory / process_files.SPEC) or {}
        if not spec.get("health_check") or snapshot.run is None:
            return snapshot
        try:
            found = probe_of(spec, self._environment(snapshot.ref, spec))
        except (CannotUnsealError, OSError):
            return snapshot  # whoever has lost its identity cannot tell how it is
        age = process_files.age(directory)
        return replace(snapshot, health=self._health.check(snapshot.ref, snapshot.run, *found, age))

    def _health_changed(self, ref: ContainerRef) -> None:
        with suppress(RuntimeError):  # closed
            self._threads.submit(self._look_again, ref)

    def _look_again(self, ref: ContainerRef) -> None:
        """Something happened to this run or an earlier one; whatever it was, what is told is what is true now."""

        def tell_unless_removed() -> None:
            if self._directory(ref).exists():
                self._tell(ref)

        if self._directory(ref).exists():  # who was removed has no lock any more and shall get none
            self._alone(ref, tell_unless_removed)
