"""The network of a task definition: its mode, what a container may say in it, and how an awsvpc one runs elsewhere.

Fargate demands awsvpc, and one's own machines have no VPC, so that on Amazon ECS no revision runs on both sides. Here
the tag `ecs-anywhere:external-network-mode` = bridge or host says how it runs on one's own machines. It is read once,
when the definition is registered, for a revision never changes.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-networking.html
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException, InvalidParameterException
from control_plane.domain.task_definition_texts import Container, has_cycle, repeated

EXTERNAL_NETWORK_MODE_TAG = "ecs-anywhere:external-network-mode"
EXTERNAL_NETWORK_MODES = ("bridge", "host")
EXTERNAL_NETWORK_MODE = "externalNetworkMode"
"""The member of a stored definition; Amazon's model has no such thing, so that no client sees it."""

_NOT_IN_AWSVPC = {
    "links": "Links are not supported when networkMode=awsvpc",
    "hostname": "hostname is not supported on container when networkMode=awsvpc",
    "extraHosts": "Extra hosts are not supported on container when networkMode=awsvpc",
    "dnsServers": "DNS servers are not supported on container when networkMode=awsvpc",
    "dnsSearchDomains": "DNS search domains are not supported on container when networkMode=awsvpc",
    "disableNetworking": "Disable Networking is not supported on container when networkMode=awsvpc",
}


def external_network_mode(network_mode: str, tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """{externalNetworkMode} of an awsvpc definition that says so, else {}. Raises InvalidParameterException."""
    for tag in tags:
        if tag["key"] == EXTERNAL_NETWORK_MODE_TAG:
            mode = tag.get("value", "")
            if mode not in EXTERNAL_NETWORK_MODES:
                raise InvalidParameterException(
                    f"Tag {EXTERNAL_NETWORK_MODE_TAG}: '{mode[:100]}' is not understood. Write bridge or host."
                )
            return {EXTERNAL_NETWORK_MODE: mode} if network_mode == "awsvpc" else {}
    return {}


def on_external(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition as one's own machines run it: the network mode is the one that its tag names.

    Its ports stay as they are: awsvpc has the same port on both sides, which is what bridge and host then have.
    """
    members = {name: value for name, value in definition.items() if name != EXTERNAL_NETWORK_MODE}
    mode = definition.get(EXTERNAL_NETWORK_MODE)
    return {**members, "networkMode": mode} if mode else members


def check_container_network(container: Container, network_mode: str) -> None:
    """Raises ClientException."""
    name = container["name"]
    if network_mode == "awsvpc":
        for member, message in _NOT_IN_AWSVPC.items():
            if container.get(member):
                raise ClientException(message)
    if container.get("links") and network_mode != "bridge":
        raise ClientException(f"Links are not supported when networkMode={network_mode}")
    hostname = container.get("hostname")
    if hostname and not re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,252}[a-zA-Z0-9])?", hostname):
        raise ClientException(f"Invalid 'hostname' setting for container '{name}'.")
    for host in container.get("extraHosts", ()):
        if not host.get("hostname"):
            raise ClientException(f"Invalid 'extraHosts' setting for container '{name}'. A host has no name.")
        _check_address(host.get("ipAddress", ""), "extraHosts", name)
    for address in container.get("dnsServers", ()):
        _check_address(address, "dnsServers", name)


def _check_address(text: str, member: str, container: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise ClientException(
            f"Invalid '{member}' setting for container '{container}'. '{text[:100]}' is no IP address."
        ) from error


def check_links(containers: Sequence[Container]) -> None:
    """`name` or `name:alias` of another container. Raises ClientException."""
    names = {container["name"] for container in containers}
    edges: dict[str, list[str]] = {}
    for container in containers:
        targets = [link.partition(":")[0] for link in container.get("links", ())]
        for target in targets:
            if target not in names:
                raise ClientException(f"Invalid 'links' setting. Unknown container: '{target}'")
        aliases = [link.partition(":")[2] or link for link in container.get("links", ())]
        if repeated(aliases):
            raise ClientException(f"Invalid 'links' setting. '{repeated(aliases)[0]}' is used more than once.")
        edges[container["name"]] = targets
    if has_cycle(edges):
        raise ClientException("Container links should not have a cycle")


def check_proxy(definition: Mapping[str, Any]) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ProxyConfiguration.html. Raises ClientException."""
    proxy = definition.get("proxyConfiguration")
    if not proxy:
        return
    if definition.get("networkMode") != "awsvpc":
        raise ClientException("APPMESH proxy configuration is only supported in networkMode=awsvpc")
    name = proxy.get("containerName", "")
    if name not in {container["name"] for container in definition["containerDefinitions"]}:
        raise ClientException(f"Proxy container [{name}] does not exist")
    said = {each.get("name"): each.get("value") for each in proxy.get("properties", ())}
    for member, words in (
        ("ProxyIngressPort", "Ingress port"),
        ("ProxyEgressPort", "Egress port"),
        ("AppPorts", "App ports"),
    ):
        if not said.get(member):
            raise ClientException(f"{words} not found")
    if not said.get("IgnoredUID") and not said.get("IgnoredGID"):
        raise ClientException("Ignored UID or GID not found")
