"""`orphans`: tasks that run on machines and that the control plane knows nothing of, as after a restored backup."""

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ecs_anywhere.console import out, print_json, table
from ecs_anywhere.options import cluster_option, output_option, stack_name_option, state_dir_option
from ecs_anywhere.stacks import open_stack, operate


@click.group()
def orphans() -> None:
    """Tasks that machines run and the control plane does not know: kept, until you decide."""


@orphans.command("list")
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def list_command(*, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """What runs, where, and whether it can be adopted."""
    answer = operate(open_stack(stack_name, state_dir), "ListOrphans", cluster=cluster)
    if output == "json":
        print_json(answer)
    elif answer["orphans"]:
        out.print(_table(answer["orphans"]))
        out.print(f"Decide: ecs-anywhere orphans adopt|stop --cluster {cluster} TASK")
    else:
        out.print(f"No orphans in cluster {cluster}.")


@orphans.command()
@click.argument("task")
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def adopt(*, task: str, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """TASK is a task of the cluster again, and of its service, if that is there."""
    answer = operate(open_stack(stack_name, state_dir), "AdoptOrphan", cluster=cluster, task=_id(task))
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Adopted: {answer['taskArn']} (group {answer['group']})", soft_wrap=True)


@orphans.command()
@click.argument("task")
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def stop(*, task: str, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """TASK's machine is told to stop it, now or when it is connected."""
    answer = operate(open_stack(stack_name, state_dir), "StopOrphan", cluster=cluster, task=_id(task))
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Told to stop: {answer['taskId']}")


def _id(task: str) -> str:
    """Of an id or an ARN."""
    return task.rpartition("/")[2]


def _table(found: list[dict[str, Any]]) -> Table:
    rows = table("TASK", "DEFINITION", "GROUP", "CONTAINER INSTANCE", "FOUND", "STATE")
    for each in found:
        state = "to stop" if each["stopping"] else "can be adopted" if each["adoptable"] else "can only be stopped"
        instance = each["containerInstanceArn"].rpartition("/")[2]
        rows.add_row(each["taskId"], each["taskDefinition"], each["group"] or "-", instance, each["foundAt"], state)
    return rows
