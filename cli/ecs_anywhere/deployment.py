"""`sam build` and `sam deploy` of the one template into the local AWS, as one would to AWS."""

import base64
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ecs_anywhere import processes
from ecs_anywhere.console import Problem
from ecs_anywhere.emulator import CREDENTIALS, Emulator
from ecs_anywhere.files import write_whole
from ecs_anywhere.settings import API_ID, API_PATH, REGION, STACK_NAME, Stack
from ecs_anywhere.stacks import described

PROJECT = Path(__file__).resolve().parents[2]
BUCKET = "ecs-anywhere-artifacts"
SOURCES = ("template.yaml", "functions", "layers")


def _parameters_of(emulator: Emulator) -> dict[str, str]:
    """Of the template: what is different on one's own machine."""
    return {
        **built_for(),
        "ApiId": API_ID,
        "EcsEndpointPath": API_PATH,
        "PublicEndpoint": f"{emulator.url}{API_PATH}",
        "MqttEndpoint": f"localhost:{emulator.mqtt_port}",
        # MiniStack tells its WebSockets apart by the name that they are asked for.
        "StreamEndpoint": f"ws://data.iot.{REGION}.localhost:{emulator.port}",
        "MqttCaBase64": base64.b64encode(emulator.ca_file.read_bytes()).decode(),
        "StreamRecordMaxAge": "60",
        "DeletionProtection": "false",
        "IamCredentials": "false",  # MiniStack checks no signature there
        "TlsOnly": "false",  # MiniStack speaks HTTP
    }


def built_for() -> dict[str, str]:
    """MiniStack runs functions with its own interpreter: what is built must be for that."""
    machine = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
    return {"PythonRuntime": f"python{sys.version_info.major}.{sys.version_info.minor}", "Architecture": machine}


def digest_of_sources() -> str:
    """Of all that is built and deployed. Taken once, before: a file that is edited meanwhile counts as not deployed."""
    digest = hashlib.sha256()
    for source in SOURCES:
        top = PROJECT / source
        for file in [top] if top.is_file() else sorted(top.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(PROJECT)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def build(emulator: Emulator, sources: str) -> None:
    """Build unless what was built last is of the same sources. Raises Problem."""
    if not (PROJECT / "template.yaml").exists():
        raise Problem("`up` and `demo` deploy template.yaml from a checkout, and there is none beside this command.")
    folder, mark = emulator.state.build, emulator.state.built_mark
    wanted = _digest(sources, built_for())
    if folder.exists() and mark.exists() and mark.read_text() == wanted:
        return
    mark.unlink(missing_ok=True)
    _sam(
        emulator,
        "build",
        "--template",
        str(PROJECT / "template.yaml"),
        "--build-dir",
        str(folder),
        "--parameter-overrides",
        *_overrides(built_for()),
    )
    write_whole(mark, wanted)


def deployed(emulator: Emulator, sources: str) -> bool:
    """Whether what is wanted now was deployed, and saved."""
    mark = emulator.state.deployed_mark
    return mark.exists() and mark.read_text() == _digest(sources, _parameters_of(emulator))


def note_deployed(emulator: Emulator, sources: str) -> None:
    """To be called once the emulator has saved what was deployed."""
    write_whole(emulator.state.deployed_mark, _digest(sources, _parameters_of(emulator)))


def deploy(emulator: Emulator) -> Stack:
    """Deploy what was built, and answer how to reach it. Raises Problem."""
    emulator.state.deployed_mark.unlink(missing_ok=True)
    s3 = client(emulator, "s3")
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET)
    _sam(
        emulator,
        "deploy",
        "--template",
        str(emulator.state.build / "template.yaml"),
        "--stack-name",
        STACK_NAME,
        "--s3-bucket",
        BUCKET,
        "--capabilities",
        "CAPABILITY_IAM",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        "--parameter-overrides",
        *_overrides(_parameters_of(emulator)),
    )
    return Stack(
        **described(client(emulator, "cloudformation"), client(emulator, "secretsmanager"), STACK_NAME),
        region=REGION,
        aws_endpoint=emulator.url,
        aws_access_key_id=CREDENTIALS[0],
        aws_secret_access_key=CREDENTIALS[1],
        mqtt_host="localhost",
        mqtt_port=emulator.mqtt_port,
        ca_file=str(emulator.ca_file),
        state_dir=str(emulator.state.path),
    )


def client(emulator: Emulator, service: str) -> Any:
    """A boto3 client of the local AWS, whatever the environment says of the real one."""
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=emulator.url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS[0],
        aws_secret_access_key=CREDENTIALS[1],
        config=Config(proxies={}),
    )


def _sam(emulator: Emulator, *arguments: str) -> None:
    log = emulator.state.log(f"sam-{arguments[0]}")
    # What a user keeps in samconfig.toml is meant for AWS.
    own_config = emulator.state.path / "samconfig.toml"
    own_config.write_text("version = 0.1\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(emulator.state.path / "sam"),
        "TMPDIR": str(emulator.state.temporary()),
        "NO_PROXY": "127.0.0.1,localhost",
        "AWS_ENDPOINT_URL": emulator.url,
        "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    sam = str(Path(sys.executable).parent / "sam")
    if processes.run([sam, *arguments, "--config-file", str(own_config)], log=log, env=env, cwd=PROJECT):
        raise Problem(f"`sam {arguments[0]}` failed. The end of {log}:\n{processes.tail(log, 25)}")


def _overrides(values: Mapping[str, str]) -> Iterator[str]:
    return (f"{name}={value}" for name, value in values.items())


def _digest(sources: str, target: Mapping[str, str]) -> str:
    """Of all that is built, and for what."""
    return hashlib.sha256(json.dumps([sources, dict(target)], sort_keys=True).encode()).hexdigest()
