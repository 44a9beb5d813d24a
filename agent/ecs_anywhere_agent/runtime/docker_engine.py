"""The few calls of the Docker Engine API that the agent needs, over the Engine's Unix socket.

A client of its own because the agent must fit on a small machine: Docker's SDK and what it brings cost 9 MiB of
resident memory, this 1. https://docs.docker.com/reference/api/engine/
"""

import base64
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode

from ecs_anywhere_agent.settings import Settings

_DEFAULT_SOCKET = "/var/run/docker.sock"
_TIMEOUT_SECONDS = 30.0
_REMOVE_SECONDS = 300.0
_KINDS = {bytes: "application/x-tar", str: "application/json"}


class Patience(NamedTuple):
    """How long the Engine may take for what takes long on a small machine, in seconds; all as with Amazon's agent."""

    create: float = 240.0
    start: float = 180.0
    pull: float = 7200.0
    pull_silence: float = 60.0
    """How long a pull may make no progress."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            settings.container_create_timeout,
            settings.container_start_timeout,
            settings.pull_timeout,
            settings.pull_inactivity_timeout,
        )


_PATIENCE = Patience()


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

    def __init__(
        self, socket_path: str, timeout_seconds: float = _TIMEOUT_SECONDS, patience: Patience = _PATIENCE
    ) -> None:
        self.socket_path = socket_path
        self._timeout = timeout_seconds
        self._patience = patience
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
        answer = self._call("POST", "/containers/create", {"name": name}, config, timeout=self._patience.create)
        return str(answer["Id"])

    def start(self, container: str) -> None:
        self._call("POST", f"/containers/{container}/start", timeout=self._patience.start)

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
        self._call("POST", "/volumes/create", body=config, timeout=self._patience.create)

    def remove_volume(self, name: str) -> None:
        """Refused while a container has it, running or not."""
        self._call("DELETE", f"/volumes/{quote(name)}", timeout=_REMOVE_SECONDS)

    def image(self, image: str) -> dict[str, Any] | None:
        return self._found(f"/images/{quote(image)}/json")

    def images(self) -> list[dict[str, Any]]:
        """All that are not only a layer of another, in few words: their Id, RepoTags, RepoDigests, Size, Created."""
        found: list[dict[str, Any]] = self._call("GET", "/images/json")
        return found

    def all_containers(self) -> list[dict[str, Any]]:
        """Anybody's, running or not, in few words: their Id, ImageID, Labels, State."""
        found: list[dict[str, Any]] = self._call("GET", "/containers/json", {"all": "1"})
        return found

    def import_image(self, repository: str, tag: str, archive: bytes) -> None:
        """Make an image of a tar file of its files."""
        query = {"fromSrc": "-", "repo": repository, "tag": tag}
        answer = self._call("POST", "/images/create", query, archive, timeout=self._patience.create)
        if "error" in answer:
            raise EngineError(500, str(answer["error"]))

    def remove_image(self, reference: str) -> None:
        """By a name: that name, and the image with its last one. Refused if a container has the image."""
        self._call("DELETE", f"/images/{quote(reference)}", timeout=_REMOVE_SECONDS)

    def pull(
        self,
        image: str,
        credentials: Mapping[str, str] | None = None,
        told: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        """`credentials` are Docker's AuthConfig; `told` gets each of the Engine's words of progress."""
        auth = None if credentials is None else base64.urlsafe_b64encode(json.dumps(dict(credentials)).encode())
        headers = {} if auth is None else {"X-Registry-Auth": auth.decode()}
        give_up_at = time.monotonic() + self._patience.pull
        stream = self._stream("POST", "/images/create", _reference(image), self._patience.pull_silence, headers=headers)
        try:
            for progress in stream:
                if "error" in progress:
                    raise EngineError(500, str(progress["error"]))
                if time.monotonic() > give_up_at:
                    waited = f"{self._patience.pull:g} s"
                    raise EngineError(504, f"Could not transition to pulled; timed out after waiting {waited}")
                told(progress)
        except EngineTimeoutError as error:
            raise EngineError(504, "inactivity time exceeded timeout while pulling image") from error
        finally:
            stream.close()

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
        headers: Mapping[str, str] | None = None,
    ) -> Generator[dict[str, Any]]:
        connection = self._connect(timeout)
        try:
            answer = self._send(connection, method, path, query, None, headers=headers)
            if announce:
                yield {}
            while line := answer.readline():
                if line.strip():
                    yield json.loads(line)
        except TimeoutError as error:
            raise EngineTimeoutError(f"{self.socket_path}: silent for {timeout:g} s after {method} {path}") from error
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
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        kind = {} if content is None else {"Content-Type": _KINDS[type(content)]}
        connection.request(method, f"{path}?{urlencode(query or {})}", content, {**kind, **(headers or {})})
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


def find_engine(patience: Patience = _PATIENCE) -> Engine:
    """The one that DOCKER_HOST names, else that of the system. Raises EngineUnreachableError."""
    host = os.environ.get("DOCKER_HOST", f"unix://{_DEFAULT_SOCKET}")
    if not host.startswith("unix://"):
        raise EngineUnreachableError(f"DOCKER_HOST is {host}, but only an Engine on this machine (unix://) can be used")
    return Engine(host.removeprefix("unix://"), patience=patience)


def _reference(image: str) -> dict[str, str]:
    name, separator, digest = image.partition("@")
    if separator:
        return {"fromImage": name, "tag": digest}
    repository, colon, tag = image.rpartition(":")
    return {"fromImage": repository, "tag": tag} if colon and "/" not in tag else {"fromImage": image, "tag": "latest"}
