"""What a task has on Docker besides its containers, which need it: made before them, and gone with the last one.

Volumes, the containers that hold its namespaces, its control group, its log router's files. And with all of it, how a
container is to be made.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.endpoint.endpoint import Endpoint
from ecs_anywhere_agent.execution_role import Fetched
from ecs_anywhere_agent.runtime.docker_config import container_config
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_firelens import RouterFiles
from ecs_anywhere_agent.runtime.docker_images import variables_of
from ecs_anywhere_agent.runtime.docker_labels import ref_of, task_label
from ecs_anywhere_agent.runtime.docker_logs import completed
from ecs_anywhere_agent.runtime.docker_pause import Pauses
from ecs_anywhere_agent.runtime.docker_ports import PortRanges
from ecs_anywhere_agent.runtime.docker_sight import Sight
from ecs_anywhere_agent.runtime.docker_tasks import TaskCgroups
from ecs_anywhere_agent.runtime.docker_volumes import Volumes
from ecs_anywhere_agent.settings import Settings


class Belongings:
    """For threads. Calls may raise EngineUnreachableError and EngineError."""

    def __init__(
        self, engine: Engine, info: Mapping[str, Any], data_dir: str, settings: Settings, *, endpoint: Endpoint | None
    ) -> None:
        """`info` is the Engine's."""
        self._engine = engine
        self._data_dir = data_dir
        self._endpoint = endpoint
        self._gpu_runtime = settings.nvidia_runtime
        self._volumes = Volumes(engine, data_dir, match_shared=settings.shared_volumes_match)
        self._pauses = Pauses(engine, data_dir)
        self._port_ranges = PortRanges()
        self._router_files = RouterFiles(
            data_dir, has_containers=lambda task_id: bool(engine.containers(task_label(task_id)))
        )
        self._task_cgroups = TaskCgroups.find(info)

    @property
    def limits_tasks(self) -> bool:
        return self._task_cgroups is not None

    def adopt(self, listed: Sequence[Mapping[str, Any]]) -> None:
        """Those of the containers that there are; what others have left behind goes."""
        self._pauses.adopt(listed)
        task_ids = {ref.task_id for each in listed if (ref := ref_of(each["Labels"]))}
        self._volumes.remove_leftovers(task_ids)
        self._router_files.remove_leftovers(task_ids)

    def config(self, ref: ContainerRef, given: ContainerSpec, fetched: Fetched, sight: Sight) -> dict[str, Any]:
        """The body of a container's create request, once what it needs is there.

        Raises CannotCreateVolumeError, NoFreePortsError, OSError.
        """
        spec = fetched.into(given)
        self._volumes.prepare(ref.task_id, spec)
        if spec.routes_logs:
            self._router_files.prepare(ref.task_id, spec.routes_logs, fetched.objects)
        spec = self._pauses.prepare(ref.task_id, spec)
        parent = None if self._task_cgroups is None else self._task_cgroups.prepare(ref.task_id, spec.task_limits)
        starts = self._port_ranges.choose(spec.network.port_ranges) if spec.network_mode == "bridge" else {}
        return container_config(
            ref,
            self._told(ref, spec),
            self._data_dir,
            cgroup_parent=parent,
            range_starts=starts,
            gpu_runtime=self._gpu_runtime,
            log_router_address=_address_of_router(ref, spec, sight),
        )

    def restore(self, inspected: Mapping[str, Any]) -> None:
        """Before a container is started again: a reboot takes some of it away. `inspected` is the container's."""
        self._pauses.restore(inspected)
        if self._task_cgroups is not None:
            self._task_cgroups.restore(inspected)

    def remove_of(self, task_id: str) -> None:
        """As far as no container of the task needs it any more."""
        self._volumes.remove_of(task_id)
        self._pauses.remove(task_id)
        self._router_files.remove_of(task_id)
        if self._task_cgroups is not None:
            self._task_cgroups.remove(task_id)

    def _told(self, ref: ContainerRef, spec: ContainerSpec) -> ContainerSpec:
        """With what the agent itself says to the container and to its log driver."""
        if self._endpoint is not None:
            spec = self._endpoint.told(ref, spec, variables_of(self._engine.image(spec.image)))
        if spec.logs is None:
            return spec
        endpoint = None if spec.execution_role is None else self._endpoint
        credentials = None if endpoint is None else endpoint.of_log_driver(ref.task_id)
        return spec._replace(logs=completed(spec.logs, ref, credentials, os.environ))


def _address_of_router(ref: ContainerRef, spec: ContainerSpec, sight: Sight) -> str | None:
    """None where the container has none, shares the machine's network with it, or does not wait for it."""
    if spec.log_router is None or spec.network_mode != "bridge":
        return None
    router = sight.inspect(ContainerRef(ref.task_id, spec.log_router))
    networks = router["NetworkSettings"]["Networks"].values() if router else ()
    return next((each["IPAddress"] for each in networks if each["IPAddress"]), None)
