"""`duplicates`: container instances whose identity two machines use, as after copying a virtual machine."""

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ecs_anywhere.console import out, print_json, table
from ecs_anywhere.options import cluster_option, output_option, stack_name_option, state_dir_option
from ecs_anywhere.stacks import open_stack, operate


@click.group()
def duplicates() -> None:
    """Machines that use one identity: the later one is refused, and no task is placed, until you decide."""


@duplicates.command("list")
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def list_command(*, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Each instance, and the boot ids of its machines; `ecs-anywhere-agent status` shows a machine its own."""
    answer = operate(open_stack(stack_name, state_dir), "ListDuplicates", cluster=cluster)
    if output == "json":
        print_json(answer)
    elif answer["duplicates"]:
        out.print(_table(answer["duplicates"]))
        out.print(f"Decide: ecs-anywhere duplicates keep --cluster {cluster} INSTANCE BOOT-ID")
    else:
        out.print(f"No identity is used by two machines in cluster {cluster}.")


@duplicates.command()
@click.argument("instance")
@click.argument("boot_id")
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def keep(*, instance: str, boot_id: str, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """The machine with BOOT_ID is INSTANCE from now on; the others stay refused, and need identities of their own."""
    stack = open_stack(stack_name, state_dir)
    answer = operate(stack, "KeepMachine", cluster=cluster, containerInstance=instance, bootId=boot_id)
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Kept: {answer['containerInstanceArn']} is the machine with boot id {boot_id}.", soft_wrap=True)


def _table(found: list[dict[str, Any]]) -> Table:
    rows = table("CONTAINER INSTANCE", "FOUND", "SERVED BOOT ID", "REFUSED BOOT IDS")
    for each in found:
        instance = each["containerInstanceArn"].rpartition("/")[2]
        rows.add_row(instance, each["foundAt"], each["servedBootId"], ", ".join(each["refusedBootIds"]))
    return rows
