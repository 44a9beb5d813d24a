"""`rotate` and `deregister`: the certificates of machines, beside what the ECS API does with their instances."""

from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from ecs_anywhere.console import Problem, out, print_json
from ecs_anywhere.options import cluster_option, output_option, stack_name_option, state_dir_option
from ecs_anywhere.stacks import ecs_client, open_stack, operate

ALREADY = "The referenced container instance is already deregistered."


@click.command()
@click.argument("instance")
@cluster_option
@state_dir_option
@stack_name_option
@output_option
def rotate(*, instance: str, cluster: str, state_dir: Path, stack_name: str | None, output: str) -> None:
    """Have INSTANCE make a new key and get a certificate for it: now, or when it connects. Its tasks run on."""
    stack = open_stack(stack_name, state_dir)
    answer = operate(stack, "RotateCertificate", cluster=cluster, containerInstance=instance)
    if output == "json":
        print_json(answer)
    else:
        out.print(f"Told to replace its certificate: {answer['containerInstanceArn']}", soft_wrap=True)


@click.command()
@click.argument("instance")
@cluster_option
@click.option("--force", is_flag=True, help="Though tasks run on it; services start others in their place.")
@click.option("--revoke-now", is_flag=True, help="It may be stolen: do not wait until it has heard.")
@state_dir_option
@stack_name_option
@output_option
def deregister(
    *,
    instance: str,
    cluster: str,
    force: bool,
    revoke_now: bool,
    state_dir: Path,
    stack_name: str | None,
    output: str,
) -> None:
    """INSTANCE is no container instance any more: its machine hears so, stops its tasks and deletes its key.

    The same as DeregisterContainerInstance of the ECS API, but for --revoke-now, which also takes one that is
    deregistered already.
    """
    stack = open_stack(stack_name, state_dir)
    answer: dict[str, Any] = {"containerInstanceArn": instance, "revoked": revoke_now}
    try:
        described = ecs_client(stack).deregister_container_instance(
            cluster=cluster, containerInstance=instance, force=force
        )
        answer["containerInstanceArn"] = described["containerInstance"]["containerInstanceArn"]
    except (BotoCoreError, ClientError) as error:
        if not (revoke_now and ALREADY in str(error)):
            raise Problem(f"Not deregistered: {error}") from error
    if revoke_now:
        answer |= operate(stack, "RevokeCertificate", cluster=cluster, containerInstance=instance)
    if output == "json":
        print_json(answer)
    else:
        certificate = "revoked" if revoke_now else "good for hearing so, for 30 days at most"
        out.print(f"Deregistered: {answer['containerInstanceArn']}; its certificate is {certificate}.", soft_wrap=True)
