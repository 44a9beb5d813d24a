"""`logs`: what a task's containers have written."""

import sys
from pathlib import Path

import click

from ecs_anywhere_agent.commands.finding import find_task
from ecs_anywhere_agent.commands.options import data_dir_option
from ecs_anywhere_agent.container_logs import ContainerLog, UnreadableLogError, Written, find_logs
from ecs_anywhere_agent.several_logs import read_several

_INTERRUPTED = 130


@click.command("logs")
@click.argument("task", metavar="TASK")
@data_dir_option
@click.option("--container", metavar="NAME", help="Only this container. [default: all of the task]")
@click.option("--follow", "-f", is_flag=True, help="Go on until the containers end, or Ctrl-C.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each container.")
@click.pass_context
def command(
    ctx: click.Context, *, task: str, data_dir: Path, container: str | None, follow: bool, tail: int | None
) -> None:
    """What a task's containers have written. Needs neither the cloud nor a running agent.

    TASK is a task's id, at least 6 characters of its beginning, or its ARN. The output of one container comes as it
    is; if there are several, each line begins with the container's name. stdout and stderr stay apart with Docker; a
    process has one log for both, which comes to stdout.
    """
    try:
        logs = _of_task(data_dir, task, container)
        pieces = logs[0].read(tail, follow) if len(logs) == 1 else read_several(logs, tail, follow)
        for written in pieces:
            _write(written)
    except UnreadableLogError as error:
        raise click.ClickException(str(error)) from error
    except PermissionError as error:
        raise click.ClickException(f"{error}: run this as the user who runs the agent") from error
    except KeyboardInterrupt:
        ctx.exit(_INTERRUPTED)


def _of_task(data_dir: Path, wanted: str, container: str | None) -> list[ContainerLog]:
    """Raises click.ClickException."""
    found = find_logs(data_dir)
    tasks: dict[str, list[ContainerLog]] = {}
    for log in found.logs:
        tasks.setdefault(log.ref.task_id, []).append(log)
    about = {
        task_id: f"{logs[0].task_definition}  {', '.join(log.ref.name for log in logs)}"
        for task_id, logs in tasks.items()
    }
    try:
        logs = tasks[find_task(wanted, about)]
    except click.ClickException as error:
        if found.without_docker is None:
            raise
        raise click.ClickException(
            f"{error.message}\nDocker was not asked, as it does not answer ({found.without_docker})."
        ) from error
    chosen = [log for log in logs if container in {None, log.ref.name}]
    if not chosen:
        names = ", ".join(log.ref.name for log in logs)
        raise click.ClickException(f"The task has no container {container!r} on this machine. There are: {names}")
    return chosen


def _write(written: Written) -> None:
    stream = sys.stderr if written.to_stderr else sys.stdout
    stream.buffer.write(written.content)
    stream.buffer.flush()
