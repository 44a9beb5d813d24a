"""What a container's process is and may do: what Docker was told of it, and what the process itself sees."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.core.events import Condition
from ecs_anywhere_agent.runtime.docker_engine import Engine
from integration.agent.docker_containers import Containers, at, closing
from integration.agent.runtimes import eventually
from shows import shows

pytestmark = pytest.mark.docker

MEBIBYTE = 1 << 20


@pytest.fixture
def containers(engine: Engine, tmp_path: Path) -> Iterator[Containers]:
    with closing(Containers(engine, tmp_path)) as made:
        yield made


def linux(**members: Any) -> dict[str, Any]:
    return {"linuxParameters": members}


CHROOT, NET_ADMIN = 1 << 18, 1 << 12
DEVICE = next(each for each in ("/dev/fuse", "/dev/loop-control", "/dev/tty0") if Path(each).exists())
"""One that Docker gives to nobody unasked."""


@pytest.mark.parametrize(
    ("members", "command", "told", "seen"),
    [
        pytest.param(
            {"entryPoint": ["sh", "-c"], "command": ["echo $0 $1", "one", "two"]},
            None,
            {"Config.Entrypoint": ["sh", "-c"], "Config.Cmd": ["echo $0 $1", "one", "two"]},
            "one two\n",
            marks=shows("entryPoint", "command"),
            id="what-to-run",
        ),
        pytest.param(
            {"environment": [{"name": "GREETING", "value": "hello = world"}, {"name": "NONE"}]},
            "echo $GREETING; env | grep NONE",
            {"Config.Env": ["GREETING=hello = world", "NONE="]},
            "hello = world\nNONE=\n",
            marks=shows("environment.name", "environment.value"),
            id="environment",
        ),
        pytest.param(
            {"user": "1000:2000", "workingDirectory": "/srv/here"},
            "id -u; id -g; echo $PWD",
            {"Config.User": "1000:2000", "Config.WorkingDir": "/srv/here"},
            "1000\n2000\n/srv/here\n",
            marks=shows("user", "workingDirectory"),
            id="user-and-directory",
        ),
        pytest.param(
            {"readonlyRootFilesystem": True},
            "(echo >/file) 2>/dev/null || echo refused",
            {"HostConfig.ReadonlyRootfs": True},
            "refused\n",
            marks=shows("readonlyRootFilesystem"),
            id="read-only-root",
        ),
        pytest.param(
            {"pseudoTerminal": True},
            "test -t 1 && echo terminal",
            {"Config.Tty": True},
            "terminal\r\n",
            marks=shows("pseudoTerminal"),
            id="terminal",
        ),
        pytest.param(
            {"dockerSecurityOptions": ["no-new-privileges"]},
            "grep NoNewPrivs /proc/self/status",
            {"HostConfig.SecurityOpt": ["no-new-privileges"]},
            "NoNewPrivs:\t1\n",
            marks=shows("dockerSecurityOptions"),
            id="no-new-privileges",
        ),
        pytest.param(
            {"systemControls": [{"namespace": "net.core.somaxconn", "value": "321"}]},
            "cat /proc/sys/net/core/somaxconn",
            {"HostConfig.Sysctls": {"net.core.somaxconn": "321"}},
            "321\n",
            marks=shows("systemControls.namespace", "systemControls.value"),
            id="system-controls",
        ),
        pytest.param(
            {"ulimits": [{"name": "nofile", "softLimit": 111, "hardLimit": 222}]},
            "ulimit -Sn; ulimit -Hn",
            {"HostConfig.Ulimits": [{"Name": "nofile", "Soft": 111, "Hard": 222}]},
            "111\n222\n",
            marks=shows("ulimits.name", "ulimits.softLimit", "ulimits.hardLimit"),
            id="ulimits",
        ),
        pytest.param(
            linux(initProcessEnabled=True),
            "cat /proc/1/comm",
            {"HostConfig.Init": True},
            "docker-init\n",
            marks=shows("linuxParameters.initProcessEnabled"),
            id="init-process",
        ),
        pytest.param(
            linux(sharedMemorySize=7),
            "mount | grep shm | grep -o 'size=[0-9]*k'",
            {"HostConfig.ShmSize": 7 * MEBIBYTE},
            "size=7168k\n",
            marks=shows("linuxParameters.sharedMemorySize"),
            id="shared-memory",
        ),
        pytest.param(
            linux(tmpfs=[{"containerPath": "/scratch", "size": 5, "mountOptions": ["noexec", "mode=700"]}]),
            "grep -o '/scratch.*' /proc/mounts",
            {"HostConfig.Tmpfs": {"/scratch": "size=5m,noexec,mode=700"}},
            "/scratch tmpfs rw,nosuid,nodev,noexec,relatime,size=5120k,mode=700 0 0\n",
            marks=shows(
                "linuxParameters.tmpfs.containerPath",
                "linuxParameters.tmpfs.size",
                "linuxParameters.tmpfs.mountOptions",
            ),
            id="tmpfs",
        ),
        pytest.param(
            linux(devices=[{"hostPath": DEVICE, "containerPath": "/dev/one", "permissions": ["read"]}]),
            "dd if=/dev/one count=0 2>/dev/null && echo read; (: >/dev/one) 2>/dev/null || echo no more",
            {"HostConfig.Devices": [{"PathOnHost": DEVICE, "PathInContainer": "/dev/one", "CgroupPermissions": "r"}]},
            "read\nno more\n",
            marks=shows(
                "linuxParameters.devices.hostPath",
                "linuxParameters.devices.containerPath",
                "linuxParameters.devices.permissions",
            ),
            id="device-to-read",
        ),
        pytest.param(
            linux(devices=[{"hostPath": DEVICE}]),
            f"(: >{DEVICE}) && stat -c %F {DEVICE}",
            {"HostConfig.Devices": [{"PathOnHost": DEVICE, "PathInContainer": DEVICE, "CgroupPermissions": "rwm"}]},
            "character special file\n",
            id="device-as-it-is",
        ),
        pytest.param(
            {"cpu": 256, "memory": 32, "memoryReservation": 16},
            "echo",
            {
                "HostConfig.CpuShares": 256,
                "HostConfig.Memory": 32 * MEBIBYTE,
                "HostConfig.MemoryReservation": 16 * MEBIBYTE,
                "HostConfig.CgroupParent": "",
            },
            "\n",
            marks=shows("cpu", "memory", "memoryReservation"),
            id="resources",
        ),
        pytest.param(
            {"cpu": 1, "memory": None, "memoryReservation": 16},
            "echo",
            {"HostConfig.CpuShares": 2, "HostConfig.Memory": 0, "HostConfig.MemoryReservation": 16 * MEBIBYTE},
            "\n",
            id="least-resources",
        ),
        pytest.param(
            {"memory": 32, **linux(maxSwap=16, swappiness=7)},
            "echo",
            {"HostConfig.MemorySwap": 48 * MEBIBYTE, "HostConfig.MemorySwappiness": 7},
            "\n",
            marks=shows("linuxParameters.maxSwap", "linuxParameters.swappiness"),
            id="swap",
        ),
        pytest.param(
            {"memory": 32, **linux(maxSwap=0)},
            "echo",
            {"HostConfig.MemorySwap": 32 * MEBIBYTE, "HostConfig.MemorySwappiness": None},
            "\n",
            id="no-swap",
        ),
        pytest.param(
            {"memory": 32, **linux(swappiness=7)},
            "echo",
            {"HostConfig.MemorySwappiness": None},
            "\n",
            id="swappiness-without-maxSwap-is-ignored",
        ),
        pytest.param(
            {"dockerLabels": {"team": "drones"}},
            "echo",
            {"Config.Labels.team": "drones"},
            "\n",
            marks=shows("dockerLabels"),
            id="labels",
        ),
    ],
)
def test_a_member_is_what_docker_is_told_and_what_the_process_sees(
    containers: Containers, members: dict[str, Any], command: str | None, told: dict[str, Any], seen: str
) -> None:
    asked = {**({} if command is None else {"command": ["sh", "-c", command]}), **members}
    started = containers.start(asked)["main"]
    inspected = containers.inspect(started)
    assert {path: at(inspected, path) for path in told} == told
    assert containers.output(started, tty=bool(members.get("pseudoTerminal"))) == seen


@shows("linuxParameters.capabilities.add", "linuxParameters.capabilities.drop")
def test_kernel_capabilities(containers: Containers) -> None:
    started = containers.start(
        {
            "command": ["sh", "-c", "grep CapBnd /proc/self/status"],
            **linux(capabilities={"add": ["NET_ADMIN"], "drop": ["SYS_CHROOT"]}),
        }
    )["main"]
    host = containers.inspect(started)["HostConfig"]
    assert (host["CapAdd"], host["CapDrop"]) == (["NET_ADMIN"], ["SYS_CHROOT"])
    bounding = int(containers.output(started).split()[1], 16)
    assert (bool(bounding & NET_ADMIN), bool(bounding & CHROOT)) == (True, False)


@shows("privileged")
def test_a_privileged_container(containers: Containers) -> None:
    """Made, not started: a machine that lacks a capability itself, such as one that runs tests, cannot give it."""
    (spec,) = containers.specs({"privileged": True, "command": ["sleep", "1"]}).values()
    created = containers.driver.create(spec)
    assert containers.inspect(created)["HostConfig"]["Privileged"] is True


@shows("interactive")
def test_an_interactive_container_waits_for_input(containers: Containers) -> None:
    """Without it `cat` would end at once."""
    started = containers.start({"command": ["cat"], "interactive": True})["main"]
    assert containers.inspect(started)["Config"]["OpenStdin"] is True
    containers.driver.stop(kill=True)


@shows("stopTimeout")
def test_the_stop_timeout_is_written_on_the_container_for_whoever_adopts_it(containers: Containers) -> None:
    """When it is over is the core's decision: tests/unit/agent/test_core.py."""
    started = containers.start({"command": ["sleep", "1000"], "stopTimeout": 7})["main"]
    assert started.origin is not None
    assert started.origin.stop_timeout == 7


@pytest.mark.parametrize(
    ("members", "told", "command", "seen"),
    [
        pytest.param(
            {"pidMode": "host"},
            {"HostConfig.PidMode": "host"},
            "test -d /proc/$PARENT && echo all",
            "all\n",
            marks=shows("pidMode"),
            id="processes-of-the-machine",
        ),
        pytest.param(
            {"ipcMode": "host"},
            {"HostConfig.IpcMode": "host"},
            "ls -d /dev/shm",
            "/dev/shm\n",
            marks=shows("ipcMode"),
            id="ipc-of-the-machine",
        ),
        pytest.param(
            {"ipcMode": "none"},
            {"HostConfig.IpcMode": "none"},
            "mount | grep -c /dev/shm",
            "0\n",
            id="no-ipc",
        ),
    ],
)
def test_namespaces(
    containers: Containers, members: dict[str, str], told: dict[str, str], command: str, seen: str
) -> None:
    environment = [{"name": "PARENT", "value": str(os.getpid())}]
    started = containers.start({"command": ["sh", "-c", command], "environment": environment}, **members)["main"]
    inspected = containers.inspect(started)
    assert {path: at(inspected, path) for path in told} == told
    assert containers.output(started) == seen


@shows("task:cpu", "task:memory")
def test_a_task_has_a_control_group_for_all_its_containers(containers: Containers) -> None:
    """Two containers that each may have 64 MiB, in a task of 80: together they do not get more."""
    hog = "x=$(dd if=/dev/zero bs=1M count=50 2>/dev/null | busybox tr '\\0' x); echo >/tmp/full; sleep 1000"
    started = containers.start(
        {"name": "first", "command": ["sh", "-c", hog], "essential": True, "memory": 70},
        {"name": "second", "command": ["sleep", "1000"], "memory": 70},
        cpu="512",
        memory="80",
    )
    group = Path("/sys/fs/cgroup")
    for each in started.values():
        assert containers.inspect(each)["HostConfig"]["CgroupParent"] == f"/ecs-anywhere/{'a' * 32}"
    assert (group / f"memory/ecs-anywhere/{'a' * 32}/memory.limit_in_bytes").read_text() == f"{80 * MEBIBYTE}\n"
    assert (group / f"cpu/ecs-anywhere/{'a' * 32}/cpu.cfs_quota_us").read_text() == "50000\n"
    containers.remove(started)
    eventually(lambda: not (group / f"cpu/ecs-anywhere/{'a' * 32}").exists())


def test_a_task_that_starts_again_after_a_reboot_has_its_limits_again(containers: Containers) -> None:
    """A reboot takes the control group away, and Docker would make one without limits."""
    container = {"command": ["sh", "-c", "sleep 0.2"], "memory": None, "memoryReservation": 16}
    started = containers.start(container, memory="32")["main"]
    containers.driver.ended(started)
    group = Path(f"/sys/fs/cgroup/memory/ecs-anywhere/{'a' * 32}")
    group.rmdir()
    again = containers.driver.restart(started)
    assert (group / "memory.limit_in_bytes").read_text() == f"{32 * MEBIBYTE}\n"
    containers.driver.ended(again)


@shows("task:memory")
def test_more_memory_than_the_task_may_have_is_the_end(containers: Containers) -> None:
    started = containers.start(
        {"command": ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M"], "memory": None, "memoryReservation": 16},
        memory="32",
    )["main"]
    ended = containers.driver.ended(started)
    assert (ended.condition, ended.exit_code) == (Condition.EXITED, 137)
    assert ended.reason == "OutOfMemoryError: Container killed due to memory usage"
