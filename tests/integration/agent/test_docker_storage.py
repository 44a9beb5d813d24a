"""What containers mount: what Docker was told of it, what the processes see, and what is left of it in the end."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecs_anywhere_agent.core.actions import CreateContainer, PullImage
from ecs_anywhere_agent.core.events import ActionFailed, Attempt
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_volumes import CannotCreateVolumeError, Volumes
from integration.agent.docker_containers import Containers, closing
from integration.agent.runtimes import TASK_ID, eventually
from shows import shows

pytestmark = pytest.mark.docker

SHARED = "ecs-anywhere-test-shared"
OF_TASK = f"ecs-anywhere.task-id={TASK_ID}"
OWN = f"ecs-web-1-data-{TASK_ID}"
WRITER = ["sh", "-c", "echo hello >/data/file; sleep 1000"]
READER = [
    "sh",
    "-c",
    "until test -s /data/file; do sleep 0.1; done; cat /data/file; (echo >/data/other) 2>/dev/null || echo read only",
]


@pytest.fixture
def containers(engine: Engine, tmp_path: Path) -> Iterator[Containers]:
    with closing(Containers(engine, tmp_path)) as made:
        yield made
    if engine.volume(SHARED) is not None:
        engine.remove_volume(SHARED)


def mount(name: str = "data", *, read_only: bool = False) -> list[dict[str, object]]:
    return [{"sourceVolume": name, "containerPath": "/data", "readOnly": read_only}]


def write_and_read(containers: Containers, **volume: object) -> str:
    """What a second container sees of what a first one has written."""
    started = containers.start(
        {"name": "writer", "command": WRITER, "mountPoints": mount()},
        {"name": "reader", "command": READER, "mountPoints": mount(read_only=True)},
        volumes=[{"name": "data", **volume}],
    )
    return containers.output(started["reader"])


@shows(
    "volumes.name",
    "volumes.host.sourcePath",
    "mountPoints.sourceVolume",
    "mountPoints.containerPath",
    "mountPoints.readOnly",
)
def test_a_directory_of_the_machine_is_made_if_it_is_not_there(containers: Containers, tmp_path: Path) -> None:
    source = tmp_path / "of" / "the" / "machine"
    assert write_and_read(containers, host={"sourcePath": str(source)}) == "hello\nread only\n"
    assert (source / "file").read_text() == "hello\n"


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param({}, id="an-empty-one"),
        pytest.param({"host": {}}, id="an-empty-one-in-so-many-words"),
        pytest.param(
            {"dockerVolumeConfiguration": {"scope": "task"}},
            id="one-of-docker",
            marks=shows("volumes.dockerVolumeConfiguration.scope"),
        ),
    ],
)
def test_a_volume_of_the_task_is_shared_by_its_containers_and_goes_with_the_last(
    containers: Containers, volume: dict[str, object]
) -> None:
    assert write_and_read(containers, **volume) == "hello\nread only\n"
    containers.remove(["writer"])
    eventually(lambda: len(containers.engine.containers(OF_TASK)) == 1)
    assert containers.engine.volume(OWN) is not None
    containers.remove(["reader"])
    eventually(lambda: containers.engine.volume(OWN) is None)


@shows(
    "volumes.dockerVolumeConfiguration.autoprovision",
    "volumes.dockerVolumeConfiguration.driver",
    "volumes.dockerVolumeConfiguration.driverOpts",
    "volumes.dockerVolumeConfiguration.labels",
)
def test_a_shared_volume_is_made_and_outlives_its_task(containers: Containers) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=3m"}
    configuration = {
        "scope": "shared",
        "autoprovision": True,
        "driver": "local",
        "driverOpts": options,
        "labels": {"team": "drones"},
    }
    command = ["sh", "-c", "grep -o '/data .*size=[0-9]*k' /proc/mounts"]
    started = containers.start(
        {"command": command, "mountPoints": mount(SHARED)},
        volumes=[{"name": SHARED, "dockerVolumeConfiguration": configuration}],
    )
    assert containers.output(started["main"]).endswith("size=3072k\n")
    containers.remove(started)
    eventually(lambda: not containers.engine.containers(OF_TASK))
    made = containers.engine.volume(SHARED)
    assert made is not None
    assert (made["Driver"], made["Options"], made["Labels"]) == ("local", options, {"team": "drones"})


def test_a_shared_volume_that_is_there_is_used_as_it_is(containers: Containers) -> None:
    containers.engine.create_volume({"Name": SHARED, "Labels": {"made": "by hand"}})
    configuration = {"scope": "shared", "autoprovision": False}
    started = containers.start(
        {"command": ["ls", "/data"], "mountPoints": mount(SHARED)},
        volumes=[{"name": SHARED, "dockerVolumeConfiguration": configuration}],
    )
    assert containers.output(started["main"]) == ""
    made = containers.engine.volume(SHARED)
    assert made is not None
    assert made["Labels"] == {"made": "by hand"}


@pytest.mark.parametrize(
    ("labels", "options", "reason"),
    [
        pytest.param({"team": "drones"}, {}, None, id="all-of-it-matches"),
        pytest.param({}, {}, "does not match existing volume labels: existing: {'team': 'drones'}", id="other-labels"),
        pytest.param({"team": "drones"}, {"o": "size=1m"}, "existing volume options", id="other-options"),
    ],
)
def test_a_shared_volume_that_must_match_is_compared(
    containers: Containers, labels: dict[str, str], options: dict[str, str], reason: str | None
) -> None:
    containers.engine.create_volume({"Name": SHARED, "Labels": {"team": "drones"}})
    configuration = {"scope": "shared", "autoprovision": False, "labels": labels, "driverOpts": options}
    volumes = [{"name": SHARED, "dockerVolumeConfiguration": configuration}]
    (spec,) = containers.specs({"mountPoints": mount(SHARED)}, volumes=volumes).values()
    matching = Volumes(containers.engine, str(containers.data_dir), match_shared=True)
    if reason is None:
        matching.prepare(TASK_ID, spec)
    else:
        with pytest.raises(CannotCreateVolumeError, match=re.escape(reason)):
            matching.prepare(TASK_ID, spec)


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        pytest.param(
            {"scope": "shared"},
            f"volume detection failed, volume '{SHARED}' does not exist and autoprovision is set to false",
            id="nobody-made-it",
        ),
        pytest.param({"scope": "task", "driverOpts": {"nonsense": "1"}}, "nonsense", id="its-driver-refuses"),
    ],
)
def test_a_volume_that_cannot_be_had_says_why(
    containers: Containers, configuration: dict[str, object], reason: str
) -> None:
    volumes = [{"name": SHARED, "dockerVolumeConfiguration": configuration}]
    (spec,) = containers.specs({"mountPoints": mount(SHARED)}, volumes=volumes).values()
    ref = ContainerRef(TASK_ID, "main")
    containers.driver.do(PullImage(ref, spec.image))
    told = containers.driver.do(CreateContainer(ref, spec))
    assert isinstance(told, ActionFailed)
    assert told.attempt is Attempt.CREATE_VOLUME
    assert reason in told.reason


@shows("volumesFrom.sourceContainer", "volumesFrom.readOnly")
def test_the_volumes_of_another_container(containers: Containers) -> None:
    started = containers.start(
        {"name": "writer", "command": WRITER, "mountPoints": mount()},
        {
            "name": "reader",
            "command": ["sh", "-c", 'sleep 1; exec "$@"', "-", *READER],
            "volumesFrom": [{"sourceContainer": "writer", "readOnly": True}],
        },
        volumes=[{"name": "data"}],
    )
    host = containers.inspect(started["reader"])["HostConfig"]
    assert host["VolumesFrom"] == [f"ecs-web-1-writer-{TASK_ID}:ro"]
    assert containers.output(started["reader"]) == "hello\nread only\n"


def test_what_is_left_of_a_task_without_containers_goes_when_the_agent_starts(
    containers: Containers, engine: Engine, tmp_path: Path
) -> None:
    """As when the agent was killed between a task's last container and its volumes."""
    (writer,) = containers.start(
        {"name": "writer", "command": WRITER, "mountPoints": mount()}, volumes=[{"name": "data"}]
    ).values()
    assert writer.runtime_id is not None
    with closing(Containers(engine, tmp_path)):
        assert engine.volume(OWN) is not None
        engine.remove(writer.runtime_id)
        assert engine.volume(OWN) is not None
        with closing(Containers(engine, tmp_path)):
            assert engine.volume(OWN) is None
