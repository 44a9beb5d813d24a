"""The command `ecs-anywhere-agent`."""

import json
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from ecs_anywhere_agent import __version__
from ecs_anywhere_agent.identity import NoIdentityError, identity_files
from ecs_anywhere_agent.registering import RegistrationError, default_data_dir, register, usable_identity
from ecs_anywhere_agent.running import run_agent, stop_tasks, task_table
from ecs_anywhere_agent.runtime.interface import RuntimeUnavailableError
from ecs_anywhere_agent.single import AlreadyRunningError
from ecs_protocol.messages import Attribute, Identity

Result = TypeVar("Result")

_PROBLEMS = (NoIdentityError, RegistrationError, RuntimeUnavailableError, AlreadyRunningError)

_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data_dir,
    envvar="ECS_ANYWHERE_AGENT_DATA_DIR",
    help="Where the agent keeps its identity, its state and the files of process tasks. "
    "[default: ~/.local/state/ecs-anywhere-agent]",
)
_output = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: the result alone, as JSON, on stdout.",
)


class _Attribute(click.ParamType):
    name = "name=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Attribute:
        if isinstance(value, Attribute):
            return value
        name, separator, text = str(value).partition("=")
        if not separator or not name:
            self.fail(f"{value!r} is not of the form name=value", param, ctx)
        return Attribute(name=name, value=text)


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        text = str(value)
        unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
        try:
            return float(text[:-1]) * unit if unit else float(text)
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 90, 90s, 10m or 3h", param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Join this machine to an ECS Anywhere control plane and run its tasks."""


@main.command("register")
@click.option("--registration-endpoint", required=True, metavar="URL", help="Where to register.")
@click.option("--activation-id", required=True, help="From `ecs-anywhere activate`.")
@click.option("--activation-code", required=True, help="From `ecs-anywhere activate`.")
@_data_dir
@_output
def register_command(
    registration_endpoint: str, activation_id: str, activation_code: str, data_dir: Path, output: str
) -> None:
    """Get this machine an identity. Its private key never leaves the machine."""
    files = identity_files(data_dir)

    def work() -> Identity:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir.chmod(0o700)
        existing = usable_identity(files)
        if existing is not None:
            click.echo(f"This machine is registered already; remove {files.directory} to register it anew.", err=True)
            return existing
        return register(
            files, registration_endpoint, activation_id, activation_code, tell=lambda text: click.echo(text, err=True)
        )

    identity = _or_exit(work)
    if output == "json":
        result = {
            "containerInstanceArn": identity.container_instance_arn,
            "cluster": identity.cluster,
            "dataDir": str(data_dir),
        }
        click.echo(json.dumps(result))
    else:
        click.echo(f"Registered as {identity.container_instance_arn} in cluster {identity.cluster}.")
        click.echo(f"Next: ecs-anywhere-agent run --data-dir {data_dir}")


@main.command("run")
@_data_dir
@click.option(
    "--runtime",
    type=click.Choice(["docker", "process"]),
    default="docker",
    show_default=True,
    help="What runs the containers; process: as processes of this machine, without images.",
)
@click.option("--attribute", "attributes", type=_Attribute(), multiple=True, help="A custom attribute; repeatable.")
@click.option("--keep-alive", type=click.IntRange(30, 1200), default=60, show_default=True, help="MQTT, in seconds.")
@click.option(
    "--reserved-memory",
    type=click.IntRange(min=0),
    envvar="ECS_RESERVED_MEMORY",
    help="MiB not offered to tasks. [default: a sixteenth of the memory, 64 to 512]",
)
@click.option(
    "--task-cleanup-wait",
    type=_Duration(),
    default="3h",
    show_default=True,
    envvar="ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION",
    help="How long a stopped task's containers are kept.",
)
def run_command(
    *,
    data_dir: Path,
    runtime: str,
    attributes: tuple[Attribute, ...],
    keep_alive: int,
    reserved_memory: int | None,
    task_cleanup_wait: float,
) -> None:
    """Connect, and run what the control plane asks for, until SIGTERM or SIGINT; tasks keep running then."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _or_exit(
        lambda: run_agent(
            data_dir,
            runtime,
            attributes,
            keep_alive_seconds=keep_alive,
            reserved_memory=reserved_memory,
            keep_stopped_seconds=task_cleanup_wait,
            end_on=(signal.SIGTERM, signal.SIGINT),
        )
    )


@main.command("status")
@_data_dir
@_output
def status_command(data_dir: Path, output: str) -> None:
    """The tasks of this machine, as its agent has stored them."""
    table = _or_exit(lambda: task_table(data_dir))
    if output == "json":
        click.echo(json.dumps(table))
        return
    click.echo(f"{table['containerInstanceArn']} in cluster {table['cluster']}")
    for task in table["tasks"]:
        click.echo(f"{task['taskId']}  {task['lastStatus']:<10} {task['taskDefinition']}")


@main.command("stop-tasks")
@_data_dir
@click.option("--timeout", type=_Duration(), help="Kill after this long. [default: each container's stopTimeout]")
@_output
def stop_tasks_command(data_dir: Path, timeout: float | None, output: str) -> None:
    """Stop and remove every container that the agent of this data directory started. The agent must not run."""
    stopped = _or_exit(lambda: stop_tasks(data_dir, timeout))
    if output == "json":
        click.echo(json.dumps({"stoppedContainers": stopped}))
    else:
        click.echo(f"Stopped {stopped} containers.")


def _or_exit(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except _PROBLEMS as problem:
        raise click.ClickException(str(problem)) from problem


if __name__ == "__main__":
    main()
