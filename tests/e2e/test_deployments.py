"""Services that change while they run: deployed by the tool of somebody else, rolled back, moved off a machine."""

import json
from typing import Any

import pytest

from e2e.conftest import LOOP, Stack, clean_environment, command, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


def service(stack: Stack, cluster: str) -> dict[str, Any]:
    answer: dict[str, Any] = stack.ecs.describe_services(cluster=cluster, services=["web"])["services"][0]
    return answer


def running(stack: Stack, cluster: str) -> list[dict[str, Any]]:
    arns = stack.ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]
    found: list[dict[str, Any]] = stack.ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    return found


def test_ecs_deploy_rolls_out_a_new_image_and_a_bad_revision_is_rolled_back(stack: Stack) -> None:
    cluster = "deployed"
    stack.agent(cluster)
    definition = stack.define("deployed", image="web:1")
    stack.ecs.create_service(
        cluster=cluster,
        serviceName="web",
        taskDefinition=definition,
        desiredCount=2,
        deploymentConfiguration=BREAKER,
    )
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    printed = json.loads(command("ecs-anywhere", "env", "--output", "json", "--state-dir", str(stack.state)))
    environment = {**clean_environment(), **printed, "AWS_DEFAULT_REGION": printed["AWS_REGION"]}
    said = command("ecs", "deploy", cluster, "web", "--image", "main", "web:2", "--timeout", "60", env=environment)
    assert "Deployment successful" in said
    assert {task["containers"][0]["image"] for task in running(stack, cluster)} == {"web:2"}
    assert stack.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]["status"] == "INACTIVE"

    good = {task["taskArn"] for task in running(stack, cluster)}
    bad = stack.define("deployed", entryPoint=["/no/such/program"])
    stack.ecs.update_service(cluster=cluster, service="web", taskDefinition=bad)
    until(
        "it is rolled back",
        lambda: any("deployment failed" in event["message"] for event in service(stack, cluster)["events"]),
    )
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    assert service(stack, cluster)["taskDefinition"].endswith("deployed:2")
    assert {task["taskArn"] for task in running(stack, cluster)} == good, "what was well has never stopped"
    stack.ecs.delete_service(cluster=cluster, service="web", force=True)


def test_a_drained_machine_is_empty_once_others_run_elsewhere(stack: Stack) -> None:
    cluster = "drained"
    leaving, staying = stack.agent(cluster), stack.agent(cluster)
    definition = stack.define("drained", LOOP)
    stack.ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=definition, desiredCount=2)
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    assert {task["containerInstanceArn"] for task in running(stack, cluster)} == {leaving.arn, staying.arn}
    drained = stack.aws(
        "update-container-instances-state",
        "--cluster",
        cluster,
        "--container-instances",
        leaving.arn,
        "--status",
        "DRAINING",
    )
    assert drained["containerInstances"][0]["status"] == "DRAINING"

    def moved() -> bool:
        places = [task["containerInstanceArn"] for task in running(stack, cluster) if task["lastStatus"] == "RUNNING"]
        return places == [staying.arn] * 2

    until("both run on the other machine", moved)
    until("the machine is empty", lambda: stack.instance(leaving)["runningTasksCount"] == 0)
    stack.ecs.delete_service(cluster=cluster, service="web", force=True)
