"""What the containers of this machine have written, found without their agent."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ecs_anywhere_agent.container_spec import Origin
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime import process_files
from ecs_anywhere_agent.runtime.docker_container import snapshot_of
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError, EngineUnreachableError, find_engine
from ecs_anywhere_agent.runtime.docker_labels import owner_label
from ecs_anywhere_agent.runtime.process_log import read_log


class Written(NamedTuple):
    """A piece of output, as it was written: neither whole lines nor whole characters."""

    to_stderr: bool
    content: bytes


Read = Callable[[int | None, bool], Iterator[Written]]
"""How many of the last lines, None for all; and whether to go on until the container ends."""


class ContainerLog(NamedTuple):
    """What one container writes."""

    ref: ContainerRef
    task_definition: str
    read: Read


class UnreadableLogError(Exception):
    """Docker does not give what was written; the text says why."""


class Found(NamedTuple):
    """All the logs, by task and name; and why Docker's are not among them, if so."""

    logs: tuple[ContainerLog, ...]
    without_docker: str | None = None


def find_logs(data_dir: Path) -> Found:
    """Of the containers of both runtimes: an agent may have been started with the other one before."""
    of_processes = _of_processes(data_dir)
    try:
        of_docker = _of_docker(data_dir)
    except (EngineUnreachableError, EngineError) as error:
        return Found(tuple(of_processes), without_docker=str(error))
    return Found((*of_processes, *of_docker))


def _of_processes(data_dir: Path) -> Iterator[ContainerLog]:
    root = data_dir / "containers"
    try:
        os.listdir(root)  # noqa: PTH208 - glob would find nothing where another user may not look
    except FileNotFoundError:
        return
    for directory in sorted(root.glob("*/*")):
        spec = process_files.read(directory / process_files.SPEC)
        if spec is not None:
            ref = ContainerRef(directory.parent.name, directory.name)
            yield ContainerLog(ref, Origin.from_json(spec["origin"]).task_definition, partial(_read_process, directory))


def _of_docker(data_dir: Path) -> list[ContainerLog]:
    engine = find_engine()
    logs = []
    for listed in engine.containers(owner_label(str(data_dir.resolve()))):
        container = listed["Id"]
        inspected = engine.inspect(container)
        snapshot = None if inspected is None else snapshot_of(inspected)
        if inspected is not None and snapshot is not None and snapshot.origin is not None:
            read = partial(_read_docker, engine, container, bool(inspected["Config"].get("Tty")))
            logs.append(ContainerLog(snapshot.ref, snapshot.origin.task_definition, read))
    return sorted(logs, key=lambda log: log.ref)


def _read_process(directory: Path, tail: int | None, follow: bool) -> Iterator[Written]:
    """The process runtime's containers have one file for both."""
    for content in read_log(directory, tail=tail, follow=follow):
        yield Written(False, content)


def _read_docker(engine: Engine, container: str, tty: bool, tail: int | None, follow: bool) -> Iterator[Written]:
    try:
        for to_stderr, content in engine.logs(container, tty=tty, tail=tail, follow=follow):
            yield Written(to_stderr, content)
    except (EngineUnreachableError, EngineError) as error:
        raise UnreadableLogError(f"Docker does not give what was written: {error}") from error
