"""The Docker runtime."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.container_spec import ContainerSpec
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
from ecs_anywhere_agent.execution_role import CannotFetchError, ExecutionRoles, Fetched, NoEcrTokenError, hidden
from ecs_anywhere_agent.registry_auth import registry_auth
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.runtime.docker_actions import Actions
from ecs_anywhere_agent.runtime.docker_config import container_config, container_name
from ecs_anywhere_agent.runtime.docker_container import digest_of
from ecs_anywhere_agent.runtime.docker_engine import (
    Engine,
    EngineError,
    EngineUnreachableError,
    Patience,
    find_engine,
)
from ecs_anywhere_agent.runtime.docker_features import features_of, is_rootless
from ecs_anywhere_agent.runtime.docker_firelens import RouterFiles, can_route_logs
from ecs_anywhere_agent.runtime.docker_gpus import GpuSettings, find_gpus
from ecs_anywhere_agent.runtime.docker_images import CannotPullError, Images, PullBehavior, variables_of
from ecs_anywhere_agent.runtime.docker_labels import owner_label, ref_of, secret_log_options, task_label
from ecs_anywhere_agent.runtime.docker_logs import completed
from ecs_anywhere_agent.runtime.docker_pause import Pauses
from ecs_anywhere_agent.runtime.docker_ports import NoFreePortsError, PortRanges
from ecs_anywhere_agent.runtime.docker_sight import Sight
from ecs_anywhere_agent.runtime.docker_tasks import TaskCgroups
from ecs_anywhere_agent.runtime.docker_volumes import CannotCreateVolumeError, Volumes
from ecs_anywhere_agent.runtime.image_cleaning import ImageCleaning
from ecs_anywhere_agent.runtime.image_memory import FILE, ImageMemory
from ecs_anywhere_agent.runtime.interface import Emit, RuntimeFacts, RuntimeUnavailableError
from ecs_anywhere_agent.settings import DEFAULTS, Settings

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_FAILED_PULLS: Mapping[type[Exception], Attempt] = {
    CannotPullError: Attempt.PULL,
    NoEcrTokenError: Attempt.PULL_ECR,
    CannotFetchError: Attempt.RESOURCES,
}


class DockerRuntime:
    """See interface.py."""

    def __init__(
        self,
        engine: Engine,
        info: dict[str, Any],
        data_dir: Path,
        pull: PullBehavior,
        pull_pause_seconds: float,
        *,
        settings: Settings = DEFAULTS,
        endpoint: Endpoint | None = None,
        roles: ExecutionRoles | None = None,
    ) -> None:
        """`roles`: None: nobody has one."""
        self._engine = engine
        self._endpoint = endpoint
        self._info = info
        self._data_dir = str(data_dir.resolve())
        self._label = owner_label(self._data_dir)
        self._roles = roles or ExecutionRoles(HeldCredentials())
        self._closing = threading.Event()
        self._actions = Actions(self._do, self._closing)
        self._memory = ImageMemory(data_dir / FILE)
        credentials = registry_auth(settings).credentials
        self._images = Images(
            engine, pull, pull_pause_seconds, self._closing, memory=self._memory, credentials=credentials
        )
        self._cleaning = ImageCleaning(engine, self._images, self._memory, settings)
        self._volumes = Volumes(engine, self._data_dir, match_shared=settings.shared_volumes_match)
        self._pauses = Pauses(engine, self._data_dir)
        self._port_ranges = PortRanges()
        self._gpus = GpuSettings(settings.gpus, settings.nvidia_runtime)
        self._router_files = RouterFiles(
            self._data_dir, has_containers=lambda task_id: bool(engine.containers(task_label(task_id)))
        )
        self._task_cgroups = TaskCgroups.find(info)
        self._lock = threading.Lock()
        self._never_started: set[ContainerRef] = set()
        """Created by this process, which has not tried to start them: nobody else does, so it need not ask."""
        self._sight = Sight(engine, self._actions.submit, self._closing)
        self._events = threading.Thread(target=self._watch, name="docker-events", daemon=True)
        self._watching = threading.Event()

    @classmethod
    def connect(
        cls,
        data_dir: Path,
        *,
        pull: PullBehavior = PullBehavior.DEFAULT,
        pull_pause_seconds: float = 1.0,
        settings: Settings = DEFAULTS,
        endpoint: Endpoint | None = None,
        roles: ExecutionRoles | None = None,
    ) -> "DockerRuntime":
        """The pause before a failed pull is tried again doubles each time. Raises RuntimeUnavailableError."""
        try:
            engine = find_engine(Patience.of(settings))
            info = engine.info()
            if endpoint is not None:
                endpoint.serve_docker(None if is_rootless(info) else engine.bridge_gateway())
            return cls(
                engine, info, data_dir, pull, pull_pause_seconds, settings=settings, endpoint=endpoint, roles=roles
            )
        except (EngineUnreachableError, EngineError) as error:
            raise RuntimeUnavailableError(
                f"Docker cannot be used ({error}). Install and start Docker Engine "
                "(https://docs.docker.com/engine/install/) and let this user reach it, or run the agent with "
                "`--runtime process`, which needs no Docker"
            ) from error

    def open(self, emit: Emit) -> tuple[ContainerSnapshot, ...]:
        self._sight.emit = emit
        self._events.start()
        self._watching.wait(timeout=30)
        try:
            listed = self._engine.containers(self._label)
            self._pauses.adopt(listed)
            task_ids = {ref.task_id for each in listed if (ref := ref_of(each["Labels"]))}
            self._volumes.remove_leftovers(task_ids)
            self._router_files.remove_leftovers(task_ids)
            snapshots = [self._sight.first_look(each) for each in listed]
        except (EngineUnreachableError, EngineError) as error:
            raise RuntimeUnavailableError(f"Docker stopped answering ({error}); start it and try again") from error
        return tuple(snapshot for snapshot in snapshots if snapshot is not None)

    def facts(self) -> RuntimeFacts:
        gpu_ids = find_gpus(self._gpus, self._info)
        features = features_of(
            self._info,
            limits_tasks=self._task_cgroups is not None,
            gpus=bool(gpu_ids),
            served=frozenset() if self._endpoint is None else self._endpoint.features,
            routes_logs=can_route_logs(self._data_dir),
        )
        return RuntimeFacts(features, docker_version=self._info["ServerVersion"], gpu_ids=gpu_ids)

    def perform(self, action: RuntimeAction) -> None:
        self._actions.begin(action)

    def owns_process(self, pid: int) -> bool:
        return False

    def storage(self) -> Path | None:
        return Path(self._info["DockerRootDir"])

    def clean_up(self, needed_images: Callable[[], frozenset[str]], pressed: Callable[[], bool] | None) -> None:
        try:
            self._cleaning.clean(needed_images, pressed)
        except (EngineUnreachableError, EngineError) as error:
            _log.info("images were not cleaned up: %s", error)

    def close(self, *, finish: bool = False) -> None:
        if finish:
            self._actions.finish()
        self._closing.set()
        self._roles.close()
        self._actions.drop()
        self._engine.close()
        self._actions.wait()
        if self._events.is_alive():
            self._events.join(timeout=5)
        self._memory.close()

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
        registry = action.registry
        try:
            image = self._images.obtain(
                action.image, lambda: None if registry is None else self._roles.login(action.ref.task_id, registry)
            )
        except (CannotPullError, NoEcrTokenError, CannotFetchError) as error:
            self._sight.emit(ActionFailed(action.ref, _FAILED_PULLS[type(error)], str(error)))
            return
        self._sight.emit(ImagePulled(action.ref, None if image is None else digest_of(image, action.image)))

    def _create(self, action: CreateContainer) -> None:
        name = container_name(action.ref, action.spec)
        try:
            fetched = self._roles.fetch(action.ref.task_id, action.spec)
        except CannotFetchError as error:
            self._sight.emit(ActionFailed(action.ref, Attempt.RESOURCES, str(error)))
            return
        try:
            container = self._engine.create(name, self._config(action, fetched))
        except CannotCreateVolumeError as error:
            self._sight.emit(ActionFailed(action.ref, Attempt.CREATE_VOLUME, str(error)))
            return
        except (EngineError, NoFreePortsError, OSError) as error:
            in_use = isinstance(error, EngineError) and error.status == 409
            existing = self._engine.inspect(name) if in_use else None
            if existing is None:
                self._sight.emit(ActionFailed(action.ref, Attempt.CREATE, fetched.hidden_in(str(error))))
                return
            self._sight.remember(action.ref, existing["Id"])
            self._sight.tell(action.ref)
            return
        self._sight.remember(action.ref, container)
        with self._lock:
            self._never_started.add(action.ref)
        self._sight.emit(ContainerChanged(ContainerSnapshot(action.ref, Condition.CREATED, runtime_id=container)))

    def _config(self, action: CreateContainer, fetched: Fetched) -> dict[str, Any]:
        """What the container needs is made first."""
        ref, spec = action.ref, fetched.into(action.spec)
        self._volumes.prepare(ref.task_id, spec)
        if spec.routes_logs:
            self._router_files.prepare(ref.task_id, spec.routes_logs, fetched.objects)
        spec = self._pauses.prepare(ref.task_id, spec)
        parent = None if self._task_cgroups is None else self._task_cgroups.prepare(ref.task_id, spec.task_limits)
        starts = self._port_ranges.choose(spec.network.port_ranges) if spec.network_mode == "bridge" else {}
        if self._endpoint is not None:
            spec = self._endpoint.told(ref, spec, variables_of(self._engine.image(spec.image)))
        if spec.logs is not None:
            endpoint = None if spec.execution_role is None else self._endpoint
            credentials = None if endpoint is None else endpoint.of_log_driver(ref.task_id)
            spec = spec._replace(logs=completed(spec.logs, ref, credentials, os.environ))
        return container_config(
            ref,
            spec,
            self._data_dir,
            cgroup_parent=parent,
            range_starts=starts,
            gpu_runtime=self._gpus.runtime,
            log_router_address=self._address_of_router(ref, spec),
        )

    def _address_of_router(self, ref: ContainerRef, spec: ContainerSpec) -> str | None:
        """None where the container has none, shares the machine's network with it, or does not wait for it."""
        if spec.log_router is None or spec.network_mode != "bridge":
            return None
        router = self._sight.inspect(ContainerRef(ref.task_id, spec.log_router))
        networks = router["NetworkSettings"]["Networks"].values() if router else ()
        return next((each["IPAddress"] for each in networks if each["IPAddress"]), None)

    def _remove(self, ref: ContainerRef) -> None:
        """With the last of its containers goes what is the task's own."""
        container = self._sight.find(ref)
        if container is not None:
            with suppress(EngineError):
                self._engine.remove(container)
        self._sight.forget(ref)
        with self._lock:
            self._never_started.discard(ref)
        self._volumes.remove_of(ref.task_id)
        self._pauses.remove(ref.task_id)
        self._router_files.remove_of(ref.task_id)
        if self._task_cgroups is not None:
            self._task_cgroups.remove(ref.task_id)

    def _start(self, ref: ContainerRef) -> None:
        container = self._sight.find(ref)
        with self._lock:
            fresh = ref in self._never_started
            # Before the call: one whose answer is lost may have started it, and it may have ended since.
            self._never_started.discard(ref)
        if container is not None and fresh:
            self._try_to_start(ref, container)
            return
        inspected = self._sight.inspect(ref)
        if inspected is not None and inspected["State"]["Status"] == "created":
            self._try_to_start(ref, inspected["Id"], inspected)
        else:
            self._sight.tell(ref)

    def _restart(self, ref: ContainerRef) -> None:
        inspected = self._sight.inspect(ref)
        if inspected is not None and not inspected["State"]["Running"]:
            self._try_to_start(ref, inspected["Id"], inspected)
        else:
            self._sight.tell(ref)

    def _try_to_start(self, ref: ContainerRef, container: str, inspected: dict[str, Any] | None = None) -> None:
        if inspected is not None:
            self._pauses.restore(inspected)
            if self._task_cgroups is not None:
                self._task_cgroups.restore(inspected)
        try:
            self._engine.start(container)
        except EngineError as error:
            failed = self._engine.inspect(container)
            if failed is not None:
                # The log driver is told its options only now.
                reason = hidden(secret_log_options(failed), str(error))
                self._sight.emit(ActionFailed(ref, Attempt.START, reason))
                return
        self._sight.tell(ref)

    def _stop(self, ref: ContainerRef, *, kill: bool) -> None:
        inspected = self._sight.inspect(ref)
        if inspected is None or not inspected["State"]["Running"]:
            self._sight.tell(ref)
            return
        signal = "SIGKILL" if kill else inspected["Config"].get("StopSignal") or "SIGTERM"
        try:
            self._engine.kill(inspected["Id"], signal)
        except EngineError as error:
            _log.info("%s of task %s: %s", ref.name, ref.task_id, error)
            self._sight.tell(ref)

    def _watch(self) -> None:
        """The Engine's events, for ever. After a gap every container is looked at: anything may have happened."""
        while not self._closing.is_set():
            try:
                for event in self._engine.events(self._label):
                    if not event:
                        self._connected_again()
                    else:
                        self._sight.take_event(event)
            except (EngineUnreachableError, EngineError) as error:
                if not self._closing.is_set():
                    _log.warning("Docker's events have ended (%s); connecting again", error)
            self._closing.wait(_RETRY_SECONDS)

    def _connected_again(self) -> None:
        if not self._watching.is_set():
            self._watching.set()
            return
        self._info = self._engine.info()
        self._sight.look_at_all()
