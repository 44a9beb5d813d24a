"""Reach a stack: the local one through its state directory, one on AWS through its name."""

import json
import os
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ecs_anywhere.console import Problem
from ecs_anywhere.settings import Stack, StateDir


def open_stack(stack_name: str | None, state_dir: Path) -> Stack:
    """Raises Problem if there is no such stack."""
    if stack_name:
        return _on_aws(stack_name)
    file = StateDir(state_dir).stack_file
    if not file.exists():
        raise Problem(
            f"There is no local stack in {state_dir}. Start one with `ecs-anywhere up`, or name one on AWS with "
            "--stack-name."
        )
    return Stack.load(file)


def _on_aws(stack_name: str) -> Stack:
    """With the ordinary credential chain."""
    # boto3 itself reads AWS_DEFAULT_REGION only.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    if not session.region_name:
        raise Problem("No AWS region is set. Set AWS_REGION, or the region of your profile.")
    try:
        found = described(session.client("cloudformation"), session.client("secretsmanager"), stack_name)
    except (BotoCoreError, ClientError, KeyError) as error:
        hint = (
            " Your shell has what `ecs-anywhere env` printed, which is a key of the ECS API and none of AWS: unset "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            if os.environ.get("AWS_ENDPOINT_URL_ECS") and os.environ.get("AWS_ACCESS_KEY_ID")
            else ""
        )
        raise Problem(f"Could not read stack {stack_name} in {session.region_name}: {error}.{hint}") from error
    return Stack(region=session.region_name, **found)


def described(cloudformation: Any, secretsmanager: Any, stack_name: str) -> dict[str, Any]:
    """What a deployed stack says of itself, as members of Stack. `KeyError`: it is no stack of ours."""
    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    secret = secretsmanager.get_secret_value(SecretId=outputs["AdministratorKeySecretArn"])
    key = json.loads(secret["SecretString"])
    return {
        "stack_name": stack_name,
        "ecs_endpoint": outputs["EcsEndpoint"],
        "access_key_id": key["accessKeyId"],
        "secret_access_key": key["secretAccessKey"],
        "registration_endpoint": outputs["RegistrationEndpoint"],
        "event_bus_name": outputs["EventBusName"],
        "operator_function": outputs["OperatorFunctionName"],
        "prefix": outputs["Prefix"],
        "credentials_role": outputs.get("CredentialsRoleArn"),
        "task_role_path": outputs.get("TaskRolePath", ""),
        "task_role_tag": outputs.get("TaskRoleTag", ""),
    }


def variables(stack: Stack, access_key_id: str, secret_access_key: str) -> dict[str, str]:
    """What aws and boto3 read from the environment to use the stack with a key."""
    return {
        "AWS_ENDPOINT_URL_ECS": stack.ecs_endpoint,
        "AWS_REGION": stack.region,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
    }


def ecs_client(stack: Stack) -> Any:
    """Amazon's own client, pointed at the stack."""
    return boto3.client(
        "ecs",
        endpoint_url=stack.ecs_endpoint,
        region_name=stack.region,
        aws_access_key_id=stack.access_key_id,
        aws_secret_access_key=stack.secret_access_key,
        # No proxy stands between this machine and itself.
        config=Config(retries={"mode": "standard", "max_attempts": 4}, proxies={} if stack.aws_endpoint else None),
    )


def callers_ecs_client(stack_name: str | None, state_dir: Path, profile: str | None) -> Any:
    """With the caller's own key of the ECS API, if a profile or AWS_ENDPOINT_URL_ECS says where that is good; else with
    the administrator's of the stack."""
    if stack_name or not (profile or os.environ.get("AWS_ENDPOINT_URL_ECS")):
        return ecs_client(open_stack(stack_name, state_dir))
    try:
        return boto3.Session(profile_name=profile).client("ecs", config=Config(retries={"mode": "standard"}))
    except BotoCoreError as error:
        raise Problem(f"The ECS API cannot be asked: {error}") from error


def aws_client(stack: Stack, service: str) -> Any:
    """AWS itself, or the emulator, under the caller's own AWS credentials."""
    local: dict[str, Any] = (
        {
            "endpoint_url": stack.aws_endpoint,
            "aws_access_key_id": stack.aws_access_key_id,
            "aws_secret_access_key": stack.aws_secret_access_key,
            "config": Config(proxies={}),
        }
        if stack.aws_endpoint
        else {}
    )
    make: Any = boto3.client
    return make(service, region_name=stack.region, **local)


def operate(stack: Stack, operation: str, **members: Any) -> dict[str, Any]:
    """What is no ECS operation, by lambda:Invoke under the caller's own AWS credentials. Raises Problem."""
    try:
        answer = aws_client(stack, "lambda").invoke(
            FunctionName=stack.operator_function, Payload=json.dumps({"operation": operation, **members}).encode()
        )
    except (BotoCoreError, ClientError) as error:
        raise Problem(f"Could not invoke {stack.operator_function}: {error}") from error
    body: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise Problem(f"{stack.operator_function} failed: {body.get('errorMessage', body)}. See its log.")
    if "error" in body:
        raise Problem(f"{body['error']}: {body['message']}")
    return body
