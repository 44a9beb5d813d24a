"""AWS, as far as a machine calls it: with the credentials of a task's execution role, and in a child of its own.

Why in a child: docs/decisions/calls-to-aws.md.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ecs_anywhere_agent import aws_child
from ecs_protocol.messages import RoleCredentials

_SECONDS = 150.0
"""For five attempts at a network that takes what is sent and answers nothing."""
_AT_ONCE = 2
"""Each takes some 70 MiB while it lasts, on a machine that may have 512."""
_PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PASSED_ON_OF_AWS = ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")


class AwsCall(NamedTuple):
    """One call. The names are boto3's: `secretsmanager`, `get_secret_value`."""

    service: str
    operation: str
    region: str
    parameters: Mapping[str, Any]


class AwsError(NamedTuple):
    """Why a call failed: an error of AWS's, or what kept it from being asked."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


Answer = dict[str, Any] | AwsError
"""An answer of AWS's as botocore gives it, but for bytes, which are base64, and times, which are text."""


class CallAws(Protocol):
    """One answer for each call, in their order."""

    def __call__(self, credentials: RoleCredentials, calls: Sequence[AwsCall]) -> list[Answer]: ...

    def close(self) -> None:
        """What is on its way ends at once, with errors."""


class Aws:
    """For threads. A call takes as long as the network does, some two minutes at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._places = threading.Semaphore(_AT_ONCE)
        self._closed = False

    def __call__(self, credentials: RoleCredentials, calls: Sequence[AwsCall]) -> list[Answer]:
        order = {
            "credentials": {
                "aws_access_key_id": credentials.access_key_id,
                "aws_secret_access_key": credentials.secret_access_key,
                "aws_session_token": credentials.session_token,
            },
            "calls": [call._asdict() for call in calls],
        }
        with self._places:
            told = self._ask(json.dumps(order).encode())
        if isinstance(told, AwsError):
            return [told] * len(calls)
        return [AwsError(**each["error"]) if "error" in each else dict(each["answer"]) for each in json.loads(told)]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for child in self._children:
                child.kill()

    def _ask(self, order: bytes) -> bytes | AwsError:
        try:
            with self._lock:
                if self._closed:
                    return AwsError("Closed", "the agent ends")
                child = subprocess.Popen(
                    [sys.executable, "-I", aws_child.__file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # what it says of a fault might show a value
                    env=_environment(),
                )
                self._children.add(child)
        except OSError as error:
            return AwsError("ChildProcessError", f"cannot start it: {error.strerror}")
        with child:
            try:
                told, _ = child.communicate(order, timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                return AwsError("RequestTimeout", f"no answer within {_SECONDS:g} s")
            finally:
                with self._lock:
                    self._children.discard(child)
        return AwsError("ChildProcessError", f"it ended with {child.returncode}") if child.returncode else told


def _environment() -> dict[str, str]:
    """What says how AWS is reached, and nothing that would bring other credentials."""
    return {
        **{name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON},
        **{name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON_OF_AWS)},
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
