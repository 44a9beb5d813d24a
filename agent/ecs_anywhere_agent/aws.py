"""AWS, as far as a machine calls it: with the credentials of a task's execution role, and in a child of its own.

Why in a child: docs/decisions/calls-to-aws.md.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ecs_anywhere_agent import aws_child
from ecs_protocol.messages import RoleCredentials

_SECONDS = 150.0
"""For five attempts at a network that takes what is sent and answers nothing."""
_AT_ONCE = threading.Semaphore(2)
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

CallAws = Callable[[RoleCredentials, Sequence[AwsCall]], list[Answer]]


def call_aws(credentials: RoleCredentials, calls: Sequence[AwsCall]) -> list[Answer]:
    """One answer for each call, in their order."""
    order = {
        "credentials": {
            "aws_access_key_id": credentials.access_key_id,
            "aws_secret_access_key": credentials.secret_access_key,
            "aws_session_token": credentials.session_token,
        },
        "calls": [call._asdict() for call in calls],
    }
    with _AT_ONCE:
        try:
            child = subprocess.run(
                [sys.executable, "-I", aws_child.__file__],
                input=json.dumps(order).encode(),
                capture_output=True,
                timeout=_SECONDS,
                env=_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [AwsError("RequestTimeout", f"no answer within {_SECONDS:g} s")] * len(calls)
        except OSError as error:
            return [AwsError("ChildProcessError", f"cannot start it: {error.strerror}")] * len(calls)
    if child.returncode:
        # Its last words name a type and a place; whether they would show a value nobody can say.
        return [AwsError("ChildProcessError", f"it ended with {child.returncode}")] * len(calls)
    return [AwsError(**each["error"]) if "error" in each else dict(each["answer"]) for each in json.loads(child.stdout)]


def _environment() -> dict[str, str]:
    """What says how AWS is reached, and nothing that would bring other credentials."""
    return {
        **{name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON},
        **{name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON_OF_AWS)},
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
