"""Where a local stack lives on disk. Everything in it is for its owner only.

<state dir>/
    stack.json, mqtt-ca.pem     what clients and agents need to know of the running stack
    up.lock                     held by the `up` or `down` that is at work
    emulator/                   the emulator's lock, log, state, S3 objects and temporary files
    deployment/                 sam's logs, and what was deployed last
    demo/                       the demo's agent: data directory and log
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ecs_anywhere_cli.problem import ProblemError


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A stack on this machine; the members are those that `up --output json` prints, and the operator's function."""

    ecs_endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str
    mqtt_host: str
    mqtt_port: int
    ca_file: str
    registration_endpoint: str
    state_dir: str
    stack_name: str
    event_bus_name: str
    aws_endpoint: str
    aws_access_key_id: str
    aws_secret_access_key: str
    operator_function_name: str
    port: int

    def to_public(self) -> dict[str, str | int]:
        """As the command prints it, in camelCase."""
        internal = {"operator_function_name", "port"}
        return {_camel(name): value for name, value in asdict(self).items() if name not in internal}


class StateDir:
    """Paths, and the files that hold credentials."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.emulator = self.path / "emulator"
        self.deployment = self.path / "deployment"
        self.demo = self.path / "demo"
        self.stack_file = self.path / "stack.json"
        self.ca_file = self.path / "mqtt-ca.pem"

    def prepare(self) -> None:
        try:
            for directory in (self.path, self.emulator, self.deployment, self.demo):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise ProblemError(f"Cannot use {self.path}: {error}. Choose another place with --state-dir.") from error

    def load(self) -> LocalStack:
        """Raises ProblemError where no stack has been brought up."""
        try:
            stored = json.loads(self.stack_file.read_text())
            return LocalStack(**{field.name: stored[field.name] for field in fields(LocalStack)})
        except (OSError, ValueError, KeyError) as error:
            raise ProblemError(
                f"There is no local stack in {self.path}. Start one with `ecs-anywhere up --detach`, name another "
                "--state-dir, or name a stack on AWS with --stack-name."
            ) from error

    def save(self, stack: LocalStack) -> None:
        write_private(self.stack_file, json.dumps(asdict(stack), indent=1))

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """Two commands must not bring one stack up and down at once."""
        self.prepare()
        descriptor = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ProblemError(
                    f"Another `ecs-anywhere` command is at work in {self.path}. Wait for it, "
                    "or name another --state-dir."
                ) from error
            yield
        finally:
            os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """All or nothing, and for nobody else to read."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.rename(path)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
