"""A task with a role, from the command that makes the role trust us to what AWS STS says to the task."""

import json
import sys
from pathlib import Path

import pytest

from e2e.conftest import Stack, command, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

OF_ECS = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
WHO_AM_I = """
import boto3, json, os, pathlib, time
held = boto3.Session().get_credentials().get_frozen_credentials()
arn = boto3.client("sts").get_caller_identity()["Arn"]
partial = pathlib.Path(os.environ["SAY_IT_IN"] + ".partial")
partial.write_text(json.dumps({"arn": arn, "secrets": [held.secret_key, held.token]}))
partial.rename(os.environ["SAY_IT_IN"])
time.sleep(600)
"""


def test_a_task_acts_as_its_role(stack: Stack, tmp_path: Path) -> None:
    """The SDK in its container finds the credentials by itself, STS knows whose they are, and no file does."""
    cluster = "roles"
    iam = stack.client("iam")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [OF_ECS]})
    role = iam.create_role(RoleName="app", Path="/ecs-anywhere/", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    agent = stack.agent(cluster)
    said = tmp_path / "arn"
    environment = {
        "SAY_IT_IN": str(said),
        "AWS_ENDPOINT_URL": stack.about["awsEndpoint"],
        "AWS_REGION": stack.about["region"],
        "AWS_DEFAULT_REGION": stack.about["region"],
    }
    container = {
        "name": "main",
        "image": "-",
        "cpu": 10,
        "memory": 128,
        "entryPoint": [sys.executable, "-c"],
        "command": [WHO_AM_I],
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
    }
    stack.ecs.register_task_definition(
        family="who",
        networkMode="host",
        requiresCompatibilities=["EXTERNAL"],
        taskRoleArn=role,
        containerDefinitions=[container],
    )
    with pytest.raises(stack.ecs.exceptions.ClientException, match=f"ECS was unable to assume the role '{role}'"):
        stack.run(cluster, "who")
    command("ecs-anywhere", "trust", role, "--apply", "--state-dir", str(stack.state))
    statements = iam.get_role(RoleName="app")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert [statement.get("Sid") for statement in statements] == [None, "EcsAnywhereEcsAnywhereUsEast1"]
    arn = stack.run(cluster, "who")
    stack.until_task_is(cluster, arn, "RUNNING")
    until("the task has asked STS who it is", said.exists)
    account, task_id = role.split(":")[4], arn.rsplit("/", 1)[1]
    told = json.loads(said.read_text())
    assert told["arn"] == f"arn:aws:sts::{account}:assumed-role/app/{task_id}"

    status = json.loads(command("ecs-anywhere-agent", "status", "--data-dir", str(agent.data), "--output", "json"))
    assert [task["waiting"] for task in status["tasks"]] == [None]
    stack.ecs.stop_task(cluster=cluster, task=arn)
    stack.until_task_is(cluster, arn, "STOPPED")
    written = [*agent.data.rglob("*"), *agent.data.parent.glob("*.log"), *stack.state.glob("*.log")]
    files = [file for file in written if file.is_file()]
    assert len(files) > 5
    for secret in told["secrets"]:
        assert [file for file in files if secret.encode() in file.read_bytes()] == []
