"""`credentials` and `configure`: use the ECS API with one's own IAM identity.

    aws --profile anywhere ecs ──► credential_process: ecs-anywhere credentials ──► POST /credentials, signed for IAM
                               ◄── a short-lived key of the ECS API ◄──────────

`configure` writes that profile.
"""

import json
import re
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import click
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from ecs_anywhere.console import Problem, out
from ecs_anywhere.durations import DURATION
from ecs_anywhere.files import write_whole
from ecs_anywhere.options import stack_name_option, state_dir_option
from ecs_anywhere.settings import Stack
from ecs_anywhere.stacks import open_stack

_administrator = click.option("--administrator", is_flag=True, help="May do everything, if IAM lets you.")
_duration = click.option("--duration", type=DURATION, default="1h", show_default=True, help="15m to 12h.")


@click.command()
@click.option("--endpoint", required=True, help="Of the ECS API.")
@click.option("--region", required=True)
@click.option("--source-profile", help="The AWS profile of your IAM identity. [default: as usual]")
@_administrator
@_duration
def credentials(*, endpoint: str, region: str, source_profile: str | None, administrator: bool, duration: int) -> None:
    """Exchange your IAM identity for a short-lived key of the ECS API: a credential_process for an AWS profile."""
    click.echo(json.dumps(log_in(endpoint, region, source_profile, duration, administrator=administrator)))


@click.command()
@click.option("--profile", default="anywhere", show_default=True, help="The AWS profile to write.")
@click.option("--source-profile", default="default", show_default=True, help="The one of your IAM identity.")
@click.option(
    "--config-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="AWS_CONFIG_FILE",
    default=lambda: Path.home() / ".aws/config",
    help="[env: AWS_CONFIG_FILE; default: ~/.aws/config]",
)
@_administrator
@state_dir_option
@stack_name_option
def configure(
    *,
    profile: str,
    source_profile: str,
    config_file: Path,
    administrator: bool,
    state_dir: Path,
    stack_name: str | None,
) -> None:
    """Write an AWS profile that uses the ECS API of a stack with your IAM identity."""
    stack = open_stack(stack_name, state_dir)
    if stack.aws_endpoint:
        raise Problem("The local stack has no IAM identities: use `ecs-anywhere keys create`, or `ecs-anywhere env`.")
    if profile == source_profile or not re.fullmatch(r"[\w.-]+", profile):
        raise click.UsageError("--profile is a name of letters, digits, dots and dashes, other than --source-profile.")
    known = config_file.read_text(encoding="utf-8") if config_file.exists() else ""
    config_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = with_profile(known, profile, source_profile, stack, administrator=administrator)
    write_whole(config_file, written)
    out.print(f"Use it: aws --profile {profile} ecs list-clusters")


def with_profile(config: str, profile: str, source_profile: str, stack: Stack, *, administrator: bool) -> str:
    """The AWS configuration with this profile, in place of one of the same name; all else as it was.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    """
    command = shutil.which("ecs-anywhere") or str(Path(sys.argv[0]).resolve())
    process = [command, "credentials", "--endpoint", stack.ecs_endpoint, "--region", stack.region]
    process += ["--source-profile", source_profile, *(["--administrator"] if administrator else [])]
    quoted = " ".join(f'"{each}"' if re.search(r"[^\w./:@-]", each) else each for each in process)
    sections = {
        f"profile {profile}": f"region = {stack.region}\nservices = {profile}-ecs\ncredential_process = {quoted}\n",
        f"services {profile}-ecs": f"ecs =\n  endpoint_url = {stack.ecs_endpoint}\n",
    }
    for name, content in sections.items():
        section = re.compile(rf"^\[{re.escape(name)}\][^\n]*\n(?:(?!\[)[^\n]*\n?)*", re.MULTILINE)
        config = section.sub("", config if config.endswith("\n") or not config else f"{config}\n")
        config += f"[{name}]\n{content}"
    return config


def log_in(
    endpoint: str, region: str, source_profile: str | None, seconds: int, *, administrator: bool
) -> dict[str, Any]:
    """What a credential_process answers. Raises Problem."""
    route = "credentials/administrator" if administrator else "credentials"
    request = AWSRequest("POST", f"{endpoint.rstrip('/')}/{route}?durationSeconds={seconds}", data=b"")
    try:
        found = boto3.Session(profile_name=source_profile).get_credentials()
        if found is None:
            raise Problem("There are no AWS credentials to log in with. Name a profile: --source-profile.")
        SigV4Auth(found.get_frozen_credentials(), "execute-api", region).add_auth(request)
    except BotoCoreError as error:
        raise Problem(f"Your AWS credentials cannot be used: {error}") from error
    prepared = request.prepare()
    sent = urllib.request.Request(str(prepared.url), data=b"", headers=dict(prepared.headers), method="POST")
    try:
        with urllib.request.urlopen(sent, timeout=20) as answer:
            key: dict[str, Any] = json.load(answer)
            return key
    except urllib.error.HTTPError as error:
        why = error.read(500).decode(errors="replace")
        hint = f" You need execute-api:Invoke on POST /{route}." if error.code == 403 else ""
        raise Problem(f"{endpoint} answered {error.code}: {why}.{hint}") from error
    except (OSError, ValueError) as error:
        raise Problem(f"{endpoint} does not answer: {error}") from error
