"""`trust`: what a role needs so that tasks can have it."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from ecs_anywhere.console import Problem, err, out, print_json
from ecs_anywhere.options import output_option, stack_name_option, state_dir_option
from ecs_anywhere.settings import Stack
from ecs_anywhere.stacks import aws_client, open_stack

TAG = "ecs-anywhere"


@click.command()
@click.argument("role", metavar="ROLE")
@click.option(
    "--cluster", "clusters", multiple=True, help="Only for tasks of this cluster; may be repeated. [default: any]"
)
@click.option("--apply", is_flag=True, help="Write it, with your ordinary AWS credentials.")
@state_dir_option
@stack_name_option
@output_option
def trust(
    *, role: str, clusters: tuple[str, ...], apply: bool, state_dir: Path, stack_name: str | None, output: str
) -> None:
    """Let tasks have ROLE, a name or ARN: print the statement that its trust policy needs, or write it.

    Other statements of the policy stay, and the same command again changes nothing. What the role is not allowed by
    its path it is by a tag, which --apply writes, too.
    """
    stack = open_stack(stack_name, state_dir)
    statement = statement_for(stack, clusters)
    if not apply:
        if output == "text":
            err.print(
                f"In the trust policy of {role}, which lies under {stack.task_role_path} or is tagged "
                f"{TAG}={stack.task_role_tag}; or run this with --apply:"
            )
        click.echo(json.dumps(statement, indent=2))
        return
    answer = give_trust(aws_client(stack, "iam"), stack, role, statement)
    if output == "json":
        print_json(answer)
        return
    done = [text for member, text in (("trusted", "trusts it now"), ("tagged", "is tagged now")) if answer[member]]
    out.print(f"{answer['roleArn']} {' and '.join(done) if done else 'has had all that it needs'}", soft_wrap=True)


def statement_for(stack: Stack, clusters: Sequence[str]) -> dict[str, Any]:
    """The account is the principal and the condition names the one function: so that the role is not let out of what
    that function may assume, which naming it as the principal would do, and the statement outlives a new deployment.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-single-account.html
    """
    broker = stack.credentials_role
    if broker is None:
        raise Problem("This stack gives tasks no roles: it is of an older release. Update it, then try again.")
    partition, account, name = broker.split(":")[1], broker.split(":")[4], broker.rsplit("/", 1)[-1]
    # Of a session AWS shows the role here, MiniStack the session.
    shown = f"arn:{partition}:sts::{account}:assumed-role/{name}/*" if stack.aws_endpoint else broker
    tags: dict[str, Any] = {"aws:RequestTag/ecs-anywhere-deployment": stack.prefix}
    if clusters:
        tags["aws:RequestTag/ecs-cluster-name"] = list(clusters)
    return {
        "Sid": re.sub(r"[^A-Za-z0-9]", "", f"EcsAnywhere{stack.prefix.title()}{stack.region.title()}"),
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"ArnEquals": {"aws:PrincipalArn": shown}, "StringEquals": tags},
    }


def give_trust(iam: Any, stack: Stack, role: str, statement: Mapping[str, Any]) -> dict[str, Any]:
    """{roleArn, trusted, tagged}: what was written. Raises Problem."""
    broker = str(stack.credentials_role)
    if role.startswith("arn:") and role.split(":")[4] != broker.split(":")[4]:
        raise Problem(f"{role} is a role of another account: tasks can have roles of the stack's account only.")
    name = role.rsplit("/", 1)[-1]
    try:
        found = iam.get_role(RoleName=name)["Role"]
        before = found["AssumeRolePolicyDocument"]
        after = with_statement(before, statement)
        if after != before:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(after))
        tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}
        tagged = not found["Path"].startswith(stack.task_role_path) and tags.get(TAG) != stack.task_role_tag
        if tagged:
            iam.tag_role(RoleName=name, Tags=[{"Key": TAG, "Value": stack.task_role_tag}])
    except (BotoCoreError, ClientError) as error:
        raise Problem(f"Could not write what {role} needs: {error}") from error
    return {"roleArn": found["Arn"], "trusted": after != before, "tagged": tagged}


def with_statement(policy: Mapping[str, Any], statement: Mapping[str, Any]) -> dict[str, Any]:
    """In the place of an earlier one of the same deployment."""
    given = policy.get("Statement", [])
    others = [each for each in (given if isinstance(given, list) else [given]) if each.get("Sid") != statement["Sid"]]
    return {**policy, "Statement": [*others, dict(statement)]}
