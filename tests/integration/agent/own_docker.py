"""A second Docker Engine on this machine, which holds nothing of anybody's."""

import subprocess
from contextlib import suppress
from pathlib import Path

import docker

from ecs_anywhere_agent.runtime.docker_engine import Engine
from integration.agent.runtimes import eventually


class OwnDocker:
    """A Docker Engine that may die."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = str(directory / "docker.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, live_restore: bool = False) -> None:
        arguments = [
            *("unshare", "--net"),  # without a bridge dockerd removes docker0, which is not ours
            "dockerd",
            f"--host=unix://{self.socket}",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/pid",
            "--storage-driver=vfs",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            *(["--live-restore"] if live_restore else []),
        ]
        with (self.directory / "log").open("a") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        eventually(self._answers, 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)
            self._process = None

    def remove(self) -> None:
        """With what a stop leaves for the next start."""
        if self._process is None:
            self.start()
        client = self.client()
        for container in client.containers.list(all=True):
            container.remove(force=True)
        client.close()
        self.stop()
        # --live-restore leaves it mounted, upon itself.
        subprocess.run(["umount", self.directory / "data"], check=False, capture_output=True)

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=f"unix://{self.socket}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()[-3000:]
        with suppress(Exception):
            return bool(Engine(self.socket).info())
        return False
