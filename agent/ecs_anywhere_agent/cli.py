"""The command `ecs-anywhere-agent`."""

import importlib
import json
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

import click

from ecs_anywhere_agent import __version__
from ecs_anywhere_agent.agent_log import start_log
from ecs_anywhere_agent.commands.options import DURATION, data_dir_option, or_exit, output_option
from ecs_anywhere_agent.fingerprint import read_marks
from ecs_anywhere_agent.identity import identity_files
from ecs_anywhere_agent.registering import check_endpoint, register, usable_identity
from ecs_anywhere_agent.running import run_agent, stop_tasks
from ecs_anywhere_agent.same_machine import StoredActivation, compared, remember, set_aside, store_activation
from ecs_anywhere_agent.settings import SettingsError, export, find_settings
from ecs_anywhere_agent.settings.model import PULL_BEHAVIORS
from ecs_anywhere_agent.single import only_one
from ecs_protocol.messages import Attribute, Identity

_log = logging.getLogger("ecs_anywhere_agent")
_ELSEWHERE = {
    "logs": "ecs_anywhere_agent.commands.logs",
    "status": "ecs_anywhere_agent.commands.status",
    "stop": "ecs_anywhere_agent.commands.stop",
}


class _Attribute(click.ParamType):
    name = "name=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Attribute:
        if isinstance(value, Attribute):
            return value
        name, separator, text = str(value).partition("=")
        if not separator or not name:
            self.fail(f"{value!r} is not of the form name=value", param, ctx)
        return Attribute(name=name, value=text)


class _Commands(click.Group):
    """Imports what other commands than `run` need only for them: all that a running agent imports, it keeps."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted((*super().list_commands(ctx), *_ELSEWHERE))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(_ELSEWHERE[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Join this machine to an ECS Anywhere control plane and run its tasks."""
    with suppress(SettingsError):  # that is the matter of `run`, which says so
        export(find_settings().settings, os.environ)


@main.command("register")
@click.option("--registration-endpoint", required=True, metavar="URL", help="Where to register.")
@click.option("--activation-id", required=True, help="From `ecs-anywhere activate`.")
@click.option("--activation-code", required=True, help="From `ecs-anywhere activate`.")
@click.option("--at-first-run", is_flag=True, help="For an image: only store this; each machine's `run` registers it.")
@data_dir_option
@output_option
def register_command(
    *,
    registration_endpoint: str,
    activation_id: str,
    activation_code: str,
    at_first_run: bool,
    data_dir: Path,
    output: str,
) -> None:
    """Get this machine an identity. Its private key never leaves the machine.

    One that was made on another machine, whose disk was copied or moved, is set aside.
    """
    files = identity_files(data_dir)

    def work() -> Identity | None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir.chmod(0o700)
        if at_first_run:
            check_endpoint(registration_endpoint)
            store_activation(data_dir, StoredActivation(registration_endpoint, activation_id, activation_code))
            return None
        now = read_marks()
        if not compared(files, now).same_machine:
            with only_one(data_dir):
                set_aside(data_dir)
        existing = usable_identity(files)
        if existing is not None:
            click.echo(f"This machine is registered already; remove {files.directory} to register it anew.", err=True)
            return existing
        identity = register(
            files, registration_endpoint, activation_id, activation_code, tell=lambda text: click.echo(text, err=True)
        )
        remember(files, now)
        return identity

    identity = or_exit(work)
    if identity is None:
        click.echo(json.dumps({"dataDir": str(data_dir)}) if output == "json" else f"Stored in {data_dir}.")
        return
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
@data_dir_option
@click.option(
    "--runtime",
    type=click.Choice(["docker", "process"]),
    default="docker",
    show_default=True,
    help="What runs the containers; process: as processes of this machine, without images.",
)
@click.option("--attribute", "attributes", type=_Attribute(), multiple=True, help="A custom attribute; repeatable.")
@click.option("--keep-alive", type=click.IntRange(30, 1200), default=30, show_default=True, help="MQTT, in seconds.")
@click.option("--reserved-memory", type=click.IntRange(0, 65535), help="ECS_RESERVED_MEMORY, in MiB.")
@click.option("--task-cleanup-wait", type=DURATION, help="ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION.")
@click.option("--image-pull-behavior", type=click.Choice(PULL_BEHAVIORS), help="ECS_IMAGE_PULL_BEHAVIOR.")
@click.option("--container-stop-timeout", type=DURATION, help="ECS_CONTAINER_STOP_TIMEOUT.")
@click.option(
    "--pull-dependent-containers-upfront",
    is_flag=True,
    default=None,
    help="ECS_PULL_DEPENDENT_CONTAINERS_UPFRONT.",
)
@click.option("--same-machine", is_flag=True, help="It has other parts, but is the one that was registered; once.")
@click.option("--keep-tasks", is_flag=True, help="When the instance is deregistered, let its tasks run on.")
def run_command(
    *,
    data_dir: Path,
    runtime: str,
    attributes: tuple[Attribute, ...],
    keep_alive: int,
    reserved_memory: int | None,
    task_cleanup_wait: float | None,
    image_pull_behavior: str | None,
    container_stop_timeout: float | None,
    pull_dependent_containers_upfront: bool | None,
    same_machine: bool,
    keep_tasks: bool,
) -> None:
    """Connect, and run what the control plane asks for, until SIGTERM or SIGINT; tasks keep running then.

    Settings are options, variables of the environment and lines of /etc/ecs-anywhere/agent.config, in this order:
    those of Amazon's agent, as docs/agent-settings.md lists them.
    """
    given = {
        "reserved_memory": reserved_memory,
        "task_cleanup_wait": task_cleanup_wait,
        "pull_behavior": image_pull_behavior,
        "container_stop_timeout": container_stop_timeout,
        "pull_upfront": pull_dependent_containers_upfront,
    }

    def work() -> None:
        found = find_settings()
        settings = found.settings.model_copy(update={name: each for name, each in given.items() if each is not None})
        start_log(settings)
        for level, lines in ((logging.WARNING, found.warnings), (logging.INFO, found.notes)):
            for line in lines:
                _log.log(level, "settings: %s", line)
        run_agent(
            data_dir,
            runtime,
            attributes,
            settings,
            keep_alive_seconds=keep_alive,
            keep_tasks=keep_tasks,
            same_machine=same_machine,
            end_on=(signal.SIGTERM, signal.SIGINT),
        )

    or_exit(work)


@main.command("stop-tasks")
@data_dir_option
@click.option("--timeout", type=DURATION, help="Kill after this long. [default: each container's stopTimeout]")
@output_option
def stop_tasks_command(data_dir: Path, timeout: float | None, output: str) -> None:
    """Stop and remove every container that the agent of this data directory started. The agent must not run."""
    stopped = or_exit(lambda: stop_tasks(data_dir, timeout))
    if output == "json":
        click.echo(json.dumps({"stoppedContainers": stopped}))
    else:
        click.echo(f"Stopped {stopped} containers.")


if __name__ == "__main__":
    main()
