"""`policies`: what principals are allowed and denied."""

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ecs_anywhere.console import Problem, out, print_json, table
from ecs_anywhere.options import output_option, stack_name_option, state_dir_option
from ecs_anywhere.stacks import open_stack, operate

_principal = click.option("--principal", required=True, help="Whose key signs, or events/SOURCE.")


@click.group()
def policies() -> None:
    """What principals are allowed and denied. Without a policy nothing is allowed; what is denied stays denied."""


@policies.command()
@click.argument("name")
@_principal
@click.option("--allow", multiple=True, metavar="ACTION", help="ecs:RunTask, ecs:Describe*; may be repeated.")
@click.option("--deny", multiple=True, metavar="ACTION", help="Likewise.")
@click.option("--cluster", "clusters", multiple=True, help="In this cluster: it, and all that is in it.")
@click.option(
    "--task-definition", "families", multiple=True, metavar="FAMILY", help="Of this family: RunTask needs one too."
)
@click.option("--resource", "resources", multiple=True, metavar="ARN", help="On this; * stands for any characters.")
@click.option(
    "--document",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="In place of these options: a file with a policy as IAM has them.",
)
@state_dir_option
@stack_name_option
@output_option
def put(
    *,
    name: str,
    principal: str,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    clusters: tuple[str, ...],
    families: tuple[str, ...],
    resources: tuple[str, ...],
    document: Path | None,
    state_dir: Path,
    stack_name: str | None,
    output: str,
) -> None:
    """Make or replace the policy NAME of a principal."""
    if document is not None:
        if allow or deny or clusters or families or resources:
            raise click.UsageError("--document stands alone.")
        wanted = _read(document)
    else:
        wanted = document_of(allow, deny, clusters, families, resources)
    stack = open_stack(stack_name, state_dir)
    answer = operate(stack, "PutPolicy", principal=principal, name=name, document=wanted)
    if output == "json":
        print_json(answer)
    else:
        out.print(_table([answer]))


@policies.command("list")
@click.option("--principal", help="Only this one's.")
@state_dir_option
@stack_name_option
@output_option
def list_command(*, principal: str | None, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Every policy."""
    answer = operate(open_stack(stack_name, state_dir), "ListPolicies", principal=principal)
    if output == "json":
        print_json(answer)
    else:
        out.print(_table(answer["policies"]))


@policies.command()
@click.argument("name")
@_principal
@state_dir_option
@stack_name_option
@output_option
def delete(*, name: str, principal: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Take the policy NAME away from a principal."""
    answer = operate(open_stack(stack_name, state_dir), "DeletePolicy", principal=principal, name=name)
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Deleted: {answer['name']} of {answer['principal']}")


def document_of(
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    clusters: tuple[str, ...],
    families: tuple[str, ...],
    resources: tuple[str, ...],
) -> dict[str, Any]:
    """The policy that the options stand for. A deployment is of one account and region: any will do."""
    on = [
        *(f"arn:*:ecs:*:*:cluster/{cluster}" for cluster in clusters),
        *(f"arn:*:ecs:*:*:task-definition/{family}:*" for family in families),
        *resources,
    ]
    if not (allow or deny):
        raise click.UsageError("Say what to --allow or to --deny.")
    if not on:
        raise click.UsageError("Say where: --cluster, --task-definition or --resource ('*' is everything).")
    statements = [
        {"Effect": effect, "Action": list(actions), "Resource": on}
        for effect, actions in (("Allow", allow), ("Deny", deny))
        if actions
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _read(document: Path) -> Any:
    try:
        return json.loads(document.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Problem(f"{document} is not valid JSON: {error}") from error


def _table(found: list[dict[str, Any]]) -> Table:
    rows = table("PRINCIPAL", "POLICY", "EFFECT", "ACTIONS", "RESOURCES")
    for policy in found:
        for each in policy["document"]["Statement"]:
            actions, resources = "\n".join(each["Action"]), "\n".join(each["Resource"])
            rows.add_row(policy["principal"], policy["name"], each["Effect"], actions, resources)
    return rows
