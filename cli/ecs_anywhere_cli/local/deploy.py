"""`sam deploy` of a build into the emulator."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ecs_anywhere_cli.local import processes
from ecs_anywhere_cli.local.build import ARCHITECTURE, RUNTIME, Build, sam_command, sam_environment
from ecs_anywhere_cli.local.emulator import REGION, ROOT_KEY, Ports
from ecs_anywhere_cli.local.loopback_emulator import LOOPBACK

STACK_NAME = "ecs-anywhere"
_API_ID = "ec5a0001"
_BUCKET = "ecs-anywhere-deployments"


def parameters(ports: Ports, mqtt_ca_pem: str) -> dict[str, str]:
    """The template's parameters for a stack in the emulator."""
    path = f"/_aws/execute-api/{_API_ID}/$default"
    return {
        "PythonRuntime": RUNTIME,
        "Architecture": ARCHITECTURE,
        "ApiId": _API_ID,
        "EcsEndpointPath": path,
        "PublicEndpoint": f"{ports.aws_endpoint}{path}",
        "MqttEndpoint": f"{LOOPBACK}:{ports.mqtt}",
        "MqttCaBase64": base64.b64encode(mqtt_ca_pem.encode()).decode(),
        "StreamRecordMaxAge": "60",
        "DeletionProtection": "false",
        "PointInTimeRecovery": "false",
    }


def aws_client(service: str, ports: Ports) -> Any:
    """A boto3 client of the emulator, as its root; the caller's own AWS and proxy settings do not matter."""
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=ports.aws_endpoint,
        region_name=REGION,
        aws_access_key_id=ROOT_KEY,
        aws_secret_access_key=ROOT_KEY,
        config=Config(proxies={"http": "", "https": ""}),
    )


class Deployment:
    """One build with one set of parameters in the emulator of a state directory."""

    def __init__(self, build: Build, ports: Ports, overrides: Mapping[str, str], record: Path) -> None:
        self._build = build
        self._ports = ports
        self._overrides = overrides
        self._record = record
        self._identity = hashlib.sha256(
            json.dumps([build.digest, sorted(overrides.items())]).encode()
        ).hexdigest()

    def done(self) -> bool:
        """Deployed already, and the emulator still has it."""
        try:
            return self._record.read_text() == self._identity and bool(self.outputs())
        except (OSError, LookupError):
            return False

    def make(self, log: Path) -> None:
        """Create or update the stack. Raises ProblemError."""
        s3 = aws_client("s3", self._ports)
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
            s3.create_bucket(Bucket=_BUCKET)
        self._record.unlink(missing_ok=True)
        processes.run(
            [
                *(sam_command(), "deploy", "--template-file", str(self._build.template), "--stack-name", STACK_NAME),
                *("--s3-bucket", _BUCKET, "--capabilities", "CAPABILITY_IAM"),
                *("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"),
                *("--parameter-overrides", *(f"{name}={value}" for name, value in self._overrides.items())),
            ],
            what="Deploying the control plane",
            environment=sam_environment()
            | {
                "AWS_ENDPOINT_URL": self._ports.aws_endpoint,
                "AWS_ACCESS_KEY_ID": ROOT_KEY,
                "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_REGION": REGION,
                "NO_PROXY": LOOPBACK,
                "no_proxy": LOOPBACK,
                "SAM_CLI_POLL_DELAY": "0.5",
            },
            log=log,
            directory=self._build.directory,
        )

    def record(self) -> None:
        """It is in the emulator's saved state."""
        self._record.write_text(self._identity)

    def outputs(self) -> dict[str, str]:
        """The stack's. Raises LookupError where there is no finished stack."""
        cloudformation = aws_client("cloudformation", self._ports)
        try:
            stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        except cloudformation.exceptions.ClientError as error:
            raise LookupError(STACK_NAME) from error
        if not stack["StackStatus"].endswith(("CREATE_COMPLETE", "UPDATE_COMPLETE")):
            raise LookupError(STACK_NAME)
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def administrator_key(self) -> dict[str, str]:
        """{accessKeyId, secretAccessKey}; the secret may hold any characters."""
        secrets = aws_client("secretsmanager", self._ports)
        answer = secrets.get_secret_value(SecretId=self.outputs()["AdministratorKeySecretArn"])
        key: dict[str, str] = json.loads(answer["SecretString"])
        return key
