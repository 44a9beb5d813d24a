"""A registry of this machine, Debian's docker-registry, with or without passwords.

The Engine takes one at 127.0.0.1 without TLS.
"""

import io
import os
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

USERNAME, PASSWORD = "puller", "hunter2"
_HTPASSWD = "puller:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n"
"""bcrypt, the only form that it takes."""


class Registry:
    """Begins stopped; what was pushed stays over a stop."""

    def __init__(self, directory: Path, port: int, *, passwords: bool) -> None:
        self.host = f"127.0.0.1:{port}"
        self._directory = directory
        self._passwords = passwords
        self._process: subprocess.Popen[bytes] | None = None
        self._client = docker.from_env()
        self._pushed: set[str] = set()

    def start(self) -> None:
        command = shutil.which("docker-registry")
        if command is None:
            pytest.skip("no docker-registry")
        (self._directory / "htpasswd").write_text(_HTPASSWD)
        auth = f"auth: {{htpasswd: {{realm: test, path: {self._directory}/htpasswd}}}}\n" if self._passwords else ""
        (self._directory / "config.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self._directory}/data}}}}\n"
            f"http: {{addr: {self.host}}}\n{auth}"
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [command, "serve", self._directory / "config.yml"], env=environment, stdout=log, stderr=log
            )
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5).close()
                return
            except urllib.error.HTTPError as error:
                error.close()  # it wants a password
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self._directory / "log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(self, name: str, content: str) -> str:
        """An image that holds nothing but the content, and is not left on the machine. Its digest in the registry."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            file = tarfile.TarInfo("content")
            file.size = len(content)
            tar.addfile(file, io.BytesIO(content.encode()))
        repository, _, tag = name.rpartition(":")
        repository = f"{self.host}/{repository}"
        self._client.api.import_image_from_data(archive.getvalue(), repository=repository, tag=tag)
        auth = {"username": USERNAME, "password": PASSWORD} if self._passwords else None
        told = list(self._client.api.push(repository, tag, stream=True, decode=True, auth_config=auth))
        errors = [each["error"] for each in told if "error" in each]
        assert not errors, errors
        self._client.api.remove_image(f"{repository}:{tag}")
        self._pushed.add(repository)
        return str(next(each["aux"]["Digest"] for each in told if "aux" in each))

    def manifests_asked_for(self, repository: str) -> int:
        """How often anybody has begun to pull by a tag."""
        log = (self._directory / "log").read_text()
        return log.count(f'"HEAD /v2/{repository}/manifests/')

    def close(self) -> None:
        """With all that was pulled from it."""
        self.stop()
        for image in self._client.api.images():
            names = [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]
            if any(name.startswith(f"{self.host}/") for name in names):
                self._client.api.remove_image(image["Id"], force=True)
        self._client.close()


@contextmanager
def registry(directory: Path, *, passwords: bool = False) -> Iterator[Registry]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory.mkdir()
    made = Registry(directory, port, passwords=passwords)
    try:
        made.start()
        yield made
    finally:
        made.close()


@contextmanager
def private(directory: Path) -> Iterator[str]:
    """The address of one that wants a password. Skips where there is none."""
    with registry(directory, passwords=True) as made:
        yield made.host
