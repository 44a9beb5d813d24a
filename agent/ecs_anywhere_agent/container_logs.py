"""What the containers of this machine have written, found without their agent."""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

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


class Read(Protocol):
    """Gives how many of the last lines (None: all) and goes on, if that is wanted, until the container ends.

    `since`: only what was written after that, in seconds of the Unix epoch. Raises UnreadableLogError.
    """

    def __call__(self, tail: int | None, follow: bool, since: float | None = None, /) -> Iterator[Written]: ...


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
    close: Callable[[], None] = lambda: None
    """Ends whatever of them is being read, from any thread."""


def find_logs(data_dir: Path) -> Found:
    """Of the containers of both runtimes: an agent may have been started with the other one before."""
    closed = threading.Event()
    of_processes = _of_processes(data_dir, closed)
    try:
        engine = find_engine()
        of_docker = _of_docker(engine, data_dir)
    except (EngineUnreachableError, EngineError) as error:
        return Found(tuple(of_processes), without_docker=str(error), close=closed.set)

    def close() -> None:
        closed.set()
        engine.close()

    return Found((*of_processes, *of_docker), close=close)


def _of_processes(data_dir: Path, closed: threading.Event) -> Iterator[ContainerLog]:
    root = data_dir / "containers"
    try:
        os.listdir(root)  # noqa: PTH208 - glob would find nothing where another user may not look
    except FileNotFoundError:
        return
    for directory in sorted(root.glob("*/*")):
        spec = process_files.read(directory / process_files.SPEC)
        if spec is not None:
            ref = ContainerRef(directory.parent.name, directory.name)
            read = partial(_read_process, directory, closed)
            yield ContainerLog(ref, Origin.from_json(spec["origin"]).task_definition, read)


def _of_docker(engine: Engine, data_dir: Path) -> list[ContainerLog]:
    logs = []
    for listed in engine.containers(owner_label(str(data_dir.resolve()))):
        container = listed["Id"]
        inspected = engine.inspect(container)
        snapshot = None if inspected is None else snapshot_of(inspected)
        if inspected is not None and snapshot is not None and snapshot.origin is not None:
            read = partial(_read_docker, _Readable(engine, container, bool(inspected["Config"].get("Tty"))))
            logs.append(ContainerLog(snapshot.ref, snapshot.origin.task_definition, read))
    return sorted(logs, key=lambda log: log.ref)


def _read_process(
    directory: Path, closed: threading.Event, tail: int | None, follow: bool, since: float | None = None
) -> Iterator[Written]:
    """The process runtime's containers have one file for both."""
    if since is not None:
        raise UnreadableLogError("the log of a process has no times: ask for its last lines instead")
    for content in read_log(directory, tail=tail, follow=follow, closed=closed):
        yield Written(False, content)


class _Readable(NamedTuple):
    """A container of Docker's."""

    engine: Engine
    container: str
    tty: bool


def _read_docker(of: _Readable, tail: int | None, follow: bool, since: float | None = None) -> Iterator[Written]:
    try:
        for to_stderr, content in of.engine.logs(of.container, tty=of.tty, tail=tail, follow=follow, since=since):
            yield Written(to_stderr, content)
    except (EngineUnreachableError, EngineError) as error:
        raise UnreadableLogError(f"Docker does not give what was written: {error}") from error
