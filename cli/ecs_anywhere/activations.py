"""`activations`: which may still be used, and to take one back. `activate` makes one."""

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ecs_anywhere.console import out, print_json, table
from ecs_anywhere.options import output_option, stack_name_option, state_dir_option
from ecs_anywhere.stacks import open_stack, operate


@click.group()
def activations() -> None:
    """Activations that machines may register with."""


@activations.command("list")
@click.option("--cluster", help="Only this one's.")
@state_dir_option
@stack_name_option
@output_option
def list_command(*, cluster: str | None, state_dir: Path, stack_name: str | None, output: str) -> None:
    """What each is for, how often it was used, and until when it can be. Codes are shown by `activate` only."""
    answer = operate(open_stack(stack_name, state_dir), "ListActivations", **({"cluster": cluster} if cluster else {}))
    if output == "json":
        print_json(answer)
    elif answer["activations"]:
        out.print(_table(answer["activations"]))
    else:
        out.print("No activations.")


@activations.command()
@click.argument("activation_id")
@state_dir_option
@stack_name_option
@output_option
def delete(*, activation_id: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Let no more machines register with ACTIVATION_ID. Those that have keep their identities."""
    answer = operate(open_stack(stack_name, state_dir), "DeleteActivation", activationId=activation_id)
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Deleted: {answer['activationId']}")


def _table(found: list[dict[str, Any]]) -> Table:
    rows = table("ACTIVATION", "CLUSTER", "MACHINES", "EXPIRES", "ATTRIBUTES")
    for each in found:
        expires = "expired" if each["expired"] else each["expiresAt"]
        attributes = ", ".join(f"{name}={value}" for name, value in each["attributes"].items()) or "-"
        used = f"{each['registrations']} of {each['registrationLimit']}"
        rows.add_row(each["activationId"], each["cluster"], used, expires, attributes)
    return rows
