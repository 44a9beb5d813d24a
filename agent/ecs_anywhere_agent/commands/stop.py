"""`stop`: end one task from its own machine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ecs_anywhere_agent.commands.finding import find_task
from ecs_anywhere_agent.commands.layout import columns
from ecs_anywhere_agent.commands.options import DURATION, data_dir_option, or_exit, output_option
from ecs_anywhere_agent.local_api import AgentNotRunningError, ask

_KILLING_SECONDS = 30.0
_SHORTEST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.05, 1.0

Task = dict[str, Any]


@click.command("stop")
@click.argument("task", metavar="TASK")
@data_dir_option
@click.option(
    "--timeout",
    type=DURATION,
    help="How long to wait for its end; it is stopped in any case. [default: its containers' stopTimeout, and 30s]",
)
@output_option
def command(task: str, data_dir: Path, timeout: float | None, output: str) -> None:
    """Stop one task. Needs no cloud: the control plane is told when the agent is connected.

    TASK is a task's id, at least 6 characters of its beginning, or its ARN. What a service wants to run is replaced by
    the control plane once it knows. To stop all tasks and start none, end the agent and use `stop-tasks`.
    """
    found = or_exit(lambda: _find(data_dir, task))
    was_stopped = found["lastStatus"] == "STOPPED"
    if not was_stopped:
        found = or_exit(lambda: _stop(data_dir, found, timeout))
    if output == "json":
        click.echo(json.dumps(found))
    else:
        click.echo("\n".join(lines(found, was_stopped=was_stopped)))


def _find(data_dir: Path, wanted: str) -> Task:
    try:
        tasks: dict[str, Task] = {task["taskId"]: task for task in ask(data_dir, "status")["tasks"]}
    except AgentNotRunningError as error:
        raise click.ClickException(
            f"{error}\nOr stop all tasks that it has left: ecs-anywhere-agent stop-tasks --data-dir {data_dir}"
        ) from error
    return tasks[
        find_task(
            wanted, {task_id: f"{task['taskDefinition']}  {task['lastStatus']}" for task_id, task in tasks.items()}
        )
    ]


def _stop(data_dir: Path, task: Task, timeout: float | None) -> Task:
    """The task when it is stopped. Raises LocalApiError, click.ClickException."""
    task_id = task["taskId"]
    # One after the other at worst, and the last of them has to be killed.
    longest = sum(container["stopTimeout"] for container in task["containers"]) + _KILLING_SECONDS
    give_up = time.monotonic() + (longest if timeout is None else timeout)
    wait = _SHORTEST_WAIT_SECONDS
    try:
        ask(data_dir, "stop", task_id)
        while task["lastStatus"] != "STOPPED":
            if time.monotonic() >= give_up:
                raise click.ClickException(
                    f"Task {task_id} is still {task['lastStatus']}. It is being stopped; look with "
                    f"`ecs-anywhere-agent status --data-dir {data_dir}`"
                )
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
            known = {each["taskId"]: each for each in ask(data_dir, "status")["tasks"]}
            # An agent that keeps no stopped tasks (--task-cleanup-wait 0) may have forgotten it by now.
            task = known.get(task_id) or {**task, "lastStatus": "STOPPED"}
    except AgentNotRunningError as error:
        raise click.ClickException(
            f"The agent has ended before task {task_id}. Start it (ecs-anywhere-agent run --data-dir {data_dir}) and "
            "ask again"
        ) from error
    return task


def lines(task: Task, *, was_stopped: bool) -> Iterator[str]:
    """For people."""
    about = f"Task {task['taskId']} ({task['taskDefinition'] or 'never started'})"
    yield f"{about} was stopped already." if was_stopped else f"{about} is stopped."
    if task["containers"]:
        codes = [
            (each["name"], "-" if each["exitCode"] is None else str(each["exitCode"])) for each in task["containers"]
        ]
        yield from columns([("CONTAINER", "EXIT CODE"), *codes])
    if was_stopped:
        return
    kind, _, service = (task["group"] or "").partition(":")
    if task["orphan"]:
        yield "The control plane does not know this task."
    elif kind == "service":
        yield f"Service {service} starts another task in its place once the control plane knows."
    elif not kind:
        yield "If it is of a service, that starts another task in its place once the control plane knows."
