"""`why`: what keeps a task, a service or a waiting `Run Task` event from running."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from ecs_anywhere.console import out, print_json, table
from ecs_anywhere.options import cluster_option, output_option, stack_name_option, state_dir_option
from ecs_anywhere.stacks import open_stack, operate


@click.command()
@click.argument("name", metavar="TASK|SERVICE|EVENT")
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def why(*, name: str, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Why does it not run? A name or ARN, or the id of a Run Task event that waits.

    Of a service or an event: each reason for which container instances refuse its next task, and what the closest one
    lacks. Of a task: where it is, or why it stopped.
    """
    answer = operate(open_stack(stack_name, state_dir), "Why", cluster=cluster, name=name)
    if output == "json":
        print_json(answer)
        return
    for each in render(answer):
        out.print(each, soft_wrap=isinstance(each, str))


def render(answer: dict[str, Any]) -> Iterator[RenderableType]:
    """Lines and tables for people."""
    match answer["kind"]:
        case "task":
            yield from _task(answer["task"])
        case "service":
            service = answer["service"]
            counts = f"{service['desiredCount']} desired, {service['runningCount']} running"
            yield f"{service['serviceArn']}: {counts}, {service['pendingCount']} pending; {service['rolloutState']}"
            if service["waitingSince"]:
                yield f"It has waited for capacity since {service['waitingSince']}."
            if service["notBefore"]:
                yield f"Its tasks keep failing to start: the next one starts at {service['notBefore']}."
            if service.get("refusal"):
                yield f"No task of it can be launched: {escape(service['refusal'])}"
            yield from _placement(answer["placement"])
            yield ""
            for event in answer["events"]:
                yield f"{event['createdAt']}  {escape(event['message'])}"
        case _:
            event = answer["event"]
            yield f"Run Task event {event['requestId']} has waited for capacity since {event['waitingSince']}"
            yield f"and waits until {event['waitsUntil']}. {event['placedCount']} of its tasks have been started."
            yield from _placement(answer["placement"])


def _task(task: dict[str, Any]) -> Iterator[RenderableType]:
    yield f"{task['taskArn']}: {task['lastStatus']}, to be {task['desiredStatus']}"
    away = ", which is disconnected" if task.get("connectivity") == "DISCONNECTED" else ""
    yield f"On {task['containerInstanceArn']}{away}"
    if "stoppedReason" in task or "stopCode" in task:
        yield f"{task.get('stopCode', '')}: {escape(task.get('stoppedReason', ''))}"
    rows = table("CONTAINER", "STATUS", "EXIT CODE", "REASON")
    for each in task["containers"]:
        code, reason = str(each.get("exitCode", "-")), escape(each.get("reason", "-"))
        rows.add_row(each["name"], each["lastStatus"], code, reason)
    yield rows


def _placement(placement: dict[str, Any]) -> Iterator[RenderableType]:
    yield ""
    if placement["placeable"]:
        yield f"Container instance {placement['containerInstance']} could take one task more now."
        return
    if not placement["instances"]:
        yield "There are no container instances in the cluster."
        return
    yield f"None of {placement['instances']} container instances can take one task more:"
    rows = Table(box=None, pad_edge=False)
    rows.add_column("REASON", overflow="fold")
    rows.add_column("INSTANCES", justify="right")
    rows.add_column("SUCH AS", overflow="fold")
    for each in placement["refusals"]:
        rows.add_row(escape(each["reason"]), str(each["count"]), "\n".join(each["containerInstances"]))
    yield rows
    closest = placement["closest"]
    if closest:
        yield f"The closest, {closest['containerInstance']}:"
        yield from (f"  {escape(line)}" for line in closest["lacks"])
