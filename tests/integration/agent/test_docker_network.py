"""The network of containers: what Docker was told of it, what the processes see, and what is reported."""

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_protocol.messages import NetworkBinding
from integration.agent.docker_containers import Containers, at, closing
from integration.agent.runtimes import eventually
from shows import shows

pytestmark = pytest.mark.docker


@pytest.fixture
def containers(engine: Engine, tmp_path: Path) -> Iterator[Containers]:
    with closing(Containers(engine, tmp_path)) as made:
        yield made


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(type=kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def lasting(interfaces: Iterable[str]) -> set[str]:
    """Without those of other containers, which come and go."""
    return {each for each in interfaces if not each.startswith("veth")}


@pytest.mark.parametrize(
    ("mode", "sees"),
    [
        pytest.param("bridge", {"eth0", "lo"}, id="bridge"),
        pytest.param("none", {"lo"}, id="none"),
        pytest.param("host", lasting(each.name for each in Path("/sys/class/net").iterdir()), id="host"),
    ],
)
@shows("networkMode")
def test_the_network_mode(containers: Containers, mode: str, sees: set[str]) -> None:
    started = containers.start({"command": ["sh", "-c", "ls /sys/class/net"]}, networkMode=mode)["main"]
    assert containers.inspect(started)["HostConfig"]["NetworkMode"] == mode
    assert lasting(containers.output(started).split()) == sees


@pytest.mark.parametrize(
    ("members", "command", "told", "seen"),
    [
        pytest.param(
            {"hostname": "web.example.com"},
            "hostname",
            {"Config.Hostname": "web.example.com"},
            "web.example.com\n",
            marks=shows("hostname"),
            id="hostname",
        ),
        pytest.param(
            {"extraHosts": [{"hostname": "db", "ipAddress": "10.9.8.7"}]},
            "grep 10.9.8.7 /etc/hosts",
            {"HostConfig.ExtraHosts": ["db:10.9.8.7"]},
            "10.9.8.7\tdb\n",
            marks=shows("extraHosts.hostname", "extraHosts.ipAddress"),
            id="extra-hosts",
        ),
        pytest.param(
            {"dnsServers": ["10.9.8.7"], "dnsSearchDomains": ["example.com"]},
            "grep -E '^(nameserver|search)' /etc/resolv.conf",
            {"HostConfig.Dns": ["10.9.8.7"], "HostConfig.DnsSearch": ["example.com"]},
            "search example.com\nnameserver 10.9.8.7\n",
            marks=shows("dnsServers", "dnsSearchDomains"),
            id="dns",
        ),
        pytest.param(
            {"disableNetworking": True},
            "echo $(ls /sys/class/net)",
            {"Config.NetworkDisabled": True},
            "lo\n",
            marks=shows("disableNetworking"),
            id="no-network",
        ),
    ],
)
def test_a_member_is_what_docker_is_told_and_what_the_process_sees(
    containers: Containers, members: dict[str, Any], command: str, told: dict[str, Any], seen: str
) -> None:
    started = containers.start({"command": ["sh", "-c", command], **members})["main"]
    inspected = containers.inspect(started)
    assert {path: at(inspected, path) for path in told} == told
    assert containers.output(started) == seen


@pytest.mark.parametrize("dynamic", [True, False])
@shows("portMappings.containerPort", "portMappings.hostPort", "portMappings.protocol")
def test_ports_of_both_protocols_are_mapped_and_reported(containers: Containers, dynamic: bool) -> None:
    tcp, udp = (free_port(kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
    mappings = [
        {"containerPort": 8080, "protocol": "tcp", **({} if dynamic else {"hostPort": tcp})},
        {"containerPort": 8080, "protocol": "udp", **({} if dynamic else {"hostPort": udp})},
    ]
    started = containers.start(
        {"command": ["sh", "-c", "nc -lu -p 8080 & httpd -f -p 8080"], "portMappings": mappings}
    )["main"]
    by_protocol = {binding.protocol: binding for binding in started.bindings}
    assert {(each.bind_ip, each.container_port) for each in by_protocol.values()} == {("0.0.0.0", 8080)}
    if not dynamic:
        assert (by_protocol["tcp"].host_port, by_protocol["udp"].host_port) == (tcp, udp)
    eventually(lambda: listens(by_protocol["tcp"].host_port))


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@shows("portMappings.containerPortRange")
def test_a_range_is_mapped_to_ports_that_follow_each_other(
    containers: Containers, engine: Engine, tmp_path: Path
) -> None:
    command = ["sh", "-c", "httpd -f -p 8001 & httpd -f -p 8002"]
    ranges = [{"containerPortRange": "8000-8002"}, {"containerPortRange": "9000-9001", "protocol": "udp"}]
    single = {"containerPort": 7000, "hostPort": free_port(socket.SOCK_STREAM)}
    one = {"name": "one", "command": command, "portMappings": [*ranges, single]}
    two = {"name": "two", "command": command, "portMappings": ranges}
    started = containers.start(one, two)
    tcp, udp, mapped = started["one"].bindings
    assert mapped == NetworkBinding(bind_ip="0.0.0.0", container_port=7000, host_port=single["hostPort"])
    assert tcp == NetworkBinding(
        bind_ip="0.0.0.0",
        container_port=8000,
        host_port=tcp.host_port,
        container_port_range="8000-8002",
        host_port_range=f"{tcp.host_port}-{tcp.host_port + 2}",
    )
    assert (udp.container_port_range, udp.protocol, len(udp.host_ports)) == ("9000-9001", "udp", 2)
    assert not set(tcp.host_ports) & set(started["two"].bindings[0].host_ports)
    eventually(lambda: listens(tcp.host_port + 1) and listens(tcp.host_port + 2))
    with closing(Containers(engine, tmp_path)) as next_agent:
        adopted = {each.ref.name: each.bindings for each in next_agent.driver.inventory}
        assert adopted == {name: each.bindings for name, each in started.items()}


def test_with_the_network_of_the_machine_a_range_is_its_own(containers: Containers) -> None:
    mapping = {"containerPortRange": "18081-18082"}
    started = containers.start({"command": ["sleep", "1000"], "portMappings": [mapping]}, networkMode="host")["main"]
    (binding,) = started.bindings
    assert (binding.container_port_range, binding.host_port_range) == ("18081-18082", "18081-18082")


@shows("links")
def test_a_linked_container_is_reached_by_its_name_and_its_alias(containers: Containers) -> None:
    started = containers.start(
        {"name": "db", "command": ["sh", "-c", "echo data >/tmp/x; httpd -f -p 80 -h /tmp"]},
        {"name": "app", "links": ["db:store"], "command": ["sh", "-c", "busybox wget -qO- http://store/x"]},
    )
    links = containers.inspect(started["app"])["HostConfig"]["Links"]
    assert [link.rpartition("/")[2] for link in links] == ["store"]
    assert containers.output(started["app"]) == "data\n"
