"""Health checks of real processes."""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.core.events import Condition, ContainerSnapshot
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.cgroups import find_cgroups
from ecs_anywhere_agent.runtime.health_checker import HealthChecker
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from ecs_protocol.statuses import HealthStatus
from integration.agent.processes import Make, runs
from integration.agent.runtimes import REF, TASK_ID, Driver, eventually, spec

OTHER = ContainerRef(TASK_ID, "other")


def checked(*check: str, program: str = "exec sleep 1000", timeout: int = 5, **members: Any) -> ContainerSpec:
    """A container that is checked each second; one failure is enough."""
    health_check = {"command": list(check), "interval": 1, "timeout": timeout, "retries": 1}
    return spec("sh", "-c", program, healthCheck=health_check, **members)


def until(driver: Driver, health: HealthStatus, ref: ContainerRef = REF) -> ContainerSnapshot:
    while True:
        snapshot = driver.changed()
        if snapshot.ref == ref and snapshot.health is health:
            return snapshot


def checker(driver: Driver) -> HealthChecker:
    assert isinstance(driver.runtime, ProcessRuntime)
    return driver.runtime._health


def test_health_comes_goes_and_comes_again(make: Make, tmp_path: Path) -> None:
    well = tmp_path / "well"
    well.touch()
    driver = make()
    started = driver.start(checked("CMD-SHELL", f"test -e {well}"))
    assert started.health is HealthStatus.UNKNOWN
    assert until(driver, HealthStatus.HEALTHY).run == started.run
    assert driver.restart().health is HealthStatus.HEALTHY
    well.unlink()
    assert until(driver, HealthStatus.UNHEALTHY).condition is Condition.RUNNING
    well.touch()
    until(driver, HealthStatus.HEALTHY)
    assert driver.stop().health is HealthStatus.UNKNOWN


@pytest.mark.parametrize("check", [("CMD", "no-such-program"), ("CMD", "false"), ("CMD-SHELL", "exit 3")])
def test_what_does_not_pass_fails(make: Make, check: tuple[str, ...]) -> None:
    driver = make()
    driver.start(checked(*check))
    until(driver, HealthStatus.UNHEALTHY)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that any user may write to: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def test_a_check_stands_where_its_container_does(make: Make, open_to_all: Path) -> None:
    seen = open_to_all / "seen"
    program = "echo $GREETING $PWD $(id -u) $(readlink /proc/self/fd/0)"
    program = f"{program}; test $(cut -d' ' -f6 /proc/$$/stat) = $$ && echo leads its session"
    container = checked(
        "CMD",
        "sh",
        "-c",
        f"({program}) >{seen} 2>&1",
        environment=[{"name": "GREETING", "value": "hello"}],
        workingDirectory="/usr",
        user="1234" if os.geteuid() == 0 else None,
    )
    driver = make()
    driver.start(container)
    until(driver, HealthStatus.HEALTHY)
    uid = 1234 if os.geteuid() == 0 else os.geteuid()
    assert seen.read_text() == f"hello /usr {uid} /dev/null\nleads its session\n"


@pytest.mark.skipif(find_cgroups() is None, reason="no cgroup may be made here")
def test_a_check_is_under_the_limits_of_its_container(make: Make, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    driver = make()
    driver.start(checked("CMD-SHELL", f"cat /proc/self/cgroup >{seen}"))
    until(driver, HealthStatus.HEALTHY)
    assert f"{TASK_ID}-main" in seen.read_text()


def test_a_check_that_takes_too_long_fails_and_is_killed_with_all_it_made(make: Make) -> None:
    driver = make()
    driver.start(checked("CMD-SHELL", "sleep 1011 & sleep 1012", timeout=1))
    until(driver, HealthStatus.UNHEALTHY)
    assert not runs("sleep 1011")
    assert not runs("sleep 1012")


def test_what_a_check_leaves_behind_ends_with_it(make: Make) -> None:
    driver = make()
    driver.start(checked("CMD-SHELL", "sleep 1013 & exit 0"))
    until(driver, HealthStatus.HEALTHY)
    assert not runs("sleep 1013")


def test_a_check_that_hangs_delays_no_other(make: Make) -> None:
    driver = make()
    driver.start(checked("CMD", "sleep", "1014", timeout=60))
    eventually(lambda: runs("sleep 1014"))
    driver.start(checked("CMD", "true"), OTHER)
    until(driver, HealthStatus.HEALTHY, OTHER)
    assert runs("sleep 1014")
    assert checker(driver)._pause(), "what hangs is waited for asleep"


@pytest.mark.parametrize("end", ["stop", "remove", "close"])
def test_checking_ends_with_the_container_and_with_the_agent(make: Make, end: str) -> None:
    threads = threading.active_count()
    driver = make()
    driver.start(checked("CMD", "sleep", "1015", timeout=60))
    eventually(lambda: runs("sleep 1015"))
    match end:
        case "stop":
            assert driver.stop().health is HealthStatus.UNKNOWN
        case "remove":
            driver.remove()
        case _:
            driver.close()
            assert threading.active_count() == threads
    eventually(lambda: not runs("sleep 1015"))
    if end != "close":
        eventually(lambda: checker(driver)._pause() is None)


def test_each_run_begins_unknown(make: Make) -> None:
    driver = make()
    driver.start(checked("CMD", "true"))
    until(driver, HealthStatus.HEALTHY)
    second = driver.restart(after=driver.stop())
    assert second.health is HealthStatus.UNKNOWN
    assert until(driver, HealthStatus.HEALTHY).run == second.run


def test_the_next_agent_begins_anew(make: Make) -> None:
    first = make()
    started = first.start(checked("CMD", "true"))
    until(first, HealthStatus.HEALTHY)
    first.close()
    second = make()
    assert second.inventory == (started,)
    until(second, HealthStatus.HEALTHY)


def test_between_checks_nothing_is_done(make: Make) -> None:
    driver = make()
    driver.start(spec("sleep", "1000", healthCheck={"command": ["CMD", "true"], "interval": 300}))
    pause = checker(driver)._pause()
    assert pause is not None
    assert pause > 290
