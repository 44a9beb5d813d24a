"""What becomes of the Docker runtime's work when the Engine hangs, dies or is another one afterwards."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ecs_anywhere_agent.core.actions import CreateContainer, StartContainer, StopContainer
from ecs_anywhere_agent.core.events import Condition, ContainerChanged, ContainerSnapshot
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker import DockerRuntime
from ecs_anywhere_agent.runtime.docker_engine import Engine, Patience
from ecs_anywhere_agent.runtime.docker_images import PullBehavior
from integration.agent.own_docker import OwnDocker
from integration.agent.runtimes import REF, Driver, eventually, spec

INFO = {"ServerVersion": "1"}

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]

OTHER = ContainerRef("b" * 32, "main")
HANGS_SECONDS = 1.0


class HangingEngine:
    """Passes calls on to the real Engine, and lets those hang whose first line matches, before or after it has them."""

    def __init__(self, directory: Path, target: str) -> None:
        self.path = str(directory / "docker.sock")
        self.before = self.after = "nothing hangs"
        self.hung = 0
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def _pass_on(self, caller: socket.socket) -> None:
        with caller, socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
            request = caller.recv(65536)
            line = request.split(b"\r\n")[0].decode()
            if re.search(self.before, line):
                self._hang(caller)
                return
            engine.connect(self._target)
            engine.sendall(request)
            if re.search(self.after, line):
                engine.recv(65536)
                self._hang(caller)
                return
            threading.Thread(target=self._copy, args=(caller, engine), daemon=True).start()
            self._copy(engine, caller)

    def _hang(self, caller: socket.socket) -> None:
        """Until the caller gives up."""
        self.hung += 1
        while caller.recv(65536):
            continue

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def hanging(engine: Engine, tmp_path: Path) -> Iterator[HangingEngine]:
    proxy = HangingEngine(tmp_path, engine.socket_path)
    yield proxy
    proxy.close()


@pytest.fixture
def make(engine: Engine, hanging: HangingEngine, tmp_path: Path) -> Iterator[Callable[[], Driver]]:
    drivers = []

    def make_driver() -> Driver:
        slow = Engine(hanging.path, HANGS_SECONDS, Patience(create=HANGS_SECONDS, start=HANGS_SECONDS))
        drivers.append(Driver(DockerRuntime(slow, INFO, tmp_path, PullBehavior.DEFAULT, 0.01)))
        return drivers[-1]

    yield make_driver
    for driver in drivers:
        driver.close()
    for container in engine.containers(f"ecs-anywhere.data-dir={tmp_path.resolve()}"):
        engine.remove(container["Id"])


def test_one_container_that_docker_hangs_at_hides_no_other(make: Callable[[], Driver], hanging: HangingEngine) -> None:
    driver = make()
    stuck = driver.start(spec("sh", "-c", "while test ! -e /tmp/end; do sleep 0.1; done; exit 3"))
    driver.start(spec("sleep", "1000"), OTHER)
    hanging.before = f"GET /containers/{stuck.runtime_id}/json"
    subprocess.run(["docker", "exec", str(stuck.runtime_id), "sh", "-c", ">/tmp/end"], check=True, capture_output=True)
    eventually(lambda: hanging.hung >= 1)
    began = time.monotonic()
    assert driver.stop(kill=True, ref=OTHER).exit_code == 137
    assert time.monotonic() - began < HANGS_SECONDS
    eventually(lambda: hanging.hung >= 3)
    hanging.before = "nothing"
    assert driver.until(Condition.EXITED).exit_code == 3


def test_a_kill_that_hangs_is_not_piled_up(make: Callable[[], Driver], hanging: HangingEngine) -> None:
    """The core gives it again every 30 seconds, as long as the container has not ended."""
    driver = make()
    stuck = driver.start(spec("sleep", "1000"))
    hanging.before = f"/containers/{stuck.runtime_id}/"
    for _ in range(50):
        driver.runtime.perform(StopContainer(REF, kill=True))
    driver.runtime.perform(CreateContainer(OTHER, spec("sleep", "1000")))
    eventually(lambda: not driver.told.empty(), 50 / 8 * HANGS_SECONDS + 20)
    assert driver.changed().ref == OTHER
    time.sleep(2 * HANGS_SECONDS)
    before = hanging.hung
    time.sleep(3 * HANGS_SECONDS)
    assert hanging.hung - before <= 4, "only the newest is tried again"
    hanging.before = "nothing"
    assert driver.until(Condition.EXITED).exit_code == 137


@pytest.mark.parametrize("call", ["create", "start"])
@pytest.mark.parametrize("done", [False, True], ids=["not-done", "done"])
def test_a_call_that_hangs_is_done_once(
    make: Callable[[], Driver], hanging: HangingEngine, call: str, done: bool
) -> None:
    driver = make()
    setattr(hanging, "after" if done else "before", f"POST /containers/(.*/)?{call}")
    driver.runtime.perform(CreateContainer(REF, spec("sh", "-c", "echo run >>/tmp/runs; exec sleep 1000")))
    if call == "start":
        assert driver.changed().condition is Condition.CREATED
        driver.runtime.perform(StartContainer(REF))
    eventually(lambda: hanging.hung >= 2 or (done and not driver.told.empty()), 20)
    hanging.before = hanging.after = "nothing"
    told = driver.until(Condition.CREATED if call == "create" else Condition.RUNNING)
    names = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=ecs-anywhere.task-id={REF.task_id}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert names == [told.runtime_id]


def test_an_agent_starts_next_to_a_container_that_docker_hangs_at(
    make: Callable[[], Driver], hanging: HangingEngine
) -> None:
    first = make()
    stuck = first.start(spec("sleep", "1000"))
    other = first.start(spec("sleep", "1000"), OTHER)
    first.close()
    hanging.before = f"/containers/{stuck.runtime_id}/"
    second = make()
    found = {snapshot.ref: snapshot for snapshot in second.inventory}
    assert found[OTHER] == other
    assert (found[REF].condition, found[REF].origin) == (Condition.RUNNING, stuck.origin)
    assert found[REF].run is None, "Docker's list does not say when it was started"
    hanging.before = "nothing"
    assert second.changed() == stuck


@pytest.mark.parametrize("live_restore", [False, True], ids=["containers-end", "live-restore"])
def test_docker_is_restarted(own_docker: OwnDocker, tmp_path: Path, live_restore: bool) -> None:
    if live_restore:
        own_docker.stop()
        own_docker.start(live_restore=True)
    driver = Driver(DockerRuntime(Engine(own_docker.socket), INFO, tmp_path, PullBehavior.DEFAULT, 0.01))
    container = spec("sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done", networkMode="none")
    running = driver.start(container)
    client = own_docker.client()
    eventually(lambda: client.containers.get(str(running.runtime_id)).logs() == b"ready\n")
    client.close()
    own_docker.stop()
    driver.runtime.perform(CreateContainer(OTHER, spec("sleep", "1000", networkMode="none")))
    time.sleep(1)
    own_docker.start(live_restore=live_restore)

    seen: dict[ContainerRef, ContainerSnapshot] = {}
    while set(seen) != {REF, OTHER}:
        snapshot = driver.changed()
        if snapshot.ref == OTHER or live_restore or snapshot.condition is Condition.EXITED:
            seen[snapshot.ref] = snapshot
    assert seen[OTHER].condition is Condition.CREATED, "what was asked meanwhile is done afterwards"
    if live_restore:
        assert seen[REF] == running
    else:
        assert seen[REF].exit_code == 7
    assert driver.runtime.facts().docker_version not in {None, "1"}, "it may be another one than before"
    driver.runtime.perform(StartContainer(OTHER))
    assert driver.until(Condition.RUNNING, OTHER)
    assert driver.stop(kill=True, ref=OTHER).exit_code == 137
    told = [] if driver.told.empty() else [driver.told.get_nowait()]
    assert all(isinstance(each, ContainerChanged) for each in told)
    driver.close()
