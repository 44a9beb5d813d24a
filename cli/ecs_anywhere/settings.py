"""Where a stack keeps what belongs to it, and how it is reached."""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ecs_anywhere.console import Problem
from ecs_anywhere.files import write_whole

REGION = "us-east-1"
API_ID = "ec5a0001"
API_PATH = f"/_aws/execute-api/{API_ID}/$default"
STACK_NAME = "ecs-anywhere"


def default_state_dir() -> Path:
    """ECS_ANYWHERE_STATE_DIR, or the usual place."""
    return Path(os.environ.get("ECS_ANYWHERE_STATE_DIR") or Path.home() / ".local/state/ecs-anywhere")


@dataclass(frozen=True)
class StateDir:
    """The files of one local stack. The directory is the owner's alone: it holds keys."""

    path: Path

    def command(self, name: str) -> str:
        """A command of ours for this directory, as a user may type it here."""
        usual = self.path == Path.home() / ".local/state/ecs-anywhere"
        return f"{sys.argv[0]} {name}" + ("" if usual else f" --state-dir {self.path}")

    def use_with_aws(self, operation: str) -> str:
        """How to call the ECS API with the AWS CLI, ours if there is no other."""
        aws = "aws" if shutil.which("aws") else str(Path(sys.executable).parent / "aws")
        return f'eval "$({self.command("env")})"; {aws} ecs {operation}'

    @property
    def stack_file(self) -> Path:
        return self.path / "stack.json"

    @property
    def emulator_process(self) -> Path:
        return self.path / "emulator.pid"

    @property
    def agent_process(self) -> Path:
        return self.path / "agent.pid"

    @property
    def agent_data(self) -> Path:
        return self.path / "agent"

    @property
    def build(self) -> Path:
        return self.path / "build"

    @property
    def built_mark(self) -> Path:
        """Says of which sources `build` is."""
        return self.path / "built"

    @property
    def deployed_mark(self) -> Path:
        """Says of which sources, and with which parameters, the emulator's saved state has the stack."""
        return self.path / "deployed"

    def temporary(self) -> Path:
        """For what other programs leave behind; emptied when the command ends (see `alone`)."""
        folder = self.path / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other command works on this directory meanwhile. Raises Problem if one does."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Problem(
                    f"Another `ecs-anywhere` is at work in {self.path}. Let it end, or end it with Ctrl-C; then try "
                    "again."
                ) from None
            try:
                yield
            finally:
                shutil.rmtree(self.path / "tmp", ignore_errors=True)

    def log(self, what: str) -> Path:
        return self.path / f"{what}.log"


@dataclass(frozen=True)
class Stack:
    """How to reach a stack, local or on AWS."""

    ecs_endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str
    registration_endpoint: str
    stack_name: str
    event_bus_name: str
    operator_function: str
    aws_endpoint: str | None = None
    """The emulator's; None: AWS."""
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    mqtt_host: str | None = None
    mqtt_port: int | None = None
    ca_file: str | None = None
    state_dir: str | None = None
    prefix: str = STACK_NAME
    credentials_role: str | None = None
    """What assumes the roles of tasks; None: nothing does."""
    task_role_path: str = "/ecs-anywhere/"
    task_role_tag: str = "task-role"

    def public(self) -> dict[str, Any]:
        """What `up --output json` prints."""
        return {
            "ecsEndpoint": self.ecs_endpoint,
            "region": self.region,
            "accessKeyId": self.access_key_id,
            "secretAccessKey": self.secret_access_key,
            "mqttHost": self.mqtt_host,
            "mqttPort": self.mqtt_port,
            "caFile": self.ca_file,
            "registrationEndpoint": self.registration_endpoint,
            "stateDir": self.state_dir,
            "stackName": self.stack_name,
            "eventBusName": self.event_bus_name,
            "awsEndpoint": self.aws_endpoint,
            "awsAccessKeyId": self.aws_access_key_id,
            "awsSecretAccessKey": self.aws_secret_access_key,
        }

    def save(self, file: Path) -> None:
        write_whole(file, json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, file: Path) -> "Stack":
        return cls(**json.loads(file.read_text()))
