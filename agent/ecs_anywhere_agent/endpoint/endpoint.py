"""The local endpoint: where it listens, and what containers are told of it.

Its port and its key are made once for a data directory: a container keeps its environment when it is started again in
place, whatever agent runs by then.
"""

import json
import logging
import random
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.endpoint import loopback
from ecs_anywhere_agent.endpoint.identifiers import Identifiers
from ecs_anywhere_agent.endpoint.server import Answer, Request, Server
from ecs_anywhere_agent.runtime.interface import RuntimeUnavailableError
from ecs_anywhere_agent.runtime.process_files import read, write

_log = logging.getLogger(__name__)

FILE = "endpoint.json"
_LOCALHOST = "127.0.0.1"
_PORTS = range(21000, 30000)
"""Neither Amazon's agent's nor those that the kernel hands out, so that nobody has it when the agent comes back."""
_TRIES = 50
_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ROLE, _ROLE_IN_HOST, LOGS_BY_ROLE = "task-role", "task-role-network-host", "execution-role-awslogs"


class Endpoint:
    """Open before containers are made, which are told of it, and served as soon as there is something to answer with.

    Unless a Docker Engine is named it serves processes of this machine: those have its network in any network mode.
    """

    def __init__(self, identifiers: Identifiers, listening: socket.socket) -> None:
        self.identifiers = identifiers
        self._listening = [listening]
        self.port: int = listening.getsockname()[1]
        here = f"http://{_LOCALHOST}:{self.port}"
        self._bases = dict.fromkeys(("bridge", "host", "none"), here)
        """Of the URIs that a container of a network mode is given."""
        self.features: frozenset[str] = frozenset({_ROLE, _ROLE_IN_HOST})
        """What a runtime can do because of it, in the words of the table of capabilities."""

    @classmethod
    def open(cls, data_dir: Path) -> "Endpoint":
        """Raises RuntimeUnavailableError if no port of the loopback interface can be had."""
        key, port = _stored(data_dir)
        try:
            listening = _listen_somewhere() if port is None else _listen(_LOCALHOST, port)
        except OSError as error:
            listening = _listen_somewhere()
            _log.warning(
                "port %s of %s cannot be had (%s): containers that run have no metadata and credentials until they "
                "are replaced; new ones find them at port %d", port, _LOCALHOST, error, listening.getsockname()[1]
            )  # fmt: skip
        endpoint = cls(Identifiers(key), listening)
        if endpoint.port != port:
            write(data_dir / FILE, json.dumps({"port": endpoint.port, "key": key.hex()}))
        return endpoint

    def serve_docker(self, gateway: str | None) -> None:
        """Containers of the Engine that has this gateway in its bridge, as far as they can reach this agent.

        Where the agent may not add the address at which SDKs believe credentials (loopback.py), containers in network
        mode bridge have their metadata at the gateway, and no credentials.
        """
        here = self._bases["host"]
        if gateway is None or not loopback.is_of_this_machine(gateway):
            _log.warning("containers get no metadata and no credentials: the network of Docker is not this machine's")
            self._bases, self.features = {}, frozenset()
            return
        self._bases, self.features = {"host": here}, frozenset({_ROLE_IN_HOST})
        try:
            loopback.add_address()
            address, features = loopback.ADDRESS, {_ROLE, _ROLE_IN_HOST, LOGS_BY_ROLE}
        except OSError as error:
            _log.warning(
                "tasks with a role cannot run here: the address %s cannot be added to the loopback interface (%s). Run "
                "the agent as root, or: ip address add %s/32 dev lo", loopback.ADDRESS, error, loopback.ADDRESS
            )  # fmt: skip
            address, features = gateway, {_ROLE_IN_HOST}
        try:
            self._listening.append(_listen(address, self.port))
        except OSError as error:
            _log.warning("containers in network mode bridge get no metadata and no credentials: %s", error)
            return
        self._bases["bridge"], self.features = f"http://{address}:{self.port}", frozenset(features)

    def of_log_driver(self, task_id: str) -> str | None:
        """What Docker's awslogs driver is to put behind http://169.254.170.2 to get the execution role's credentials.

        It puts the two together as they are (moby's daemon/logger/awslogs), so that a port may be named. None: it
        would not find them.
        """
        if LOGS_BY_ROLE not in self.features:
            return None
        return f":{self.port}/v2/credentials/{self.identifiers.of_execution_role(task_id)}"

    def told(self, ref: ContainerRef, spec: ContainerSpec, of_image: Iterable[str] = ()) -> ContainerSpec:
        """With the variables that Amazon's agent adds to a container's, whatever the task definition says of them.

        `of_image` are the names that its image sets.
        """
        added = {**self._variables(ref, spec), **_region(spec, of_image)}
        return spec._replace(environment=tuple({**dict(spec.environment), **added}.items()))

    def _variables(self, ref: ContainerRef, spec: ContainerSpec) -> dict[str, str]:
        base = None if spec.network.disabled else self._bases.get(spec.network_mode)
        if base is None:
            return {}
        identifier = self.identifiers.of(ref)
        metadata = {"ECS_CONTAINER_METADATA_URI_V4": f"{base}/v4/{identifier}"}
        if spec.acts_as is None or _ROLE not in self.features:
            return metadata
        return {
            **metadata,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{base}/v2/credentials/{identifier}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.identifiers.token_of(ref),
        }

    @contextmanager
    def serving(self, answer: Callable[[Request], Answer]) -> Iterator[None]:
        server = Server(self._listening, answer)
        server.start()
        try:
            yield
        finally:
            server.close()

    def close(self) -> None:
        for each in self._listening:
            each.close()


def _stored(data_dir: Path) -> tuple[bytes, int | None]:
    """Key and port of an earlier agent; a new key and no port, if none can be read."""
    stored = read(data_dir / FILE) or {}
    try:
        return bytes.fromhex(stored["key"]), int(stored["port"])
    except (KeyError, TypeError, ValueError):
        return secrets.token_bytes(32), None


def _region(spec: ContainerSpec, of_image: Iterable[str]) -> dict[str, str]:
    """Unless the task definition or the image says one. https://github.com/aws/amazon-ecs-agent/pull/4946"""
    said = {name for name, _ in spec.environment}.union(of_image)
    region = "".join(spec.origin.task_arn.split(":")[3:4])
    return {} if said.intersection(_REGION) or not region else dict.fromkeys(_REGION, region)


def _listen(address: str, port: int) -> socket.socket:
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def _listen_somewhere() -> socket.socket:
    """By chance, so that two agents of a machine do not want the same one when they start."""
    problem: OSError | None = None
    for port in random.sample(_PORTS, _TRIES):
        try:
            return _listen(_LOCALHOST, port)
        except OSError as error:
            problem = error
    raise RuntimeUnavailableError(f"no port of {_LOCALHOST} can be listened on for containers: {problem}")
