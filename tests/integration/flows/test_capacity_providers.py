"""Where tasks are to run: capacity providers, strategies, launch types."""

from typing import Any

import pytest

from control_plane.domain.errors import EcsError, InvalidParameterException, UnsupportedFeatureException
from control_plane.flows.capacity_providers import describe_capacity_providers
from control_plane.flows.clusters import create_cluster
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.flows.tasks import describe_tasks
from control_plane.store import services, tasks
from world import World

EXTERNAL = [{"capacityProvider": "EXTERNAL", "weight": 0, "base": 0}]
BY_STRATEGY = {"capacityProviderStrategy": [{"capacityProvider": "EXTERNAL"}]}


@pytest.fixture
def machine(world: World) -> str:
    create_cluster(world.cp, {"capacityProviders": ["FARGATE"]})
    world.task_definition()
    return world.machine()


def launched(described: dict[str, Any]) -> dict[str, Any]:
    """What it says of where it is to run."""
    members = ("launchType", "capacityProviderName", "capacityProviderStrategy")
    return {member: described[member] for member in members if member in described}


def ran(world: World, **request: Any) -> dict[str, Any]:
    arn = run_task(world.cp, {"taskDefinition": "web", **request})["tasks"][0]["taskArn"]
    return launched(describe_tasks(world.cp, {"tasks": [arn]})["tasks"][0])


def service(world: World) -> dict[str, Any]:
    [found] = describe_services(world.cp, {"services": ["web"]})["services"]
    assert isinstance(found, dict)
    return found


def test_those_that_are_always_there(world: World) -> None:
    arn = world.cp.arns.capacity_provider
    found = describe_capacity_providers(world.cp, {"capacityProviders": [arn("FARGATE"), "EXTERNAL", "mine"]})
    assert found == {
        "capacityProviders": [
            {"capacityProviderArn": arn("EXTERNAL"), "name": "EXTERNAL", "status": "ACTIVE", "tags": []},
            {
                "capacityProviderArn": arn("FARGATE"),
                "name": "FARGATE",
                "status": "ACTIVE",
                "tags": [],
                "type": "FARGATE",
            },
        ],
        "failures": [{"arn": arn("mine"), "reason": "MISSING"}],
    }


def test_pages(world: World) -> None:
    names, token = [], None
    while True:
        page = describe_capacity_providers(world.cp, {"maxResults": 1, **({"nextToken": token} if token else {})})
        names += [provider["name"] for provider in page["capacityProviders"]]
        token = page.get("nextToken")
        if token is None:
            break
    assert names == ["EXTERNAL", "FARGATE", "FARGATE_SPOT"]


@pytest.mark.usefixtures("machine")
def test_those_of_a_cluster(world: World) -> None:
    found = describe_capacity_providers(world.cp, {"cluster": "default"})["capacityProviders"]
    assert [provider["name"] for provider in found] == ["EXTERNAL", "FARGATE"]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        pytest.param({}, {"launchType": "EXTERNAL"}, id="nothing-said"),
        pytest.param({"launchType": "EXTERNAL"}, {"launchType": "EXTERNAL"}, id="launch-type"),
        pytest.param(BY_STRATEGY, {"launchType": "EXTERNAL", "capacityProviderName": "EXTERNAL"}, id="strategy"),
    ],
)
def test_a_task_shows_how_it_was_started(world: World, request_: dict[str, Any], shown: dict[str, Any]) -> None:
    assert ran(world, **request_) == shown


def test_a_clusters_default_strategy_is_for_those_that_say_nothing(world: World) -> None:
    create_cluster(world.cp, {"defaultCapacityProviderStrategy": EXTERNAL})
    world.task_definition()
    world.machine()
    assert ran(world)["capacityProviderName"] == "EXTERNAL"
    assert "capacityProviderName" not in ran(world, launchType="EXTERNAL")
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web"})
    assert launched(service(world)) == {"capacityProviderStrategy": EXTERNAL}


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        pytest.param(
            {**BY_STRATEGY, "launchType": "EXTERNAL"},
            InvalidParameterException,
            "Specifying both a launch type and capacity provider strategy is not supported",
            id="both",
        ),
        pytest.param(
            {"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]},
            UnsupportedFeatureException,
            "Capacity provider FARGATE is not supported yet",
            id="nothing-can-run-there",
        ),
        pytest.param(
            {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]},
            InvalidParameterException,
            "not associated with the cluster",
            id="not-associated",
        ),
        pytest.param(
            {"capacityProviderStrategy": [{"capacityProvider": "mine"}]},
            InvalidParameterException,
            "The specified capacity provider was not found",
            id="unknown",
        ),
        pytest.param(
            {"capacityProviderStrategy": [{"capacityProvider": f"p{number}"} for number in range(21)]},
            InvalidParameterException,
            "a maximum of 20 capacity providers",
            id="too-many",
        ),
        pytest.param(
            {
                "capacityProviderStrategy": [
                    {"capacityProvider": "EXTERNAL", "base": 1},
                    {"capacityProvider": "FARGATE", "base": 1},
                ]
            },
            InvalidParameterException,
            "Only one capacity provider in a capacity provider strategy can have a base",
            id="two-bases",
        ),
    ],
)
def test_strategies_by_which_nothing_is_started(
    world: World, request_: dict[str, Any], error: type[EcsError], words: str
) -> None:
    with pytest.raises(error, match=words):
        run_task(world.cp, {"taskDefinition": "web", **request_})
    with pytest.raises(error, match=words):
        create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", **request_})


def test_a_service_moves_by_its_strategy(world: World, machine: str) -> None:
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1})
    assert launched(service(world)) == launched(service(world)["deployments"][0]) == {"launchType": "EXTERNAL"}
    world.deliver()
    update_service(world.cp, {"service": "web", "desiredCount": 2, **BY_STRATEGY})
    world.deliver()
    by_strategy = {"capacityProviderStrategy": EXTERNAL}
    assert launched(service(world)) == launched(service(world)["deployments"][0]) == by_strategy
    assert launched(service(world)["deployments"][1]) == {"launchType": "EXTERNAL"}, "that is a deployment"
    started = [task.by_strategy for task in tasks.of_instance(world.table, "default", machine)]
    assert sorted(started, key=str) == [None, True, True]
    update_service(world.cp, {"service": "web", "capacityProviderStrategy": []})
    assert launched(service(world)) == {"launchType": "EXTERNAL"}
    update_service(world.cp, {"service": "web", "desiredCount": 1})
    assert launched(service(world)) == {"launchType": "EXTERNAL"}


@pytest.mark.usefixtures("machine")
def test_a_service_by_launch_type_is_stored_as_those_of_older_releases_are(world: World) -> None:
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web"})
    stored = services.load(world.table, "default", "web")
    assert stored is not None
    item = services.to_item(stored)
    assert "capacityProviderStrategy" not in {**item, **item["deployment"]}
    assert launched(service(world)) == {"launchType": "EXTERNAL"}


class TestAmazonsOwnTags:
    """enableECSManagedTags."""

    def test_of_a_task(self, world: World, machine: str) -> None:
        run_task(world.cp, {"taskDefinition": "web", "enableECSManagedTags": True, "tags": [{"key": "a"}]})
        [task] = tasks.of_instance(world.table, "default", machine)
        assert task.tags == {"a": "", "aws:ecs:clusterName": "default"}

    def test_of_a_services_tasks_from_then_on(self, world: World, machine: str) -> None:
        request = {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1, "tags": [{"key": "a"}]}
        create_service(world.cp, request)
        world.deliver()
        assert not service(world)["enableECSManagedTags"]
        change = {"service": "web", "desiredCount": 2, "enableECSManagedTags": True, "propagateTags": "SERVICE"}
        update_service(world.cp, change)
        world.deliver()
        found = [task.tags for task in tasks.of_instance(world.table, "default", machine)]
        managed = {"a": "", "aws:ecs:clusterName": "default", "aws:ecs:serviceName": "web"}
        assert sorted(found, key=len) == [{}, managed]
        assert (service(world)["enableECSManagedTags"], service(world)["propagateTags"]) == (True, "SERVICE")
