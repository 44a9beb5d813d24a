"""The few calls of the Docker Engine API that the agent needs, over the Engine's Unix socket.

A client of its own because the agent must fit on a small machine: Docker's SDK and what it brings cost 9 MiB of
resident memory, this 1. https://docs.docker.com/reference/api/engine/
"""

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

_DEFAULT_SOCKET = "/var/run/docker.sock"
_TIMEOUT_SECONDS = 30.0
_CREATE_SECONDS, _START_SECONDS, _REMOVE_SECONDS = 240.0, 180.0, 300.0
"""What takes the Engine long on a small machine; all as with Amazon's agent."""
_SILENCE_SECONDS = 600.0
"""How long a pull may make no progress."""


class EngineUnreachableError(Exception):
    """Nobody answers at the socket; may pass."""


class EngineTimeoutError(EngineUnreachableError):
    """The Engine has taken a request and not answered it; whether it was done nobody knows."""


class EngineError(Exception):
    """The Engine's answer to a request that it refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """One Docker Engine. Safe for any number of threads: each call has its own connection.

    Every call may raise EngineUnreachableError; those that may be refused EngineError.
    """

    def __init__(self, socket_path: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self.socket_path = socket_path
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False

    def info(self) -> dict[str, Any]:
        """What the Engine and its machine can do."""
        found: dict[str, Any] = self._call("GET", "/info")
        return found

    def containers(self, label: str) -> list[dict[str, Any]]:
        """All containers with the label, running or not, in few words: their Id, Labels, State."""
        query = {"all": "1", "filters": json.dumps({"label": [label]})}
        found: list[dict[str, Any]] = self._call("GET", "/containers/json", query)
        return found

    def inspect(self, container: str) -> dict[str, Any] | None:
        return self._found(f"/containers/{quote(container)}/json")

    def create(self, name: str, config: Mapping[str, Any]) -> str:
        """The new container's id."""
        return str(self._call("POST", "/containers/create", {"name": name}, config, timeout=_CREATE_SECONDS)["Id"])

    def start(self, container: str) -> None:
        self._call("POST", f"/containers/{container}/start", timeout=_START_SECONDS)

    def kill(self, container: str, signal: str) -> None:
        self._call("POST", f"/containers/{container}/kill", {"signal": signal})

    def remove(self, container: str) -> None:
        self._call("DELETE", f"/containers/{container}", {"force": "1", "v": "1"}, timeout=_REMOVE_SECONDS)

    def stats(self, container: str) -> dict[str, Any] | None:
        """What it uses, from two samples a second apart."""
        return self._found(f"/containers/{quote(container)}/stats", {"stream": "false"})

    def bridge_gateway(self) -> str | None:
        """The machine's address in the network of containers in network mode bridge; None: there is none."""
        network = self._found("/networks/bridge") or {}
        for config in (network.get("IPAM") or {}).get("Config") or ():
            if config.get("Gateway"):
                return str(config["Gateway"])
            if config.get("Subnet"):  # some versions do not say it: it is the first address then
                first = int.from_bytes(socket.inet_aton(config["Subnet"].partition("/")[0])) + 1
                return socket.inet_ntoa(first.to_bytes(4))
        return None

    def volume(self, name: str) -> dict[str, Any] | None:
        return self._found(f"/volumes/{quote(name)}")

    def volumes(self, *labels: str) -> list[dict[str, Any]]:
        """All volumes with all of the labels."""
        answer = self._call("GET", "/volumes", {"filters": json.dumps({"label": list(labels)})})
        return list(answer["Volumes"] or ())

    def create_volume(self, config: Mapping[str, Any]) -> None:
        """Unless there is one of that name."""
        self._call("POST", "/volumes/create", body=config, timeout=_CREATE_SECONDS)

    def remove_volume(self, name: str) -> None:
        """Refused while a container has it, running or not."""
        self._call("DELETE", f"/volumes/{quote(name)}", timeout=_REMOVE_SECONDS)

    def image(self, image: str) -> dict[str, Any] | None:
        return self._found(f"/images/{quote(image)}/json")

    def pull(self, image: str) -> None:
        """Without credentials."""
        query = _reference(image)
        for progress in self._stream("POST", "/images/create", query, _SILENCE_SECONDS):
            if "error" in progress:
                raise EngineError(500, str(progress["error"]))

    def events(self, label: str) -> Iterator[dict[str, Any]]:
        """Ends when the Engine does. The first item is empty: from then on nothing is missed."""
        filters = {"type": ["container"], "label": [label], "event": ["die", "destroy", "health_status"]}
        yield from self._stream("GET", "/events", {"filters": json.dumps(filters)}, None, announce=True)

    def close(self) -> None:
        """Ends every call that is on its way."""
        with self._lock:
            self._closed = True
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def _found(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._call("GET", path, query)
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return found

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        seconds = timeout or self._timeout
        connection = self._connect(seconds)
        try:
            content = self._send(connection, method, path, query, body).read()
        except TimeoutError as error:
            message = f"{self.socket_path}: no answer to {method} {path} within {seconds:g} s"
            raise EngineTimeoutError(message) from error
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnreachableError(f"{self.socket_path}: {error!r}") from error
        finally:
            self._release(connection)
        return json.loads(content) if content.strip() else None

    def _stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        timeout: float | None,
        *,
        announce: bool = False,
    ) -> Iterator[dict[str, Any]]:
        connection = self._connect(timeout)
        try:
            answer = self._send(connection, method, path, query, None)
            if announce:
                yield {}
            while line := answer.readline():
                if line.strip():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnreachableError(f"{self.socket_path}: {error!r}") from error
        finally:
            self._release(connection)

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(timeout)
        try:
            link.connect(self.socket_path)
        except OSError as error:
            link.close()
            raise EngineUnreachableError(f"{self.socket_path}: {error.strerror}") from error
        with self._lock:
            if self._closed:
                link.close()
                raise EngineUnreachableError("closed")
            self._open.add(link)
        connection = http.client.HTTPConnection("docker")
        connection.sock = link
        return connection

    def _release(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._open.discard(connection.sock)
        connection.close()

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection, method: str, path: str, query: Mapping[str, str] | None, body: Any
    ) -> http.client.HTTPResponse:
        content = None if body is None else json.dumps(body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        connection.request(method, f"{path}?{urlencode(query or {})}", content, headers)
        answer = connection.getresponse()
        if answer.status >= 400:
            text = answer.read()
            try:
                message = str(json.loads(text)["message"])
            except (ValueError, KeyError, TypeError):
                message = text.decode(errors="replace")
            raise EngineError(answer.status, message)
        return answer

    def logs(
        self, container: str, *, tty: bool, tail: int | None, follow: bool, since: float | None = None
    ) -> Iterator[tuple[bool, bytes]]:
        """(whether it is of stderr, what was written); a terminal does not tell the two apart.

        https://docs.docker.com/reference/api/engine/version/v1.50/#tag/Container/operation/ContainerAttach
        """
        query = {"stdout": "1", "stderr": "1", "tail": "all" if tail is None else str(tail), "follow": str(int(follow))}
        if since is not None:
            query["since"] = f"{since:.9f}"
        connection = self._connect(None if follow else self._timeout)
        try:
            answer = self._send(connection, "GET", f"/containers/{container}/logs", query, None)
            if tty:
                while written := answer.read1(65536):
                    yield False, written
            while len(header := answer.read(8)) == 8:
                yield header[0] == 2, answer.read(int.from_bytes(header[4:], "big"))
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnreachableError(f"{self.socket_path}: {error!r}") from error
        finally:
            self._release(connection)


def find_engine() -> Engine:
    """The one that DOCKER_HOST names, else that of the system. Raises EngineUnreachableError."""
    host = os.environ.get("DOCKER_HOST", f"unix://{_DEFAULT_SOCKET}")
    if not host.startswith("unix://"):
        raise EngineUnreachableError(f"DOCKER_HOST is {host}, but only an Engine on this machine (unix://) can be used")
    return Engine(host.removeprefix("unix://"))


def _reference(image: str) -> dict[str, str]:
    name, separator, digest = image.partition("@")
    if separator:
        return {"fromImage": name, "tag": digest}
    repository, colon, tag = image.rpartition(":")
    return {"fromImage": repository, "tag": tag} if colon and "/" not in tag else {"fromImage": image, "tag": "latest"}
