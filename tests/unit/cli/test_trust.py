"""What makes a role one that tasks can have."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from moto import mock_aws

from ecs_anywhere.console import Problem
from ecs_anywhere.main import cli
from ecs_anywhere.settings import Stack, StateDir
from ecs_anywhere.trust import give_trust, statement_for

BROKER = "arn:aws:iam::123456789012:role/ecs-anywhere-IotCredentialsRole-ABC"
STACK = Stack(
    ecs_endpoint="",
    region="eu-west-1",
    access_key_id="",
    secret_access_key="",
    registration_endpoint="",
    stack_name="ecs-anywhere",
    event_bus_name="",
    operator_function="",
    credentials_role=BROKER,
)
STATEMENT = {
    "Sid": "EcsAnywhereEcsAnywhereEuWest1",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
    "Action": ["sts:AssumeRole", "sts:TagSession"],
    "Condition": {
        "ArnEquals": {"aws:PrincipalArn": BROKER},
        "StringEquals": {"aws:RequestTag/ecs-anywhere-deployment": "ecs-anywhere"},
    },
}
OF_ECS = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        client = boto3.client("iam", region_name="us-east-1")
        policy = json.dumps({"Version": "2012-10-17", "Statement": OF_ECS})
        client.create_role(RoleName="app", Path="/ecs-anywhere/", AssumeRolePolicyDocument=policy)
        client.create_role(RoleName="ecsTaskExecutionRole", AssumeRolePolicyDocument=policy)
        yield client


def trusted(iam: Any, role: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    return statements


def test_the_statement_names_the_one_function_of_this_deployment() -> None:
    assert statement_for(STACK, ()) == STATEMENT


def test_the_emulator_shows_another_name_of_the_function() -> None:
    condition = statement_for(replace(STACK, aws_endpoint="http://127.0.0.1:4566"), ())["Condition"]
    session = "arn:aws:sts::123456789012:assumed-role/ecs-anywhere-IotCredentialsRole-ABC/*"
    assert condition["ArnEquals"] == {"aws:PrincipalArn": session}


def test_it_may_be_for_tasks_of_some_clusters_only() -> None:
    condition = statement_for(STACK, ("prod", "test"))["Condition"]
    assert condition["StringEquals"] == {
        "aws:RequestTag/ecs-anywhere-deployment": "ecs-anywhere",
        "aws:RequestTag/ecs-cluster-name": ["prod", "test"],
    }


def test_it_is_written_beside_what_there_is_and_once(iam: Any) -> None:
    for written in (True, False):
        arn = "arn:aws:iam::123456789012:role/ecs-anywhere/app"
        assert give_trust(iam, STACK, arn, statement_for(STACK, ())) == {
            "roleArn": arn,
            "trusted": written,
            "tagged": False,
        }
        assert trusted(iam, "app") == [OF_ECS, STATEMENT]


def test_it_takes_the_place_of_an_earlier_one_and_leaves_another_deployments(iam: Any) -> None:
    other = replace(STACK, prefix="other")
    give_trust(iam, other, "app", statement_for(other, ()))
    give_trust(iam, STACK, "app", statement_for(STACK, ()))
    give_trust(iam, STACK, "app", statement_for(STACK, ("prod",)))
    assert trusted(iam, "app") == [OF_ECS, statement_for(other, ()), statement_for(STACK, ("prod",))]


def test_a_role_of_another_path_is_tagged(iam: Any) -> None:
    for written in (True, False):
        answer = give_trust(iam, STACK, "ecsTaskExecutionRole", statement_for(STACK, ()))
        assert (answer["trusted"], answer["tagged"]) == (written, written)
    [tag] = iam.get_role(RoleName="ecsTaskExecutionRole")["Role"]["Tags"]
    assert tag == {"Key": "ecs-anywhere", "Value": "task-role"}


@pytest.mark.parametrize(
    ("role", "problem"),
    [
        pytest.param("arn:aws:iam::999999999999:role/app", "another account", id="of-another-account"),
        pytest.param("missing", "NoSuchEntity", id="that-does-not-exist"),
    ],
)
def test_a_role_that_no_task_can_have(iam: Any, role: str, problem: str) -> None:
    with pytest.raises(Problem, match=problem):
        give_trust(iam, STACK, role, STATEMENT)


def test_a_stack_of_an_older_release_says_so() -> None:
    with pytest.raises(Problem, match="Update it"):
        statement_for(replace(STACK, credentials_role=None), ())


def test_without_apply_it_is_printed_and_nothing_is_asked_of_aws(tmp_path: Path) -> None:
    STACK.save(StateDir(tmp_path).stack_file)
    result = CliRunner().invoke(cli, ["trust", "app", "--output", "json", "--state-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == STATEMENT
