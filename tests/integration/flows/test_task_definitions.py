"""The life of a task definition: registered, run, deregistered, deleted; and what may not run, and why."""

from typing import Any

import pytest

from control_plane.domain.errors import (
    ClientException,
    InvalidParameterException,
)
from control_plane.flows.list_task_definitions import list_task_definition_families, list_task_definitions
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.flows.task_definitions import (
    delete_task_definitions,
    deregister_task_definition,
    describe_task_definition,
    register_task_definition,
)
from control_plane.flows.tasks import describe_tasks
from control_plane.store.cache import STATUS_AGE
from ecs_protocol.messages import DescribeTasks, TaskCommands
from integration.flows.definitions import refused, register
from world import World

ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/"


def status(world: World, name: str) -> str:
    found: str = describe_task_definition(world.cp, {"taskDefinition": name})["taskDefinition"]["status"]
    return found


def test_what_was_registered_is_described_and_only_then_has_tags(world: World) -> None:
    tags = [{"key": "team", "value": "a"}]
    answer = register_task_definition(
        world.cp,
        {"family": "web", "containerDefinitions": [{"name": "main", "image": "busybox", "memory": 64}], "tags": tags},
    )
    made = answer["taskDefinition"]
    assert (made["taskDefinitionArn"], made["revision"], made["status"]) == (f"{ARN}web:1", 1, "ACTIVE")
    assert answer["tags"] == tags
    for name in ("web", "web:1", f"{ARN}web:1"):
        assert describe_task_definition(world.cp, {"taskDefinition": name}) == {"taskDefinition": made}
    assert describe_task_definition(world.cp, {"taskDefinition": "web", "include": ["TAGS"]})["tags"] == tags


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other", "Unable to describe task definition."),
        ("web:2", "Unable to describe task definition."),
        ("web:x", "Invalid revision number. Number: x"),
        ("arn:aws:ecs:eu-west-1:999999999999:task-definition/web:1", "Unable to describe task definition."),
        ("arn:aws:ecs:us-east-1:123456789012:task-definition/web", "Unable to describe task definition."),
    ],
)
def test_what_is_no_task_definition(world: World, name: str, words: str) -> None:
    register(world)
    with pytest.raises(ClientException) as raised:
        describe_task_definition(world.cp, {"taskDefinition": name})
    assert raised.value.message == words


def test_deregistering_ends_what_is_new_and_nothing_else(world: World) -> None:
    world.cluster()
    world.task_definition(memory=100)
    machine = world.machine()
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 1})
    world.deliver()
    world.pass_time(60)
    answer = deregister_task_definition(world.cp, {"taskDefinition": f"{ARN}web:1"})["taskDefinition"]
    assert (answer["status"], answer["deregisteredAt"]) == ("INACTIVE", world.now)
    assert describe_task_definition(world.cp, {"taskDefinition": "web:1"}) == {"taskDefinition": answer}
    assert refused(world) == {
        ("InvalidParameterException", "TaskDefinition is inactive"),
        ("ClientException", "TaskDefinition is inactive"),
    }
    update_service(world.cp, {"service": "web", "desiredCount": 3})
    world.deliver()
    assert world.instance(machine).tasks == 3


def test_a_warm_function_learns_within_a_minute_that_a_definition_was_deregistered_elsewhere(world: World) -> None:
    world.cluster()
    world.task_definition()
    world.machine()
    warm = world.function()
    assert run_task(warm, {"taskDefinition": "web:1"})["tasks"]
    deregister_task_definition(world.cp, {"taskDefinition": "web:1"})
    world.now += STATUS_AGE
    with pytest.raises(InvalidParameterException, match="TaskDefinition is inactive"):
        run_task(warm, {"taskDefinition": "web:1"})
    assert describe_task_definition(warm, {"taskDefinition": "web:1"})["taskDefinition"]["status"] == "INACTIVE"


def test_a_repeated_request_is_answered_again_although_its_definition_was_deregistered(world: World) -> None:
    world.cluster()
    world.task_definition()
    world.machine()
    request = {"taskDefinition": "web:1", "clientToken": "t"}
    first = run_task(world.cp, request)
    deregister_task_definition(world.cp, {"taskDefinition": "web:1"})
    assert [task["taskArn"] for task in run_task(world.cp, request)["tasks"]] == [first["tasks"][0]["taskArn"]]


def test_a_family_names_its_newest_active_revision(world: World) -> None:
    for _ in range(3):
        register(world)
    deregister_task_definition(world.cp, {"taskDefinition": "web:3"})
    assert describe_task_definition(world.cp, {"taskDefinition": "web"})["taskDefinition"]["revision"] == 2
    for revision in (1, 2):
        deregister_task_definition(world.cp, {"taskDefinition": f"web:{revision}"})
    with pytest.raises(ClientException, match="Unable to describe task definition"):
        describe_task_definition(world.cp, {"taskDefinition": "web"})
    assert register(world)["revision"] == 4


def test_deregistering_again_changes_nothing(world: World) -> None:
    register(world)
    first = deregister_task_definition(world.cp, {"taskDefinition": "web:1"})
    world.pass_time(60)
    assert deregister_task_definition(world.cp, {"taskDefinition": "web:1"}) == first


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("web", "Revision is missing."),
        ("web:2", "The specified task definition does not exist."),
        ("arn:aws:ecs:eu-west-1:999999999999:task-definition/web:1", "Unable to describe task definition."),
    ],
)
def test_deregistering_names_one_revision_of_ours(world: World, name: str, words: str) -> None:
    register(world)
    with pytest.raises(ClientException, match=words):
        deregister_task_definition(world.cp, {"taskDefinition": name})
    assert status(world, "web:1") == "ACTIVE"


def test_deleting(world: World) -> None:
    for _ in range(3):
        register(world)
    for revision in (1, 3):
        deregister_task_definition(world.cp, {"taskDefinition": f"web:{revision}"})
    world.pass_time(60)
    other = "arn:aws:ecs:eu-west-1:999999999999:task-definition/web:1"
    asked = {"taskDefinitions": ["web:3", "web", "web:2", "web:9", other, f"{ARN}web:1"]}
    answer = delete_task_definitions(world.cp, asked)
    found = [(each["revision"], each["status"], each["deleteRequestedAt"]) for each in answer["taskDefinitions"]]
    assert found == [(3, "DELETE_IN_PROGRESS", world.now), (1, "DELETE_IN_PROGRESS", world.now)]
    missing = "The specified task definition does not exist. Specify a valid account, family, revision and try again."
    assert answer["failures"] == [
        {
            "arn": "web",
            "reason": "The specified task definition identifier is invalid. Specify a valid name or ARN and try again.",
        },
        {
            "arn": "web:2",
            "reason": "The specified task definition is still in ACTIVE status. Please deregister the target and try "
            "again.",
        },
        {"arn": "web:9", "reason": missing},
        {"arn": other, "reason": missing},
    ]
    world.pass_time(60)
    assert delete_task_definitions(world.cp, asked) == answer
    assert [status(world, f"web:{revision}") for revision in (1, 2, 3)] == [
        "DELETE_IN_PROGRESS",
        "ACTIVE",
        "DELETE_IN_PROGRESS",
    ]


def test_deleting_breaks_nothing_that_runs(world: World) -> None:
    world.cluster()
    world.task_definition(memory=100)
    machine = world.machine()
    [task] = run_task(world.cp, {"taskDefinition": "web:1"})["tasks"]
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 1})
    world.deliver()
    deregister_task_definition(world.cp, {"taskDefinition": "web:1"})
    delete_task_definitions(world.cp, {"taskDefinitions": ["web:1"]})
    assert {message for _, message in refused(world)} == {"TaskDefinition is inactive"}

    cold = world.function()
    [described] = describe_tasks(cold, {"tasks": [task["taskArn"]]})["tasks"]
    assert described["taskDefinitionArn"] == f"{ARN}web:1"
    update_service(world.cp, {"service": "web", "desiredCount": 2})
    world.deliver()
    assert describe_services(cold, {"services": ["web"]})["services"][0]["pendingCount"] == 2
    world.agents.take(machine)
    world.say(machine, DescribeTasks(request_id="r", task_ids=(), task_definitions=("web:1",)))
    [answer] = world.agents.take(machine)
    assert isinstance(answer, TaskCommands)
    assert answer.task_definitions["web:1"]["containerDefinitions"][0]["name"] == "main"
    assert not {"status", "deregisteredAt", "deleteRequestedAt"} & answer.task_definitions["web:1"].keys()


def test_lists_by_status(world: World) -> None:
    for family, revisions in (("api", 2), ("api-old", 1), ("web", 11)):
        for _ in range(revisions):
            register(world, family)
    for name in ("api:1", "api-old:1", "web:2"):
        deregister_task_definition(world.cp, {"taskDefinition": name})
    delete_task_definitions(world.cp, {"taskDefinitions": ["web:2"]})

    def arns(**request: Any) -> list[str]:
        return [arn.removeprefix(ARN) for arn in list_task_definitions(world.cp, request)["taskDefinitionArns"]]

    assert arns(status="INACTIVE") == ["api:1", "api-old:1"]
    assert arns(status="DELETE_IN_PROGRESS") == ["web:2"]
    assert arns(familyPrefix="api") == ["api:2"]
    assert arns(familyPrefix="web", sort="DESC", maxResults=3) == ["web:11", "web:10", "web:9"]
    first = list_task_definitions(world.cp, {"maxResults": 2})
    assert [arn.removeprefix(ARN) for arn in first["taskDefinitionArns"]] == ["api:2", "web:1"]
    assert arns(maxResults=2, nextToken=first["nextToken"]) == ["web:3", "web:4"]


def test_lists_of_families(world: World) -> None:
    for family in ("api", "api-old", "web"):
        register(world, family)
    deregister_task_definition(world.cp, {"taskDefinition": "api-old:1"})

    def families(**request: Any) -> list[str]:
        listed: list[str] = list_task_definition_families(world.cp, request)["families"]
        return listed

    assert families() == families(status="ALL") == ["api", "api-old", "web"]
    assert families(status="ACTIVE") == ["api", "web"]
    assert families(status="INACTIVE") == ["api-old"]
    assert families(familyPrefix="api") == ["api", "api-old"]
    first = list_task_definition_families(world.cp, {"maxResults": 2})
    assert first["families"] == ["api", "api-old"]
    assert families(nextToken=first["nextToken"]) == ["web"]
