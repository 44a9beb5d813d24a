"""Clusters: what they are made with, described by and changed in."""

from collections.abc import Callable
from typing import Any

import pytest

from control_plane.domain.errors import ClusterNotFoundException, InvalidParameterException
from control_plane.flows.clusters import (
    create_cluster,
    describe_clusters,
    list_clusters,
    put_cluster_capacity_providers,
    update_cluster,
    update_cluster_settings,
)
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.delete_cluster import delete_cluster
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, delete_service
from control_plane.store import keys
from ecs_protocol.statuses import TaskStatus
from world import World

INSIGHTS = [{"name": "containerInsights", "value": "enabled"}]
EXECUTE = {"executeCommandConfiguration": {"logging": "NONE"}}
EVERYTHING = ["ATTACHMENTS", "CONFIGURATIONS", "SETTINGS", "STATISTICS", "TAGS"]
STRATEGY = [{"capacityProvider": "EXTERNAL", "weight": 1, "base": 0}]


def described(world: World, name: str = "default", include: list[str] | None = None) -> dict[str, Any]:
    [cluster] = describe_clusters(world.cp, {"clusters": [name], "include": include or []})["clusters"]
    assert isinstance(cluster, dict)
    return cluster


def test_all_that_was_sent_is_given_back(world: World) -> None:
    created = create_cluster(
        world.cp,
        {
            "clusterName": "edge",
            "tags": [{"key": "team", "value": "dev"}],
            "settings": INSIGHTS,
            "configuration": EXECUTE,
            "capacityProviders": ["FARGATE", "EXTERNAL"],
            "defaultCapacityProviderStrategy": [{"capacityProvider": "EXTERNAL", "weight": 1}],
        },
    )["cluster"]
    assert created == {
        "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/edge",
        "clusterName": "edge",
        "status": "ACTIVE",
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": 0,
        "pendingTasksCount": 0,
        "activeServicesCount": 0,
        "statistics": [],
        "tags": [{"key": "team", "value": "dev"}],
        "settings": INSIGHTS,
        "configuration": EXECUTE,
        "capacityProviders": ["FARGATE", "EXTERNAL"],
        "defaultCapacityProviderStrategy": STRATEGY,
    }
    assert described(world, "edge", ["TAGS", "SETTINGS", "CONFIGURATIONS"]) == created


def test_what_is_not_asked_for_is_left_out(world: World) -> None:
    create_cluster(world.cp, {"tags": [{"key": "team"}], "configuration": EXECUTE})
    found = described(world)
    assert (found["tags"], found["settings"], found["statistics"]) == ([], [], [])
    assert not {"configuration", "attachments"} & set(found)


def test_statistics_are_by_launch_type(world: World) -> None:
    world.cluster()
    world.task_definition()
    machine = world.machine()
    first = run_task(world.cp, {"taskDefinition": "web", "count": 3})["tasks"][0]["taskArn"].rsplit("/", 1)[1]
    world.report(world.report_of(first, TaskStatus.RUNNING, 1), instance_id=machine)
    create_service(world.cp, {"serviceName": "active", "taskDefinition": "web"})
    create_service(world.cp, {"serviceName": "draining", "taskDefinition": "web"})
    delete_service(world.cp, {"service": "draining"})
    statistics = {line["name"]: line["value"] for line in described(world, include=EVERYTHING)["statistics"]}
    assert len(statistics) == 16
    assert {name: value for name, value in statistics.items() if value != "0"} == {
        "runningExternalTasksCount": "1",
        "pendingExternalTasksCount": "2",
        "activeExternalServiceCount": "1",
        "drainingExternalServiceCount": "1",
    }


def test_creating_it_again(world: World) -> None:
    request = {"clusterName": "edge", "settings": INSIGHTS}
    first = create_cluster(world.cp, request)
    assert create_cluster(world.cp, request) == first
    assert create_cluster(world.cp, {"clusterName": "edge"}) == first
    with pytest.raises(InvalidParameterException, match="Arguments on this idempotent request are inconsistent"):
        create_cluster(world.cp, {**request, "settings": [{"name": "containerInsights", "value": "disabled"}]})


def test_updates_replace_what_they_name_and_nothing_else(world: World) -> None:
    create_cluster(world.cp, {"settings": INSIGHTS, "tags": [{"key": "team", "value": "dev"}]})
    world.machine()
    updated = update_cluster(world.cp, {"cluster": "default", "configuration": EXECUTE})["cluster"]
    assert (updated["configuration"], updated["settings"]) == (EXECUTE, INSIGHTS)
    enhanced = [{"name": "containerInsights", "value": "enhanced"}]
    updated = update_cluster_settings(world.cp, {"cluster": "default", "settings": enhanced})["cluster"]
    assert (updated["configuration"], updated["settings"]) == (EXECUTE, enhanced)
    put = {"cluster": "default", "capacityProviders": ["EXTERNAL"], "defaultCapacityProviderStrategy": STRATEGY}
    updated = put_cluster_capacity_providers(world.cp, put)["cluster"]
    assert (updated["capacityProviders"], updated["defaultCapacityProviderStrategy"]) == (["EXTERNAL"], STRATEGY)
    none = {"cluster": "default", "capacityProviders": [], "defaultCapacityProviderStrategy": []}
    updated = put_cluster_capacity_providers(world.cp, none)["cluster"]
    assert (updated["capacityProviders"], updated["defaultCapacityProviderStrategy"]) == ([], [])
    assert (updated["tags"], updated["registeredContainerInstancesCount"]) == ([{"key": "team", "value": "dev"}], 1)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param({"clusterName": "a b"}, "cluster name is invalid", id="name"),
        pytest.param({"settings": [{"value": "enabled"}]}, "has the name containerInsights", id="setting-without-name"),
        pytest.param({"settings": [{"name": "containerInsights", "value": "on"}]}, "enhanced", id="setting-value"),
        pytest.param({"settings": INSIGHTS * 2}, "given twice", id="setting-twice"),
        pytest.param(
            {"configuration": {"executeCommandConfiguration": {"logging": "OVERRIDE"}}},
            "logConfiguration must be specified",
            id="override-without-configuration",
        ),
        pytest.param({"capacityProviders": ["mine"]}, "capacity provider was not found", id="unknown-provider"),
        pytest.param({"capacityProviders": ["FARGATE"] * 2}, "given twice", id="provider-twice"),
        pytest.param(
            {"defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE"}]},
            "not associated with the cluster",
            id="strategy-with-what-is-not-associated",
        ),
        pytest.param(
            {"capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE"}]},
            "Capacity provider FARGATE is not supported yet in a strategy: use EXTERNAL",
            id="strategy-by-which-nothing-could-run",
        ),
        pytest.param({"tags": [{"key": "aws:a"}]}, "reserved", id="tag"),
    ],
)
def test_what_no_cluster_is_made_with(world: World, request_: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterException, match=words):
        create_cluster(world.cp, request_)
    assert list_clusters(world.cp, {})["clusterArns"] == []


def test_there_is_no_default_cluster_until_one_is_created(world: World) -> None:
    world.task_definition()
    assert describe_clusters(world.cp, {})["failures"] == [
        {"arn": "arn:aws:ecs:eu-west-1:123456789012:cluster/default", "reason": "MISSING"}
    ]
    refusals: list[Callable[[], Any]] = [
        lambda: run_task(world.cp, {"taskDefinition": "web"}),
        lambda: delete_cluster(world.cp, {"cluster": "default"}),
        lambda: update_cluster_settings(world.cp, {"cluster": "default", "settings": INSIGHTS}),
    ]
    for refused in refusals:
        with pytest.raises(ClusterNotFoundException, match="Cluster not found"):
            refused()


def test_a_cluster_of_an_older_release(world: World) -> None:
    item = {"name": "default", "status": "ACTIVE", "createdAt": world.now, "shards": {1}}
    world.table.put_many({keys.cluster("default"): item})
    found = described(world, include=EVERYTHING)
    assert found["settings"] == [{"name": "containerInsights", "value": "disabled"}]
    assert (found["tags"], found["capacityProviders"], found["defaultCapacityProviderStrategy"]) == ([], [], [])
    machine = world.machine()
    deregister_container_instance(world.cp, {"containerInstance": machine})
    assert delete_cluster(world.cp, {"cluster": "default"})["cluster"]["status"] == "INACTIVE"
