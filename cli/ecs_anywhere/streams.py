"""`logs` and `exec`: what a task's containers write, and a command in one of them, wherever the task's machine is."""

import shlex
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from ecs_anywhere.console import Problem, err
from ecs_anywhere.durations import DURATION
from ecs_anywhere.interrupts import EXIT_CODE
from ecs_anywhere.options import stack_name_option, state_dir_option
from ecs_anywhere.stacks import callers_ecs_client, open_stack, operate
from ecs_anywhere.stream_player import Phase, Player
from ecs_anywhere.stream_terminal import has_terminal, play
from ecs_protocol.streams import Stream

_TAIL = 100
_HEADER, _MQTT = "x-ecs-anywhere-stream", "mqtt"

_cluster = click.option("--cluster", help="[default: that of TASK, if it is an ARN; else default]")
_container = click.option("--container", metavar="NAME", help="[default: the task's only one]")


@click.command()
@click.argument("task", metavar="TASK")
@_cluster
@click.option("--container", metavar="NAME", help="Only this one. [default: all of the task]")
@click.option("--follow", "-f", is_flag=True, help="Go on until the containers end, or Ctrl-C.")
@click.option("--since", type=DURATION, help="Only what is not older: 90s, 10m, 24h. Needs Docker on the machine.")
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the last N lines of each container. [default: {_TAIL}, unless --since is given]",
)
@state_dir_option
@stack_name_option
def logs(
    *,
    task: str,
    cluster: str | None,
    container: str | None,
    follow: bool,
    since: int | None,
    tail: int | None,
    state_dir: Path,
    stack_name: str | None,
) -> None:
    """What a task's containers have written, from their machine. TASK is an id or ARN."""
    session = operate(
        open_stack(stack_name, state_dir),
        "StreamLogs",
        cluster=cluster or cluster_of(task),
        task=task,
        container=container,
        follow=follow,
        sinceSeconds=since,
        tail=_TAIL if tail is None and since is None else tail,
    )["session"]
    player = play(session["streamUrl"], _stream(session), takes_input=False, terminal=False)
    _leave(player, exit_code=0)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("task", metavar="TASK")
@click.argument("command", metavar="-- COMMAND", nargs=-1, required=True, type=click.UNPROCESSED)
@_cluster
@_container
@click.option("--no-tty", is_flag=True, help="Without a terminal, even if there is one here.")
@click.option("--profile", help="Your AWS profile of the ECS API, as `ecs-anywhere configure` writes it.")
@state_dir_option
@stack_name_option
def execute(
    *,
    task: str,
    command: tuple[str, ...],
    cluster: str | None,
    container: str | None,
    no_tty: bool,
    profile: str | None,
    state_dir: Path,
    stack_name: str | None,
) -> None:
    """Run a command in a container of a task that was started with --enable-execute-command. TASK is an id or ARN.

    With your terminal, if this has one; the exit code is the command's. It is ended if this ends.
    """
    ecs = callers_ecs_client(stack_name, state_dir, profile)
    ecs.meta.events.register("before-call.ecs.ExecuteCommand", say_that_we_play_streams)
    request = {"container": container} if container else {}
    try:
        session = ecs.execute_command(
            cluster=cluster or cluster_of(task),
            task=task,
            command=shlex.join(command),
            interactive=True,
            **request,
        )["session"]
    except ClientError as error:
        raise Problem(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}") from error
    except BotoCoreError as error:
        raise Problem(f"The ECS API cannot be asked: {error}") from error
    terminal = has_terminal() and not no_tty
    player = play(session["streamUrl"], _stream(session), takes_input=True, terminal=terminal)
    _leave(player, exit_code=1)


def _leave(player: Player, *, exit_code: int) -> None:
    """With the exit code of what was played; `exit_code`: of what has none."""
    if player.problem:
        err.print(player.problem, markup=False, soft_wrap=True)
        raise SystemExit(player.exit_code or 1)
    if player.phase is Phase.OVER and player.interrupted:
        raise SystemExit(EXIT_CODE)
    raise SystemExit(exit_code if player.exit_code is None else player.exit_code)


def cluster_of(task: str) -> str:
    parts = task.rpartition(":")[2].split("/")
    return parts[1] if len(parts) == 3 else "default"


def _stream(session: dict[str, Any]) -> Stream:
    try:
        return Stream.from_json(session["tokenValue"])
    except ValidationError as error:
        raise Problem("What answered opens no streams of ECS Anywhere. Is it Amazon ECS itself?") from error


def say_that_we_play_streams(params: dict[str, Any], **_: Any) -> None:
    """As a header, which botocore signs: the API refuses clients that hand the stream to Amazon's own plugin."""
    params["headers"][_HEADER] = _MQTT
