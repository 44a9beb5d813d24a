"""A cluster of three machines: daemons on each, a revision that fails on all of them, work that waits for room."""

import json
import time
from typing import Any

import pytest

from e2e.conftest import Agent, Stack, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


def places(stack: Stack, cluster: str, service: str) -> list[str]:
    """Where the tasks of a service run, one for each."""
    arns = stack.ecs.list_tasks(cluster=cluster, serviceName=service)["taskArns"]
    found: list[dict[str, Any]] = stack.ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    return sorted(task["containerInstanceArn"] for task in found if task["lastStatus"] == "RUNNING")


def messages(stack: Stack, cluster: str, service: str) -> list[str]:
    [described] = stack.ecs.describe_services(cluster=cluster, services=[service])["services"]
    return [event["message"] for event in described["events"]]


def arns(*agents: Agent) -> list[str]:
    return sorted(agent.arn for agent in agents)


def test_a_daemon_runs_on_each_machine_that_joins_and_leaves_a_drained_one_last(stack: Stack) -> None:
    cluster = "daemons"
    first, second = stack.agent(cluster), stack.agent(cluster)
    daemon, web = stack.define("collector"), stack.define("web")
    stack.ecs.create_service(
        cluster=cluster, serviceName="collector", taskDefinition=daemon, schedulingStrategy="DAEMON"
    )
    until("it runs on both", lambda: places(stack, cluster, "collector") == arns(first, second))
    third = stack.agent(cluster)
    until("it runs on the third", lambda: places(stack, cluster, "collector") == arns(first, second, third))

    stack.ecs.create_service(
        cluster=cluster,
        serviceName="web",
        taskDefinition=web,
        desiredCount=3,
        placementStrategy=[{"type": "spread", "field": "instanceId"}],
    )
    until("one replica on each", lambda: places(stack, cluster, "web") == arns(first, second, third))
    stack.ecs.update_container_instances_state(cluster=cluster, containerInstances=[third.arn], status="DRAINING")
    seen_alone = until(
        "the replica has left the drained machine",
        lambda: third.arn not in places(stack, cluster, "web") and places(stack, cluster, "collector"),
    )
    assert set(arns(first, second)) <= set(seen_alone), "daemons elsewhere are none of its business"
    until("the daemon leaves it, too", lambda: places(stack, cluster, "collector") == arns(first, second))
    assert len(places(stack, cluster, "web")) == 3

    stack.ecs.update_container_instances_state(cluster=cluster, containerInstances=[third.arn], status="ACTIVE")
    until("and comes back with it", lambda: places(stack, cluster, "collector") == arns(first, second, third))
    for name in ("collector", "web"):
        stack.ecs.delete_service(cluster=cluster, service=name, force=True)


@pytest.mark.docker
def test_a_bad_image_is_rolled_back(stack: Stack, docker_image: str) -> None:
    """No registry listens there: each pull of it is refused at once, on all three machines."""
    cluster = "rolled"
    agents = [stack.agent(cluster, "docker") for _ in range(3)]
    good = stack.define("rolled", image=docker_image)
    bad = stack.define("rolled", image=f"127.0.0.1:9/{docker_image}")
    stack.ecs.create_service(
        cluster=cluster, serviceName="web", taskDefinition=good, desiredCount=3, deploymentConfiguration=BREAKER
    )
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    before = set(stack.ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"])
    assert places(stack, cluster, "web") == arns(*agents)

    stack.ecs.update_service(cluster=cluster, service="web", taskDefinition=bad)
    until("it has failed", lambda: any("deployment failed" in line for line in messages(stack, cluster, "web")))
    stack.aws("wait", "services-stable", "--cluster", cluster, "--services", "web")
    [described] = stack.ecs.describe_services(cluster=cluster, services=["web"])["services"]
    assert described["taskDefinition"] == good
    assert set(stack.ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]) == before
    stopped = stack.ecs.list_tasks(cluster=cluster, serviceName="web", desiredStatus="STOPPED")["taskArns"]
    ended = stack.ecs.describe_tasks(cluster=cluster, tasks=stopped)["tasks"]
    failed = [task for task in ended if task["stopCode"] == "TaskFailedToStart"]
    why = {task["containers"][0].get("reason", "").partition(":")[0] for task in failed}
    assert why == {"CannotPullContainerError"}, ended
    stack.ecs.delete_service(cluster=cluster, service="web", force=True)


def test_what_waits_for_room_starts_when_a_task_stops(stack: Stack) -> None:
    cluster = "waiting"
    agents = [stack.agent(cluster) for _ in range(3)]
    room = min(
        each["integerValue"]
        for agent in agents
        for each in stack.instance(agent)["remainingResources"]
        if each["name"] == "CPU"
    )
    big = stack.define("big", cpu=room * 2 // 3)
    held = [stack.run(cluster, big) for _ in agents]
    for arn in held:
        stack.until_task_is(cluster, arn, "RUNNING")
    stack.ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=big, desiredCount=1)
    until("it says why", lambda: any("unable to place" in line for line in messages(stack, cluster, "web")))
    stack.ecs.stop_task(cluster=cluster, task=held[0])
    stack.until_task_is(cluster, held[0], "STOPPED")
    room_at = time.monotonic()
    until(
        "the service has taken the room", lambda: stack.ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]
    )
    assert time.monotonic() - room_at < 2

    detail = {"cluster": cluster, "taskDefinition": big, "startedBy": "later", "waitForCapacitySeconds": 120}
    stack.client("events").put_events(
        Entries=[
            {
                "EventBusName": stack.about["eventBusName"],
                "Source": "ecs-anywhere.run-task",
                "DetailType": "Run Task",
                "Detail": json.dumps(detail),
            }
        ]
    )
    time.sleep(3)
    started = {"cluster": cluster, "startedBy": "later"}
    assert stack.ecs.list_tasks(**started)["taskArns"] == []
    stack.ecs.stop_task(cluster=cluster, task=held[1])
    stack.until_task_is(cluster, held[1], "STOPPED")
    room_at = time.monotonic()
    [arn] = until("the event's task has taken the room", lambda: stack.ecs.list_tasks(**started)["taskArns"])
    assert time.monotonic() - room_at < 2
    stack.until_task_is(cluster, arn, "RUNNING")
    stack.ecs.stop_task(cluster=cluster, task=arn)
    stack.ecs.delete_service(cluster=cluster, service="web", force=True)
