"""Keys and policies as operators make them, and what callers may do by them, over the real flows."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from functions.api_ecs.app import carry_out

from control_plane.domain.authorization import Caller
from control_plane.domain.errors import AccessDeniedException, ClientException
from control_plane.flows.operate import operate
from control_plane.flows.run_task_event import run_task_for_event
from control_plane.flows.task_definitions import register_task_definition
from control_plane.store.principals import KEPT
from world import ADMINISTRATOR, World

CI = Caller(principal="ci")
ECS = "arn:aws:ecs:eu-west-1:123456789012:"
USER = "arn:aws:iam::123456789012:user/ecs-anywhere/ci"


def put(world: World, *statements: tuple[str, Sequence[str], Sequence[str]], principal: str = "ci", **more: Any) -> Any:
    document = {"Statement": [{"Effect": how, "Action": what, "Resource": where} for how, what, where in statements]}
    request = {"operation": "PutPolicy", "principal": principal, "name": "policy", "document": document, **more}
    return operate(world.cp, request)


def ask(world: World, operation: str, caller: Caller = CI, **request: Any) -> Any:
    return json.loads(carry_out(world.cp, operation, json.dumps(request).encode(), caller=caller))


def refusal(world: World, operation: str, caller: Caller = CI, **request: Any) -> str:
    with pytest.raises(AccessDeniedException) as raised:
        ask(world, operation, caller, **request)
    return raised.value.message


@pytest.fixture
def inhabited(world: World) -> World:
    """Clusters `default` and `prod` with a machine each, and a definition."""
    for cluster in ("default", "prod"):
        world.cluster(cluster)
        world.machine(cluster)
    world.task_definition("web")
    return world


# --- what operators do


def test_a_key_is_made_listed_and_revoked(world: World) -> None:
    world.cluster("prod")
    made = operate(world.cp, {"operation": "CreateKey", "principal": "ci", "clusters": ["prod"]})
    secret = made.pop("secretAccessKey")
    assert made == {
        "accessKeyId": made["accessKeyId"],
        "principal": "ci",
        "clusters": ["prod"],
        "containerInstanceArn": None,
        "status": "ACTIVE",
        "createdAt": "2026-01-01T00:00:00+00:00",
    }
    assert len(secret) == 43
    assert operate(world.cp, {"operation": "ListKeys"}) == {"keys": [made]}
    revoke = {"operation": "RevokeKey", "accessKeyId": made["accessKeyId"]}
    assert operate(world.cp, revoke) == operate(world.cp, revoke) == {**made, "status": "REVOKED"}
    assert operate(world.cp, {"operation": "ListKeys"}) == {"keys": [{**made, "status": "REVOKED"}]}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"operation": "CreateKey", "principal": "administrator"}, "choose another name"),
        ({"operation": "CreateKey", "principal": "events/ecs-anywhere.run-task"}, "choose another name"),
        ({"operation": "CreateKey", "principal": "a#b"}, "principal"),
        ({"operation": "CreateKey", "principal": "ci", "clusters": ["nowhere"]}, "Cluster not found"),
        ({"operation": "CreateAgentKey", "cluster": "nowhere"}, "Cluster not found"),
        ({"operation": "RevokeKey", "accessKeyId": "ADMINISTRATOR"}, "no key"),
        ({"operation": "RevokeKey", "accessKeyId": f"ECSA{'0' * 32}"}, "no key"),
        ({"operation": "DeletePolicy", "principal": "ci", "name": "policy"}, "ci has no policy"),
    ],
)
def test_what_operators_may_not_do(world: World, request_: dict[str, Any], words: str) -> None:
    answer = operate(world.cp, request_)
    assert "error" in answer
    assert words in answer["message"]


def test_a_policy_is_put_listed_and_deleted(world: World) -> None:
    policy = put(world, ("Allow", ["ecs:Describe*"], [f"{ECS}cluster/prod"]), ("Deny", ["*"], ["*"]))
    statements = [
        {"Effect": "Allow", "Action": ["ecs:Describe*"], "Resource": [f"{ECS}cluster/prod"]},
        {"Effect": "Deny", "Action": ["*"], "Resource": ["*"]},
    ]
    assert policy == {
        "principal": "ci",
        "name": "policy",
        "document": {"Version": "2012-10-17", "Statement": statements},
    }
    other = put(world, ("Allow", ["*"], ["*"]), principal="ci2")
    assert operate(world.cp, {"operation": "ListPolicies"}) == {"policies": [policy, other]}
    assert operate(world.cp, {"operation": "ListPolicies", "principal": "ci"}) == {"policies": [policy]}
    operate(world.cp, {"operation": "DeletePolicy", "principal": "ci", "name": "policy"})
    assert operate(world.cp, {"operation": "ListPolicies"}) == {"policies": [other]}


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        pytest.param({"Action": "ecs:RunTasks"}, "matches no action", id="no-such-action"),
        pytest.param({"Action": "s3:*"}, "matches no action", id="another-service"),
        pytest.param({"Action": "ecs:SubmitTaskStateChange"}, "no policy allows it", id="an-agents"),
        pytest.param({"Action": "ecs:Submit*"}, "no policy allows it", id="agents"),
        pytest.param({"Resource": "cluster/prod"}, "neither an ARN", id="no-arn"),
        pytest.param({"Resource": "arn:*"}, "neither an ARN", id="an-arn-too-short"),
        pytest.param({"Condition": {}}, "Condition", id="a-condition"),
        pytest.param({"Effect": "Maybe"}, "Effect", id="no-effect"),
        pytest.param({"Action": []}, "Action", id="nothing"),
    ],
)
def test_a_policy_that_would_not_do_what_it_says_is_refused(
    world: World, statement: dict[str, Any], words: str
) -> None:
    whole = {"Effect": "Allow", "Action": "ecs:*", "Resource": "*", **statement}
    request = {"operation": "PutPolicy", "principal": "ci", "name": "policy", "document": {"Statement": whole}}
    answer = operate(world.cp, request)
    assert (answer["error"], words in answer["message"]) == ("InvalidParameterException", True), answer
    assert operate(world.cp, {"operation": "ListPolicies"}) == {"policies": []}


def test_a_default_is_put_only_where_nobody_has_decided(world: World) -> None:
    decided = put(world, ("Deny", ["*"], ["*"]))
    assert put(world, ("Allow", ["*"], ["*"]), name="default", unlessThereIsAny=True) == decided
    assert operate(world.cp, {"operation": "ListPolicies"}) == {"policies": [decided]}


# --- what callers may do


def test_a_caller_without_policies_may_nothing(inhabited: World) -> None:
    assert refusal(inhabited, "ListTasks", cluster="prod") == (
        f"User: {USER} is not authorized to perform: ecs:ListTasks on resource: {ECS}cluster/prod "
        "because no identity-based policy allows the ecs:ListTasks action"
    )


def test_a_refusal_is_a_line_in_the_audit_log(inhabited: World, caplog: pytest.LogCaptureFixture) -> None:
    refusal(inhabited, "ListTasks", Caller(principal="ci", access_key_id="ECSA1"))
    [line] = [vars(record) for record in caplog.records if record.message == "Audit"]
    assert {name: line[name] for name in ("principal", "accessKeyId", "action", "resource", "reason")} == {
        "principal": "ci",
        "accessKeyId": "ECSA1",
        "action": "ecs:ListTasks",
        "resource": f"{ECS}cluster/default",
        "reason": "because no identity-based policy allows the ecs:ListTasks action",
    }


def test_a_caller_may_what_its_policy_says_in_its_cluster_and_in_no_other(inhabited: World) -> None:
    put(inhabited, ("Allow", ["ecs:RunTask", "ecs:*Tasks"], [f"{ECS}cluster/prod", f"{ECS}task-definition/web:*"]))
    [task] = ask(inhabited, "RunTask", cluster="prod", taskDefinition="web")["tasks"]
    assert ask(inhabited, "ListTasks", cluster="prod") == {"taskArns": [task["taskArn"]]}
    assert ask(inhabited, "DescribeTasks", cluster="prod", tasks=[task["taskArn"]])["failures"] == []
    assert f"{ECS}cluster/default" in refusal(inhabited, "RunTask", taskDefinition="web")
    assert f"{ECS}task/prod/" in refusal(inhabited, "StopTask", cluster="prod", task=task["taskArn"])
    # Neither the ARN of another cluster's task nor one more in a list gets around it.
    [other] = ask(inhabited, "RunTask", ADMINISTRATOR, taskDefinition="web")["tasks"]
    for wanted in ([other["taskArn"]], [task["taskArn"], other["taskArn"]]):
        assert f"{ECS}task/default/" in refusal(inhabited, "DescribeTasks", cluster="prod", tasks=wanted)


def test_a_definition_is_allowed_as_the_revision_that_is_run(inhabited: World) -> None:
    put(inhabited, ("Allow", ["ecs:RunTask"], [f"{ECS}cluster/prod", f"{ECS}task-definition/web:1"]))
    [task] = ask(inhabited, "RunTask", cluster="prod", taskDefinition="web")["tasks"]
    assert task["taskDefinitionArn"] == f"{ECS}task-definition/web:1"
    inhabited.task_definition("web")
    assert f"{ECS}task-definition/web:2" in refusal(inhabited, "RunTask", cluster="prod", taskDefinition="web")
    assert ask(inhabited, "RunTask", cluster="prod", taskDefinition="web:1")["failures"] == []


def test_what_does_not_exist_is_told_only_to_who_may_ask(inhabited: World) -> None:
    assert "task-definition/nothing" in refusal(inhabited, "DescribeTaskDefinition", taskDefinition="nothing")
    put(inhabited, ("Allow", ["ecs:DescribeTaskDefinition"], ["*"]))
    inhabited.pass_time(KEPT.total_seconds())
    with pytest.raises(ClientException, match="Unable to describe task definition"):
        ask(inhabited, "DescribeTaskDefinition", taskDefinition="nothing")


ROLE = "arn:aws:iam::123456789012:role/reader"
ROLES = {"taskRoleArn": ROLE}


def test_a_role_is_given_by_who_may_pass_it(inhabited: World) -> None:
    container = {"name": "main", "image": "busybox", "memory": 64}
    definition: dict[str, Any] = {"family": "reading", "containerDefinitions": [container], **ROLES}
    put(inhabited, ("Allow", ["ecs:*"], ["*"]))
    passing = f"iam:PassRole on resource: {ROLE} because no identity-based policy allows the iam:PassRole action"
    assert passing in refusal(inhabited, "RegisterTaskDefinition", **definition)
    register_task_definition(inhabited.cp, definition)
    assert passing in refusal(inhabited, "RunTask", taskDefinition="reading")
    assert passing in refusal(inhabited, "CreateService", serviceName="s", taskDefinition="reading")
    assert passing in refusal(inhabited, "RunTask", taskDefinition="web", overrides=ROLES)
    put(inhabited, ("Allow", ["ecs:*", "iam:PassRole"], ["*"]))
    inhabited.pass_time(KEPT.total_seconds())
    assert ask(inhabited, "RegisterTaskDefinition", **definition)["taskDefinition"]["revision"] == 2


def test_what_a_policy_says_now_holds_at_once_or_soon(inhabited: World) -> None:
    put(inhabited, ("Allow", ["ecs:ListTasks"], ["*"]))
    ask(inhabited, "ListTasks")
    put(inhabited, ("Deny", ["ecs:ListTasks"], ["*"]))
    inhabited.pass_time(KEPT.total_seconds() - 1)
    ask(inhabited, "ListTasks")
    inhabited.pass_time(1)
    assert "with an explicit deny" in refusal(inhabited, "ListTasks")


def test_account_settings_are_the_callers_own(inhabited: World) -> None:
    put(inhabited, ("Allow", ["ecs:*AccountSetting*"], ["*"]))
    setting = ask(inhabited, "PutAccountSetting", name="containerInsights", value="enabled")["setting"]
    assert setting["principalArn"] == USER
    assert ask(inhabited, "ListAccountSettings")["settings"] == [setting]
    assert ask(inhabited, "ListAccountSettings", ADMINISTRATOR)["settings"] == []


# --- events


EVENT = {
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "source": "my.app",
    "detail": {"cluster": "prod", "taskDefinition": "web"},
}


def test_an_event_runs_what_its_source_may(inhabited: World) -> None:
    put(
        inhabited,
        ("Allow", ["ecs:RunTask"], [f"{ECS}cluster/prod", f"{ECS}task-definition/web:*"]),
        principal="events/my.app",
    )
    run_task_for_event(inhabited.cp, EVENT)
    assert _in_prod(inhabited) == ["web:1"]
    assert inhabited.events.entries == []


@pytest.mark.parametrize("principal", ["my.app", "events/my.app.too", "events/my"])
def test_an_event_of_a_source_without_a_policy_runs_nothing(inhabited: World, principal: str) -> None:
    put(inhabited, ("Allow", ["*"], ["*"]), principal=principal)
    run_task_for_event(inhabited.cp, EVENT)
    assert _in_prod(inhabited) == []
    [told] = inhabited.events.entries
    assert json.loads(told["Detail"])["error"] == "AccessDeniedException"


def _in_prod(world: World) -> list[str]:
    """The definitions of the tasks there."""
    arns = ask(world, "ListTasks", ADMINISTRATOR, cluster="prod")["taskArns"]
    described = ask(world, "DescribeTasks", ADMINISTRATOR, cluster="prod", tasks=arns)["tasks"] if arns else []
    return [task["taskDefinitionArn"].rpartition("/")[2] for task in described]


def test_a_request_that_comes_again_is_the_same_one_though_the_family_has_a_newer_revision(inhabited: World) -> None:
    put(inhabited, ("Allow", ["ecs:RunTask"], ["*"]))
    request: dict[str, Any] = {"cluster": "prod", "taskDefinition": "web", "clientToken": "once"}
    first = ask(inhabited, "RunTask", **request)
    inhabited.task_definition("web")
    again = ask(inhabited, "RunTask", **request)
    assert [task["taskArn"] for task in again["tasks"]] == [task["taskArn"] for task in first["tasks"]]
