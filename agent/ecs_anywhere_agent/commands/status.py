"""`status`: what the agent knows, or has left."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ecs_anywhere_agent.commands.finding import short_ids
from ecs_anywhere_agent.commands.layout import columns, duration, lasted
from ecs_anywhere_agent.commands.options import data_dir_option, or_exit, output_option
from ecs_anywhere_agent.identity import certificate_end, identity_files
from ecs_anywhere_agent.local_api import AgentNotRunningError, ask
from ecs_anywhere_agent.machine import boot_id_of
from ecs_anywhere_agent.overview import of_state
from ecs_anywhere_agent.store import STATE, read_stored

NOT_CONNECTED, NOT_RUNNING = 2, 3

_TASKS = ("TASK", "DEFINITION", "DESIRED", "LAST", "REPORTED")
_CONTAINERS = ("CONTAINER", "PHASE", "EXIT CODE", "HEALTH")


@click.command("status")
@data_dir_option
@output_option
@click.pass_context
def command(ctx: click.Context, data_dir: Path, output: str) -> None:
    """What the agent of this machine is doing. Needs no cloud, so it serves as a health check.

    \b
    Exit codes:
      0  the agent runs and is connected
      1  this machine is not registered, or another error
      2  the agent runs and is not connected; its tasks run on
      3  the agent does not run: what it has stored is shown
    """
    status = or_exit(lambda: read_status(data_dir))
    if output == "json":
        click.echo(json.dumps(status))
    else:
        click.echo("\n".join(lines(status, data_dir, datetime.now(UTC))))
    ctx.exit(exit_code(status))


def read_status(data_dir: Path) -> dict[str, Any]:
    """Raises NoIdentityError, LocalApiError, click.ClickException."""
    files = identity_files(data_dir)
    try:
        status: dict[str, Any] = ask(data_dir, "status")
    except AgentNotRunningError:
        identity = files.load()
        status = {
            "containerInstanceArn": identity.container_instance_arn,
            "cluster": identity.cluster,
            "agent": {"running": False},
            "connection": None,
        }
        try:
            status |= of_state(read_stored(data_dir / STATE))
        except sqlite3.Error as error:
            raise click.ClickException(f"{data_dir / STATE} cannot be read: {error}") from error
    status["certificate"] = _certificate(files.certificate)
    status["bootId"] = boot_id_of(data_dir)
    return status


def _certificate(path: Path) -> dict[str, str] | None:
    try:
        return {"notAfter": certificate_end(path.read_text()).isoformat(timespec="seconds")}
    except (OSError, ValueError):
        return None


def exit_code(status: dict[str, Any]) -> int:
    if not status["agent"]["running"]:
        return NOT_RUNNING
    return 0 if status["connection"]["reconciled"] else NOT_CONNECTED


def lines(status: dict[str, Any], data_dir: Path, now: datetime) -> Iterator[str]:
    """For people."""
    unsent = status["unsentReports"]
    yield from columns(
        [
            ("Container instance", status["containerInstanceArn"]),
            ("Cluster", status["cluster"]),
            ("Boot id", status["bootId"]),
            ("Agent", _agent(status["agent"], now)),
            *([("Problem", status["agent"]["problem"])] if status["agent"].get("problem") else ()),
            *_connection(status["connection"], now),
            ("Certificate", _end(status["certificate"], now)),
            ("Unsent reports", f"of {unsent} task{'s' if unsent > 1 else ''}" if unsent else "none"),
        ]
    )
    yield ""
    yield from _task_lines(status["tasks"]) if status["tasks"] else ("No tasks.",)
    short = short_ids([task["taskId"] for task in status["tasks"]])
    yield from (f"{short[task['taskId']]}: {task['waiting']}" for task in status["tasks"] if task.get("waiting"))
    if not status["agent"]["running"]:
        yield f"\nAs the last agent has stored it. Start it: ecs-anywhere-agent run --data-dir {data_dir}"


def _agent(agent: dict[str, Any], now: datetime) -> str:
    if not agent["running"]:
        return "DOES NOT RUN"
    return f"version {agent['version']}, process {agent['processId']}, started {lasted(agent['startedAt'], now)} ago"


def _connection(connection: dict[str, Any] | None, now: datetime) -> Iterator[tuple[str, str]]:
    if connection is None:
        return
    lasting = lasted(connection["since"], now)
    if not connection["connected"]:
        how = f"NOT CONNECTED for {lasting}"
    elif not connection["reconciled"]:
        how = f"connected for {lasting}, WAITING for the control plane's list of tasks"
    else:
        how = f"connected for {lasting}"
    last = connection["lastExchangeAt"]
    yield "Connection", f"{how}; last exchange {lasted(last, now)} ago" if last else f"{how}; no exchange yet"
    if connection.get("problem"):
        yield "", connection["problem"]


def _end(certificate: dict[str, str] | None, now: datetime) -> str:
    if certificate is None:
        return "cannot be read"
    end = datetime.fromisoformat(certificate["notAfter"])
    left = (end - now).total_seconds()
    if left <= 0:
        return f"ENDED {duration(-left)} ago: register this machine anew"
    return f"ends {end:%Y-%m-%d}, in {duration(left)}"


def _task_lines(tasks: list[dict[str, Any]]) -> list[str]:
    """One line for each container; the stopped tasks last."""
    short = short_ids([task["taskId"] for task in tasks])
    rows = [(*_TASKS, *_CONTAINERS)]
    for task in sorted(tasks, key=lambda task: (task["lastStatus"] == "STOPPED", task["taskDefinition"])):
        reported = "orphan" if task["orphan"] else "yes" if task["reported"] else "not yet"
        head = (short[task["taskId"]], task["taskDefinition"], task["desiredStatus"], task["lastStatus"], reported)
        containers = [container_cells(container) for container in task["containers"]] or [("-", "-", "-", "-")]
        rows.extend((*(("",) * len(head) if index else head), *cells) for index, cells in enumerate(containers))
    return columns(rows)


def container_cells(container: dict[str, Any]) -> tuple[str, str, str, str]:
    code = container["exitCode"]
    return container["name"], container["phase"], "-" if code is None else str(code), container["health"]
