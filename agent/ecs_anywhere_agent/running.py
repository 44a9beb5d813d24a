"""Puts the agent together: identity, store, runtime, connection."""

import logging
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.agent import Agent
from ecs_anywhere_agent.clean_up import CleanUp
from ecs_anywhere_agent.core import Rules
from ecs_anywhere_agent.core.actions import RemoveContainer, StopContainer
from ecs_anywhere_agent.core.events import Condition, ContainerChanged
from ecs_anywhere_agent.endpoint.answers import Answers, World
from ecs_anywhere_agent.endpoint.endpoint import Endpoint
from ecs_anywhere_agent.endpoint.limiting import Rate
from ecs_anywhere_agent.execution_role import ExecutionRoles
from ecs_anywhere_agent.identity import identity_files
from ecs_anywhere_agent.leaving import Leaving
from ecs_anywhere_agent.local_api import LocalApi
from ecs_anywhere_agent.machine import boot_id_of, describe_machine
from ecs_anywhere_agent.mqtt import MqttLink, tls_context
from ecs_anywhere_agent.overview import answers
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.rotating import Rotation
from ecs_anywhere_agent.runtime.cgroups import find_cgroups
from ecs_anywhere_agent.runtime.interface import Runtime, RuntimeUnavailableError
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from ecs_anywhere_agent.runtime.process_view import ProcessView
from ecs_anywhere_agent.runtime.view import View
from ecs_anywhere_agent.same_machine import ensure_identity
from ecs_anywhere_agent.settings import DEFAULTS, Settings, SettingsError
from ecs_anywhere_agent.settings.owner import withheld_attributes, withheld_features
from ecs_anywhere_agent.single import only_one
from ecs_anywhere_agent.store import STATE, open_store
from ecs_anywhere_agent.streams.open_streams import OpenStreams
from ecs_protocol.messages import Attribute, HostPort, RegisterContainerInstance

_log = logging.getLogger("ecs_anywhere_agent")
_KILLED_WITHIN_SECONDS = 10.0


def run_agent(
    data_dir: Path,
    runtime_name: str,
    attributes: Sequence[Attribute],
    settings: Settings,
    *,
    keep_alive_seconds: int,
    keep_tasks: bool = False,
    same_machine: bool = False,
    end_on: Sequence[signal.Signals],
) -> None:
    """Until one of the signals.

    Raises NoIdentityError, OtherMachineError, RegistrationError, RuntimeUnavailableError, AlreadyRunningError,
    SettingsError.
    """
    files = identity_files(data_dir)
    with only_one(data_dir):
        ensure_identity(data_dir, same_machine=same_machine)
        identity = files.load()
        require_cluster(settings, identity.cluster)
        credentials = HeldCredentials()
        endpoint = Endpoint.open(data_dir)
        runtime = make_runtime(runtime_name, data_dir, settings, credentials=credentials, endpoint=endpoint)
        store = open_store(data_dir / STATE)
        agent = Agent(store, runtime, rules_of(settings), credentials)
        agent.start(identity.container_instance_arn)
        for number in end_on:
            signal.signal(number, lambda *_: agent.end())

        of_settings = (Attribute(name=name, value=value) for name, value in settings.instance_attributes)
        own_attributes = (*of_settings, *attributes)

        def describe() -> RegisterContainerInstance:
            return describe_machine(
                runtime.facts(),
                (*identity.attributes, *own_attributes),
                own_ports=agent.own_ports(),
                owns_process=runtime.owns_process,
                reserved_memory=settings.reserved_memory,
                reserved_ports=reserved_ports(settings),
                withheld=withheld_features(settings),
                tags=dict(settings.tags),
                boot_id=boot_id_of(data_dir),
            )

        leaving = Leaving(agent, files, keep_tasks=keep_tasks)
        streams = OpenStreams(data_dir, identity.topics.commands, agent.task)
        link = MqttLink(
            identity,
            Rotation(files, lambda shown: tls_context(files, identity, shown), elapsed=lambda: agent.now().elapsed),
            keep_alive_seconds=keep_alive_seconds,
            describe=describe,
            emit=agent.emit,
            elapsed=lambda: agent.now().elapsed,
            streams=streams,
            deregistered=lambda: leaving.begin(link),
        )
        agent.publish_with(link.request, link.report)
        clean_up = CleanUp(runtime, data_dir, settings, state=lambda: agent.state, emit=agent.emit)
        _log.info("%s in cluster %s, runtime %s", identity.container_instance_arn, identity.cluster, runtime_name)
        view = make_view(runtime_name, data_dir)
        world = World(
            state=lambda: agent.state,
            now=agent.now,
            cut_off_since=agent.cut_off_since,
            held=credentials,
            view=view,
        )
        try:
            with (
                endpoint.serving(Answers(endpoint.identifiers, world, Rate(*settings.metadata_rates))),
                LocalApi(data_dir, answers(agent, identity.cluster)),
            ):
                link.start()
                clean_up.start()
                try:
                    agent.run()
                finally:
                    view.close()
                    clean_up.close()
                    streams.close()
                    link.close()
        finally:
            endpoint.close()
            runtime.close()
            store.close()
        _log.info("ended; tasks keep running")


def rules_of(settings: Settings) -> Rules:
    return Rules(
        keep_stopped=settings.task_cleanup_wait,
        keep_stopped_jitter=settings.task_cleanup_jitter,
        stop_timeout=max(round(settings.container_stop_timeout), 1),
        pull_upfront=settings.pull_upfront,
        withheld=withheld_attributes(withheld_features(settings)),
    )


def reserved_ports(settings: Settings) -> tuple[HostPort, ...]:
    return (
        *(HostPort(port=port, protocol="tcp") for port in settings.reserved_ports),
        *(HostPort(port=port, protocol="udp") for port in settings.reserved_ports_udp),
    )


def require_cluster(settings: Settings, cluster: str) -> None:
    """Amazon's agent, too, does not start when the cluster that it is told is not the one that it joined.

    Raises SettingsError.
    """
    wanted = (settings.cluster or cluster).rpartition("/")[2]
    if wanted != cluster:
        raise SettingsError(
            f"ECS_CLUSTER is {settings.cluster}, but this machine was registered in cluster {cluster}. Register it "
            f"with an activation of {wanted}, or take ECS_CLUSTER away"
        )


def make_runtime(
    name: str,
    data_dir: Path,
    settings: Settings,
    *,
    credentials: HeldCredentials | None = None,
    endpoint: Endpoint | None = None,
) -> Runtime:
    """`credentials`: of tasks' roles; None: nothing is to be started. `endpoint` is what containers are told of; None:
    nothing.

    Raises RuntimeUnavailableError.
    """
    roles = ExecutionRoles(credentials or HeldCredentials())
    if name == "docker":
        from ecs_anywhere_agent.runtime.docker import DockerRuntime  # noqa: PLC0415 - only where it is used
        from ecs_anywhere_agent.runtime.docker_images import PullBehavior  # noqa: PLC0415

        pull = PullBehavior(settings.pull_behavior)
        return DockerRuntime.connect(data_dir, pull=pull, settings=settings, endpoint=endpoint, roles=roles)
    cgroups = find_cgroups()
    if cgroups is None:
        _log.warning(
            "CPU and memory limits of tasks are not enforced: this user may make no cgroup here "
            "(run the agent as root, or delegate it one); announced as ecs-anywhere.limits=none"
        )
    return ProcessRuntime(data_dir, cgroups, endpoint, roles)


def make_view(name: str, data_dir: Path) -> View:
    if name == "docker":
        from ecs_anywhere_agent.runtime.docker_engine import find_engine  # noqa: PLC0415 - only where it is used
        from ecs_anywhere_agent.runtime.docker_view import DockerView  # noqa: PLC0415

        return DockerView(find_engine())
    return ProcessView(data_dir, find_cgroups())


def stop_tasks(data_dir: Path, timeout_seconds: float | None) -> int:
    """Stop and remove all that this data directory's agent started. How many containers ran.

    Raises AlreadyRunningError, RuntimeUnavailableError.
    """
    with only_one(data_dir):
        count = _stop_all(ProcessRuntime(data_dir, find_cgroups()), timeout_seconds)
        try:
            docker = make_runtime("docker", data_dir, DEFAULTS)
        except RuntimeUnavailableError:
            return count
        return count + _stop_all(docker, timeout_seconds)


def _stop_all(runtime: Runtime, timeout_seconds: float | None) -> int:
    changed = threading.Condition()
    running: dict[Any, float] = {}

    def emit(event: object) -> None:
        if isinstance(event, ContainerChanged) and event.snapshot.condition in {Condition.EXITED, Condition.GONE}:
            with changed:
                running.pop(event.snapshot.ref, None)
                changed.notify()

    inventory = runtime.open(emit)
    with changed:
        for snapshot in inventory:
            if snapshot.condition is Condition.RUNNING:
                own_timeout = 30 if snapshot.origin is None else snapshot.origin.stop_timeout
                running[snapshot.ref] = time.monotonic() + (own_timeout if timeout_seconds is None else timeout_seconds)
        count = len(running)
        for ref in running:
            runtime.perform(StopContainer(ref))
        killed_at = max(running.values(), default=0.0)
        while running and time.monotonic() < killed_at + _KILLED_WITHIN_SECONDS:
            for ref, deadline in running.items():
                if deadline <= time.monotonic():
                    runtime.perform(StopContainer(ref, kill=True))
            changed.wait(0.2)
    for snapshot in inventory:
        runtime.perform(RemoveContainer(snapshot.ref))
    runtime.close(finish=True)
    return count
