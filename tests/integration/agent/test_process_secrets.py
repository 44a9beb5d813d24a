"""What a process container gets by its task's execution role, and what of it stands on the disk."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.core.actions import CreateContainer, StartContainer
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, Condition
from ecs_anywhere_agent.execution_role import ExecutionRoles
from ecs_anywhere_agent.identity import IdentityFiles, identity_files, write_private
from ecs_anywhere_agent.registering import new_key
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.runtime.cgroups import find_cgroups
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from ecs_anywhere_agent.sealing import replace_identity
from ecs_protocol.statuses import HealthStatus
from integration.agent.conftest import Broker
from integration.agent.execution import NoNetwork, roles
from integration.agent.processes import directory, log
from integration.agent.runtimes import REF, Driver, spec
from shows import shows

Make = Callable[[ExecutionRoles], Driver]

VALUE = "correct-horse-battery-staple"
OFFLINE = ExecutionRoles(HeldCredentials(), NoNetwork())
"""Of an agent that has just started on a machine that is cut off."""


@pytest.fixture
def files(tmp_path: Path) -> IdentityFiles:
    made = identity_files(tmp_path)
    made.prepare()
    write_private(made.key, new_key()[0])
    write_private(made.certificate, "the first")
    return made


@pytest.fixture
def make(files: IdentityFiles, tmp_path: Path) -> Iterator[Make]:
    """Each call is a new agent on the same data directory; what still runs at the end is removed."""
    del files
    drivers = []

    def make_driver(of: ExecutionRoles) -> Driver:
        drivers.append(Driver(ProcessRuntime(tmp_path, find_cgroups(), roles=of)))
        return drivers[-1]

    yield make_driver
    for driver in drivers:
        driver.close()
    last = Driver(ProcessRuntime(tmp_path, find_cgroups()))
    for snapshot in last.inventory:
        last.remove(snapshot.ref)
    last.close()


@pytest.fixture
def parameter(aws: Broker) -> Iterator[str]:
    client = aws.client("ssm")
    client.put_parameter(Name="/process/value", Value=VALUE, Type="SecureString")
    yield "/process/value"
    client.delete_parameter(Name="/process/value")


def shows_it(parameter: str, script: str = 'echo "length ${#VALUE}"; exit 3', **members: Any) -> ContainerSpec:
    return spec("sh", "-c", script, secrets=[{"name": "VALUE", "valueFrom": parameter}], **members)


def on_disk(tmp_path: Path) -> bytes:
    return b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@shows("secrets.name", "secrets.valueFrom", "environmentFiles.value", "environmentFiles.type")
def test_a_process_sees_its_secrets_and_the_variables_of_its_files(
    make: Make, secret: str, bucket: str, tmp_path: Path
) -> None:
    driver = make(roles())
    started = driver.start(
        spec(
            "sh",
            "-c",
            "env",
            secrets=[{"name": "PASSWORD", "valueFrom": f"{secret}:password::"}],
            environmentFiles=[{"type": "s3", "value": f"{bucket}/{key}"} for key in ("a/app.env", "more.env")],
            environment=[{"name": "PLAIN", "value": "of the definition"}],
        )
    )
    assert driver.ended(started).exit_code == 0
    seen = dict(line.split("=", 1) for line in log(tmp_path).splitlines())
    expected = {"PASSWORD": "new", "COLOUR": "blue", "SIZE": "1", "SHAPE": "round", "PLAIN": "of the definition"}
    assert {name: seen.get(name) for name in expected} == expected


def test_what_stands_on_the_disk_of_a_secret_is_sealed(make: Make, parameter: str, tmp_path: Path) -> None:
    driver = make(roles())
    driver.ended(driver.start(shows_it(parameter)))
    assert log(tmp_path) == f"length {len(VALUE)}\n"
    written = json.loads((directory(tmp_path) / "spec.json").read_text())
    assert "VALUE" not in written["environment"]
    assert written["sealed_environment"]
    assert VALUE.encode() not in on_disk(tmp_path)


def test_it_is_started_again_in_place_without_network_whatever_key_the_machine_has_by_then(
    make: Make, files: IdentityFiles, parameter: str, tmp_path: Path
) -> None:
    first = make(roles())
    ended = first.ended(first.start(shows_it(parameter)))
    first.close()
    files.next.prepare()
    write_private(files.next.key, new_key()[0])
    write_private(files.next.certificate, "the next")
    replace_identity(files)
    second = make(OFFLINE)
    assert second.ended(second.restart(ended)).exit_code == 3
    assert log(tmp_path) == f"length {len(VALUE)}\n" * 2


def test_a_container_that_was_made_is_not_fetched_for_again(make: Make, parameter: str) -> None:
    first = make(roles())
    created = first.create(shows_it(parameter))
    first.close()
    second = make(OFFLINE)
    second.runtime.perform(CreateContainer(REF, shows_it(parameter)))
    assert second.changed() == created


def test_a_health_check_sees_them_too(make: Make, parameter: str) -> None:
    check = {"command": ["CMD-SHELL", f'test "$VALUE" = {VALUE}'], "interval": 1, "timeout": 5}
    driver = make(roles())
    driver.start(shows_it(parameter, "exec sleep 1000", healthCheck=check))
    assert driver.until(Condition.RUNNING).health is HealthStatus.HEALTHY


def test_without_the_identity_that_sealed_them_it_does_not_start(
    make: Make, files: IdentityFiles, parameter: str
) -> None:
    first = make(roles())
    first.create(shows_it(parameter))
    write_private(files.key, new_key()[0])
    assert first.do(StartContainer(REF)) == ActionFailed(
        REF, Attempt.START, "its secret values are sealed for another identity than this machine has now"
    )


def test_what_cannot_be_had_leaves_nothing(make: Make, aws: Broker, tmp_path: Path) -> None:
    del aws
    driver = make(roles())
    failed = driver.do(CreateContainer(REF, shows_it("/absent")))
    assert isinstance(failed, ActionFailed)
    assert (failed.attempt, failed.reason.endswith("invalid parameters: /absent")) == (Attempt.RESOURCES, True)
    assert not directory(tmp_path).exists()
