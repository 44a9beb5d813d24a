"""MiniStack as the AWS of this machine: start, wait, end.

It saves its state when it ends by SIGTERM, and only then.
"""

import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass

from ecs_anywhere_cli.local import processes
from ecs_anywhere_cli.local.loopback_emulator import LOOPBACK
from ecs_anywhere_cli.local.state_dir import StateDir
from ecs_anywhere_cli.problem import ProblemError

REGION = "us-east-1"
ROOT_KEY = "test"
"""Access key id and secret of MiniStack's root; it takes no other."""

_READY_WITHIN_SECONDS = 60.0
_ENDS_WITHIN_SECONDS = 60.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_MQTT_MESSAGE_BYTES = 131_072  # AWS IoT Core's limit, which MiniStack would not keep


@dataclass(frozen=True, slots=True)
class Ports:
    """HTTP and MQTT, both on loopback."""

    http: int
    mqtt: int

    @property
    def aws_endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.http}"


class Emulator:
    """The one of a state directory."""

    def __init__(self, state_dir: StateDir) -> None:
        self._directory = state_dir.emulator
        self.log = self._directory / "emulator.log"
        self._lock = self._directory / "emulator.lock"
        self._ports_file = self._directory / "ports.json"
        self._temporary = self._directory / "tmp"

    def running(self) -> bool:
        return processes.holder(self._lock) is not None

    def last_ports(self) -> Ports | None:
        """Those that it runs on, or ran on last."""
        try:
            return Ports(**json.loads(self._ports_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def start(self, ports: Ports) -> None:
        """Returns when it answers. Raises ProblemError."""
        for port, option in ((ports.http, "--port"), (ports.mqtt, "--mqtt-port")):
            _require_free(port, option)
        self._clear_temporary_files()
        self._temporary.mkdir(mode=0o700)
        self._ports_file.write_text(json.dumps({"http": ports.http, "mqtt": ports.mqtt}))
        started = processes.start(
            [sys.executable, "-m", "ecs_anywhere_cli.local.loopback_emulator", str(self._lock)],
            environment=self._environment(ports),
            log=self.log,
            directory=self._directory,
        )
        try:
            deadline = time.monotonic() + _READY_WITHIN_SECONDS
            while not _ready(ports):
                if started.poll() is not None or time.monotonic() > deadline:
                    raise ProblemError(
                        f"The local AWS (MiniStack) did not start:\n\n{processes.last_lines(self.log)}\n\n"
                        f"The whole log: {self.log}"
                    )
                time.sleep(0.1)
        except BaseException:
            started.kill()
            started.wait()
            raise

    def end(self) -> bool:
        """Saves the state. False if it was not running."""
        ended = processes.end(self._lock, within_seconds=_ENDS_WITHIN_SECONDS)
        self._clear_temporary_files()
        return ended

    def discard(self) -> None:
        """End it so that what it holds now is not saved: the state stays that of the last `end`."""
        processes.end(self._lock, within_seconds=_ENDS_WITHIN_SECONDS, signal_number=signal.SIGKILL)
        self._clear_temporary_files()

    def mqtt_ca_pem(self, ports: Ports) -> str:
        """The authority of the MQTT listener's certificate; stays the same while the state is kept."""
        with urllib.request.urlopen(f"{ports.aws_endpoint}/_ministack/iot/ca.pem", timeout=30) as answer:
            return str(answer.read().decode())

    def _clear_temporary_files(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _environment(self, ports: Ports) -> dict[str, str]:
        """Not the caller's: functions inherit it, and an AWS_… or proxy setting of the caller would mislead them."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return inherited | {
            "AUTH": "true",
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(ports.http),
            "IOT_MTLS_PORT": str(ports.mqtt),
            "IOT_WS_FRAME_MAX_BYTES": str(_MQTT_MESSAGE_BYTES),
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self._directory / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self._directory / "s3"),
            "TMPDIR": str(self._temporary),
            "MINISTACK_REGION": REGION,
            "DOCKER_HOST": f"unix://{self._directory}/no-docker",  # else it reaps containers
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
        }


def free_port(preferred: int) -> int:
    """`preferred`, or the next one that nobody listens on."""
    for port in range(preferred, min(preferred + 200, 65536)):
        if _is_free(port):
            return port
    raise ProblemError(f"No free port from {preferred} on. Name one with --port and --mqtt-port.")


def _require_free(port: int, option: str) -> None:
    if not _is_free(port):
        raise ProblemError(
            f"Port {port} is in use by another program (`ss -ltnp 'sport = :{port}'` shows which). "
            f"End it, or choose another port with {option}."
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _ready(ports: Ports) -> bool:
    try:
        with urllib.request.urlopen(f"{ports.aws_endpoint}/_ministack/ready", timeout=5) as answer:
            status = json.load(answer)
    except (OSError, ValueError):
        return False
    return bool(status.get("status") == "completed" and status.get("iot_mtls") == "listening")


