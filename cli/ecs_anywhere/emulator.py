"""MiniStack, the local AWS: one process for each state directory."""

import os
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ecs_anywhere import processes, saved_state
from ecs_anywhere.console import Problem
from ecs_anywhere.files import write_whole
from ecs_anywhere.interrupts import unbroken
from ecs_anywhere.settings import StateDir

START_SECONDS = 60
KEPT = frozenset({"HOME", "LANG", "TZ", "USER", "SSL_CERT_FILE", "PYTHONDONTWRITEBYTECODE"})
CREDENTIALS = ("test", "test")
"""MiniStack's root user; they reach nothing but the emulator."""


@dataclass(frozen=True)
class Emulator:
    """Its listeners are on loopback only."""

    state: StateDir
    port: int
    mqtt_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.state.path / "mqtt-ca.pem"

    def running(self) -> bool:
        return running(self.state)

    def start(self) -> None:
        """Start it and wait until it answers. Raises Problem."""
        for port, option in ((self.port, "--port"), (self.mqtt_port, "--mqtt-port")):
            if taken(port):
                raise Problem(f"Port {port} is in use. End what listens there, or choose another one with {option}.")
        saved_state.mend(self.state.path / "emulator" / "state")
        log = self.state.log("emulator")
        log.unlink(missing_ok=True)
        processes.start(
            [sys.executable, "-m", "ecs_anywhere.ministack_on_loopback"],
            log=log,
            pid_file=self.state.emulator_process,
            env=self._environment(),
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running() or time.monotonic() > deadline:
                self.stop()
                raise Problem(f"The local AWS did not start. The end of {log}:\n{processes.tail(log)}")
            time.sleep(0.1)
        write_whole(self.ca_file, self._fetch("/_ministack/iot/ca.pem").decode())

    def stop(self) -> bool:
        """End it; it saves its state. Answers whether it ran."""
        return stop(self.state)

    def abandon(self) -> None:
        """End it at once: what it saved last stays, and what is half-made is gone."""
        processes.end(self.state.emulator_process, signal_first=signal.SIGKILL, with_session=True)
        self.stop()

    def restart(self) -> None:
        """Save its state, which it does only when it ends."""
        self.stop()
        self.start()

    def _environment(self) -> dict[str, str]:
        folders = {name: self.state.path / "emulator" / name for name in ("state", "s3", "tmp")}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        # Functions inherit the emulator's environment: nothing of the caller's that could change what they do.
        kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LC_")}
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            # MiniStack ends containers that bear its labels: it is to find no Docker Engine.
            "DOCKER_HOST": f"unix://{self.state.path / 'no-docker.sock'}",
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_PORT": str(self.mqtt_port),
            "IOT_WS_FRAME_MAX_BYTES": "131072",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(folders["state"]),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(folders["s3"]),
            "SFTP_ENABLED": "0",
            "TMPDIR": str(folders["tmp"]),
        }

    def _answers(self) -> bool:
        try:
            self._fetch("/_ministack/health")
        except (OSError, urllib.error.URLError):
            return False
        return taken(self.mqtt_port)

    def _fetch(self, path: str) -> bytes:
        # No proxy stands between this machine and itself.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(self.url + path, timeout=5) as answer:
            body: bytes = answer.read()
            return body


def running(state: StateDir) -> bool:
    """Whether a state directory's emulator runs."""
    return processes.find(state.emulator_process) is not None


def stop(state: StateDir) -> bool:
    """End a state directory's emulator, if it runs; it saves its state. Answers whether it ran."""
    with unbroken():  # half of a saved state is of no use
        ran = processes.end(state.emulator_process, with_session=True)
    shutil.rmtree(state.path / "emulator" / "tmp", ignore_errors=True)
    return ran


def taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
