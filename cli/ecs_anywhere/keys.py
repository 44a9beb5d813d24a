"""`keys`: access keys besides the administrator's, for people, CI, and Amazon's own agent."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ecs_anywhere.console import err, out, print_json
from ecs_anywhere.options import output_option, stack_name_option, state_dir_option
from ecs_anywhere.settings import Stack
from ecs_anywhere.stacks import open_stack, operate, variables


@click.group()
def keys() -> None:
    """Access keys besides the administrator's. What a key's principal may do, its policies say."""


@keys.command()
@click.argument("principal", required=False)
@click.option(
    "--cluster", "clusters", multiple=True, help="The key acts in this cluster only; may be repeated. [default: any]"
)
@click.option("--instance", is_flag=True, help="For Amazon's own agent on one machine, in place of PRINCIPAL.")
@click.option("--container-instance", metavar="ID", help="With --instance: another key for one that is registered.")
@state_dir_option
@stack_name_option
@output_option
def create(
    *,
    principal: str | None,
    clusters: tuple[str, ...],
    instance: bool,
    container_instance: str | None,
    state_dir: Path,
    stack_name: str | None,
    output: str,
) -> None:
    """Make a key for PRINCIPAL, any name. Its secret is shown now, and never again."""
    if instance is (principal is not None):
        raise click.UsageError("Name a PRINCIPAL, or say --instance.")
    if container_instance and not instance:
        raise click.UsageError("--container-instance goes with --instance.")
    if instance and len(clusters) > 1:
        raise click.UsageError("A container instance is of one --cluster.")
    stack = open_stack(stack_name, state_dir)
    if instance:
        cluster = clusters[0] if clusters else "default"
        made = operate(stack, "CreateAgentKey", cluster=cluster, containerInstance=container_instance)
    else:
        made = operate(stack, "CreateKey", principal=principal, clusters=list(clusters))
    if output == "json":
        print_json(made)
    elif instance:
        err.print("In /etc/ecs/ecs.config on the machine, where Amazon's agent is installed:")
        for name, value in agent_configuration(stack, made).items():
            click.echo(f"{name}={value}")
    else:
        for name, value in variables(stack, made["accessKeyId"], made["secretAccessKey"]).items():
            click.echo(f"export {name}={shlex.quote(value)}")


@keys.command("list")
@state_dir_option
@stack_name_option
@output_option
def list_command(*, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Every key, without its secret."""
    answer = operate(open_stack(stack_name, state_dir), "ListKeys")
    if output == "json":
        print_json(answer)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("ACCESS KEY ID", no_wrap=True)
    for column in ("PRINCIPAL", "CLUSTERS", "STATUS", "CREATED"):
        table.add_column(column, overflow="fold")
    for each in answer["keys"]:
        clusters = ", ".join(each["clusters"]) or "any"
        table.add_row(each["accessKeyId"], each["principal"], clusters, each["status"], each["createdAt"])
    out.print(table)


@keys.command()
@click.argument("access_key_id")
@state_dir_option
@stack_name_option
@output_option
def revoke(*, access_key_id: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """ACCESS_KEY_ID signs nothing any more, from 15 seconds on at the latest."""
    answer = operate(open_stack(stack_name, state_dir), "RevokeKey", accessKeyId=access_key_id)
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Revoked: {answer['accessKeyId']} of {answer['principal']}")


def agent_configuration(stack: Stack, made: Mapping[str, Any]) -> dict[str, str]:
    """Of Amazon's own agent, https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html"""
    return {
        "ECS_BACKEND_HOST": stack.ecs_endpoint,
        "ECS_CLUSTER": made["containerInstanceArn"].split("/")[1],
        "ECS_EXTERNAL": "true",
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ACCESS_KEY_ID": made["accessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["secretAccessKey"],
    }
