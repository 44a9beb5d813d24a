"""What this machine is, as it is registered."""

import hashlib
import os
import platform
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

from ecs_anywhere_agent import __version__
from ecs_anywhere_agent.runtime.interface import RuntimeFacts
from ecs_protocol.capabilities import announced_attributes
from ecs_protocol.messages import Attribute, HostPort, RegisterContainerInstance

_MEBIBYTE = 1024 * 1024
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def default_reserved_memory(total_mebibytes: int) -> int:
    """What is kept for the machine itself: a sixteenth, at least 64 MiB, at most 512 MiB."""
    return min(max(total_mebibytes // 16, 64), 512)


def describe_machine(
    runtime: RuntimeFacts,
    attributes: Iterable[Attribute],
    *,
    own_ports: frozenset[HostPort],
    owns_process: Callable[[int], bool],
    reserved_memory: int | None,
    reserved_ports: Iterable[HostPort] = (),
    withheld: frozenset[str] = frozenset(),
    boot_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> RegisterContainerInstance:
    """The registration of this machine now; its request id is a placeholder.

    `attributes` are custom ones, a later one replaces an earlier one of the same name. `reserved_memory` is in MiB;
    None: the default. `withheld` are features that its owner keeps from tasks.
    """
    total = psutil.virtual_memory().total // _MEBIBYTE
    reserve = default_reserved_memory(total) if reserved_memory is None else reserved_memory
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    own = (
        Attribute(name="ecs.os-type", value="linux"),
        Attribute(name="ecs.os-family", value="LINUX"),
        Attribute(name="ecs.cpu-architecture", value=architecture),
        *runtime.attributes,
    )
    named = {attribute.name: attribute for attribute in (*attributes, *own)}
    features = (runtime.features - withheld) | {f"cpu-{architecture}"}
    registration = RegisterContainerInstance(
        request_id="-",
        digest="-",
        agent_version=__version__,
        docker_version=runtime.docker_version,
        cpu=(os.cpu_count() or 1) * 1024,
        memory=max(total - reserve, 0),
        ports_in_use=_sorted({*ports_in_use(own_ports, owns_process), *reserved_ports}),
        gpu_ids=runtime.gpu_ids,
        attributes=(*capability_attributes(features), *(named[name] for name in sorted(named))),
    )
    digest = hashlib.sha256(registration.to_json().encode()).hexdigest()[:32]
    return registration.model_copy(update={"digest": digest, "boot_id": boot_id, "tags": dict(tags) if tags else None})


def boot_id_of(data_dir: Path) -> str:
    """Of this boot and this data directory: a copy on another machine, or beside it, has another one."""
    kernels = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return hashlib.sha256(f"ecs-anywhere boot {kernels} {data_dir.stat().st_ino}".encode()).hexdigest()[:32]


def capability_attributes(features: frozenset[str]) -> tuple[Attribute, ...]:
    """From the one table that registration, agent and placement share."""
    return tuple(Attribute(name=name) for name in announced_attributes(features))


def ports_in_use(own_ports: frozenset[HostPort], owns_process: Callable[[int], bool]) -> tuple[HostPort, ...]:
    """Ports that something else than our tasks listens on.

    A UDP socket in the range that the kernel hands out is somebody's client, gone in a moment: not counted.
    """
    ephemeral = _ephemeral_ports()
    found = set()
    for connection in psutil.net_connections(kind="inet"):
        if not connection.laddr:
            continue
        port = connection.laddr.port
        if connection.type == socket.SOCK_STREAM:
            listens = connection.status == psutil.CONN_LISTEN
        else:
            listens = not connection.raddr and port not in ephemeral
        host_port = HostPort(port=port, protocol="tcp" if connection.type == socket.SOCK_STREAM else "udp")
        ours = host_port in own_ports or (connection.pid is not None and owns_process(connection.pid))
        if listens and not ours:
            found.add(host_port)
    return _sorted(found)


def _sorted(ports: Iterable[HostPort]) -> tuple[HostPort, ...]:
    return tuple(sorted(ports, key=lambda each: (each.protocol, each.port)))


def _ephemeral_ports() -> range:
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return range(int(low), int(high) + 1)
