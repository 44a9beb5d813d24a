"""FireLens on the real Engine: what a container writes comes to the task's log router through a socket of the task's.

See log_router.py for what stands in the place of Fluent Bit and Fluentd.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ecs_anywhere_agent.core.actions import CreateContainer
from ecs_anywhere_agent.core.events import ActionFailed, Attempt
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_firelens import RouterFiles, can_route_logs
from integration.agent.conftest import Broker
from integration.agent.docker_containers import Containers, closing
from integration.agent.execution import roles
from integration.agent.log_router import VOLUMES, a_router, an_app
from integration.agent.runtimes import TASK_ID, eventually
from shows import shows

pytestmark = pytest.mark.docker


@pytest.fixture
def containers(engine: Engine) -> Iterator[Containers]:
    """In a directory with a short path: that of a socket in it has 107 bytes at most."""
    with TemporaryDirectory() as data_dir, closing(Containers(engine, Path(data_dir))) as made:
        yield made


def said(containers: Containers, container: str, wanted: str) -> str:
    """All that a container has written, once this is among it."""
    deadline = time.monotonic() + 30
    while True:
        logs = containers.engine.logs(container, tty=False, tail=None, follow=False)
        text = b"".join(content for _, content in logs).decode()
        if wanted in text or time.monotonic() > deadline:
            assert wanted in text
            return text
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("kind", "user", "options"),
    [
        pytest.param("fluentbit", None, {"Name": "null"}, id="fluent-bit"),
        pytest.param("fluentbit", "1234:5678", {"Name": "null"}, id="not-as-root"),
        pytest.param("fluentd", None, {"@type": "null"}, id="fluentd"),
    ],
)
@shows("firelensConfiguration.type", "firelensConfiguration.options", "logConfiguration.logDriver")
def test_what_a_container_writes_comes_to_the_log_router(
    containers: Containers, kind: str, user: str | None, options: dict[str, str]
) -> None:
    router = a_router(kind, **({"user": user} if user else {}))
    started = containers.start(router, volumes=VOLUMES)
    routers_id = started["log_router"].runtime_id
    assert routers_id is not None
    said(containers, routers_id, f"uid {(user or '0').partition(':')[0]} listens")
    # The definition is the whole task's; its other container is made now.
    specs = containers.specs(router, an_app(options), volumes=VOLUMES)
    app = containers.driver.start(specs["main"], ContainerRef(TASK_ID, "main"))
    address = containers.inspect(started["log_router"])["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert address
    text = said(containers, routers_id, "written")
    assert f"host={address} port=24224" in text
    assert f"main-firelens-{TASK_ID}" in text
    assert app.runtime_id is not None
    assert app.runtime_id in text
    containers.driver.stop(kill=True)


@pytest.fixture
def with_role(engine: Engine, aws: Broker) -> Iterator[Containers]:
    """With credentials of the task's execution role."""
    del aws
    with TemporaryDirectory() as data_dir, closing(Containers(engine, Path(data_dir), roles=roles())) as made:
        yield made


def test_the_router_gets_what_only_the_execution_role_may_read(with_role: Containers, secret: str, bucket: str) -> None:
    """A file of S3 as it is, and a secret option as a variable that the configuration names."""
    app = an_app({"Name": "splunk"})
    app["logConfiguration"]["secretOptions"] = [{"name": "splunk_token", "valueFrom": f"{secret}:password::"}]
    options = {"config-file-type": "s3", "config-file-value": f"{bucket}/more.env"}
    router = a_router("fluentbit", firelensConfiguration={"type": "fluentbit", "options": options})
    specs = with_role.specs(
        {
            **router,
            "command": ["sh", "-c", "cat /fluent-bit/etc/*.conf; echo token=$splunk_token_1"],
        },
        {"name": "main", **app},
        volumes=VOLUMES,
    )
    started = with_role.driver.start(specs["log_router"], ContainerRef(TASK_ID, "log_router"))
    said_by_router = with_role.output(started)
    assert "SHAPE=round" in said_by_router
    assert "splunk_token ${splunk_token_1}" in said_by_router
    assert "token=new" in said_by_router
    written = b"".join(path.read_bytes() for path in with_role.data_dir.rglob("*") if path.is_file())
    assert b"SHAPE=round" in written
    assert b"new" not in written


def test_a_file_of_s3_that_is_not_there_keeps_the_router_from_being_made(with_role: Containers, bucket: str) -> None:
    options = {"config-file-type": "s3", "config-file-value": f"{bucket}/absent.conf"}
    router = a_router("fluentbit", firelensConfiguration={"type": "fluentbit", "options": options})
    spec = with_role.specs(router, an_app({"Name": "null"}), volumes=VOLUMES)["log_router"]
    told = with_role.driver.do(CreateContainer(ContainerRef(TASK_ID, "log_router"), spec))
    assert isinstance(told, ActionFailed)
    assert told.attempt is Attempt.RESOURCES
    assert "unable to download firelens s3 config file: unable to download s3 config absent.conf" in told.reason


def test_the_router_reads_what_the_agent_wrote(containers: Containers) -> None:
    specs = containers.specs(a_router("fluentbit"), an_app({"Name": "null"}), volumes=VOLUMES)
    router = containers.driver.start(specs["log_router"], ContainerRef(TASK_ID, "log_router"))
    assert router.runtime_id is not None
    assert specs["log_router"].routes_logs is not None
    text = said(containers, router.runtime_id, "listens")
    assert text.startswith(specs["log_router"].routes_logs.configuration)
    assert "Match main-firelens*" in text


def test_its_files_go_with_the_last_container_of_the_task(containers: Containers) -> None:
    directory = containers.data_dir / "firelens" / TASK_ID
    router = containers.start(a_router("fluentbit"), volumes=VOLUMES)["log_router"].runtime_id
    other = containers.engine.create(
        f"other-{TASK_ID}", {"Image": "busybox:test", "Cmd": ["true"], "Labels": {"ecs-anywhere.task-id": TASK_ID}}
    )
    assert (directory / "socket").stat().st_mode & 0o777 == 0o777
    assert directory.stat().st_mode & 0o777 == 0o700
    containers.remove(["log_router"])
    eventually(lambda: containers.engine.inspect(router or "") is None)
    assert directory.exists()
    containers.engine.remove(other)
    containers.remove(["log_router"])
    eventually(lambda: not directory.exists())


def test_its_files_stay_while_the_task_has_containers(tmp_path: Path) -> None:
    left = [True, False]
    files = RouterFiles(str(tmp_path), has_containers=lambda _: left.pop(0))
    (tmp_path / "firelens" / TASK_ID).mkdir(parents=True)
    files.remove_of(TASK_ID)
    assert (tmp_path / "firelens" / TASK_ID).exists()
    files.remove_of(TASK_ID)
    assert not (tmp_path / "firelens" / TASK_ID).exists()


def test_what_a_killed_agent_left_is_removed(tmp_path: Path) -> None:
    for task_id in ("a" * 32, "b" * 32):
        (tmp_path / "firelens" / task_id / "socket").mkdir(parents=True)
    RouterFiles(str(tmp_path), has_containers=lambda _: True).remove_leftovers({"a" * 32})
    assert [each.name for each in (tmp_path / "firelens").iterdir()] == ["a" * 32]


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    assert can_route_logs("/var/lib/ecs-anywhere-agent")
    assert not can_route_logs("/" + "d" * 60)
