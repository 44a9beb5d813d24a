"""A registry of images on this machine that wants a password: Debian's docker-registry."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USERNAME, PASSWORD = "puller", "hunter2"
_HTPASSWD = "puller:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n"
"""bcrypt, the only form that it takes."""


@contextmanager
def private(directory: Path) -> Iterator[str]:
    """Its address. Skips where there is none."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no docker-registry")
    directory.mkdir()
    (directory / "htpasswd").write_text(_HTPASSWD)
    (directory / "config.yml").write_text("version: 0.1\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "REGISTRY_HTTP_ADDR": address,
        "REGISTRY_HTTP_SECRET": "of no use",
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(directory / "images"),
        "REGISTRY_AUTH_HTPASSWD_REALM": "tests",
        "REGISTRY_AUTH_HTPASSWD_PATH": str(directory / "htpasswd"),
    }
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "serve", str(directory / "config.yml")], env=environment, stdout=log, stderr=log
        )
    try:
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=5)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 401:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the registry did not start")
