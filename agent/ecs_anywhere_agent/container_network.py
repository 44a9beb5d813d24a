"""The network of a container, as a task definition says it. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/networking-networkmode-bridge.html
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

Protocol = Literal["tcp", "udp"]


class PortMapping(NamedTuple):
    """hostPort 0: the machine chooses."""

    container_port: int
    host_port: int
    protocol: Protocol


class PortRange(NamedTuple):
    """Ports that follow each other, on both sides."""

    first: int
    last: int
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def size(self) -> int:
        return self.last - self.first + 1


class Link(NamedTuple):
    """Another container of the task, reached under a name of its own."""

    container: str
    alias: str


class Network(NamedTuple):
    """What is said beside the network mode and single ports."""

    port_ranges: tuple[PortRange, ...] = ()
    links: tuple[Link, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(name, address)."""
    dns_servers: tuple[str, ...] = ()
    dns_search_domains: tuple[str, ...] = ()
    hostname: str | None = None
    disabled: bool = False


def network_of(container: Mapping[str, Any], network_mode: str) -> Network:
    return Network(
        port_ranges=tuple(_ranges(container, network_mode)),
        links=tuple(_link(text) for text in container.get("links") or ()),
        extra_hosts=tuple((each["hostname"], each["ipAddress"]) for each in container.get("extraHosts") or ()),
        dns_servers=tuple(container.get("dnsServers") or ()),
        dns_search_domains=tuple(container.get("dnsSearchDomains") or ()),
        hostname=container.get("hostname") or None,
        disabled=bool(container.get("disableNetworking")),
    )


def port_mappings(container: Mapping[str, Any], network_mode: str) -> tuple[PortMapping, ...]:
    """Single ports. In network mode host a container's port is the machine's; with none there are no ports."""
    if network_mode == "none":
        return ()
    mappings = []
    for entry in container.get("portMappings") or ():
        if entry.get("containerPortRange"):
            continue
        port = int(entry["containerPort"])
        host_port = port if network_mode == "host" else int(entry.get("hostPort") or 0)
        mappings.append(PortMapping(port, host_port, _protocol(entry)))
    return tuple(mappings)


def _ranges(container: Mapping[str, Any], network_mode: str) -> Iterable[PortRange]:
    for entry in container.get("portMappings") or ():
        if entry.get("containerPortRange") and network_mode != "none":
            first, _, last = entry["containerPortRange"].partition("-")
            yield PortRange(int(first), int(last), _protocol(entry))


def _protocol(entry: Mapping[str, Any]) -> Protocol:
    return "udp" if entry.get("protocol") == "udp" else "tcp"


def _link(text: str) -> Link:
    name, _, alias = text.partition(":")
    return Link(name, alias or name)
