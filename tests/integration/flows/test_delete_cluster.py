"""DeleteCluster: what it finds, what it leaves, and what becomes of a deletion that dies."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from control_plane.domain.cluster import CLOSED_AT_MOST
from control_plane.domain.errors import (
    ClusterContainsContainerInstancesException,
    ClusterContainsServicesException,
    ClusterContainsTasksException,
    ClusterNotFoundException,
    EcsError,
    ServerException,
)
from control_plane.domain.races import ItemChangedError
from control_plane.flows.clusters import create_cluster, describe_clusters, list_clusters, update_cluster
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.delete_cluster import delete_cluster
from control_plane.flows.list_services import list_services
from control_plane.flows.list_tasks import list_tasks
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, delete_service, describe_services
from control_plane.flows.tasks import describe_tasks
from control_plane.store import clusters, keys
from control_plane.store.table import Table
from ecs_protocol.messages import Refused
from ecs_protocol.statuses import TaskStatus
from world import World

INSIGHTS = [{"name": "containerInsights", "value": "enabled"}]


def described(world: World, name: str = "default", include: list[str] | None = None) -> dict[str, Any]:
    [cluster] = describe_clusters(world.cp, {"clusters": [name], "include": include or []})["clusters"]
    assert isinstance(cluster, dict)
    return cluster


def deregistered(world: World, machine: str) -> None:
    deregister_container_instance(world.cp, {"containerInstance": machine, "force": True})


def left_closed(world: World, name: str = "default") -> None:
    """A deletion began and died."""
    world.table.commit([clusters.closed(name, "the deletion that died", world.now)])


def test_a_deleted_cluster_is_inactive_and_takes_nothing(world: World) -> None:
    create_cluster(world.cp, {"tags": [{"key": "team"}]})
    world.task_definition()
    deleted = delete_cluster(world.cp, {"cluster": world.cp.arns.cluster("default")})["cluster"]
    assert (deleted["status"], deleted["tags"]) == ("INACTIVE", [])
    assert delete_cluster(world.cp, {"cluster": "default"})["cluster"] == deleted
    assert (described(world, include=["TAGS"])["status"], list_clusters(world.cp, {})["clusterArns"]) == (
        "INACTIVE",
        [],
    )
    refusals: list[Callable[[], Any]] = [
        lambda: run_task(world.cp, {"taskDefinition": "web"}),
        lambda: create_service(world.cp, {"serviceName": "web", "taskDefinition": "web"}),
        lambda: update_cluster(world.cp, {"cluster": "default", "settings": INSIGHTS}),
    ]
    for refused in refusals:
        with pytest.raises(ClusterNotFoundException, match="The referenced cluster was inactive"):
            refused()
    machine = world.machine()
    [answer] = world.agents.take(machine)
    assert isinstance(answer, Refused)
    assert answer.error == "ClusterNotFoundException"
    assert world.instance(machine) is None


def test_what_is_left_refuses_the_deletion_and_the_cluster_stays_open(world: World) -> None:
    world.cluster()
    world.task_definition()
    machine = world.machine()

    def refused(error: type[EcsError], words: str) -> None:
        with pytest.raises(error, match=words):
            delete_cluster(world.cp, {"cluster": "default"})
        cluster = clusters.load(world.table, "default")
        assert cluster is not None
        assert (cluster.status, cluster.closed_by, cluster.closed_at) == ("ACTIVE", None, None)

    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web"})
    refused(ClusterContainsContainerInstancesException, "while Container Instances are active or draining")
    deregistered(world, machine)
    refused(ClusterContainsServicesException, "while Services are active")
    delete_service(world.cp, {"service": "web"})
    refused(ClusterContainsServicesException, "while Services are active")  # DRAINING
    world.deliver()
    assert delete_cluster(world.cp, {"cluster": "default"})["cluster"]["status"] == "INACTIVE"


def test_a_task_that_holds_its_place_on_a_deregistered_instance_is_left(world: World) -> None:
    world.cluster()
    world.task_definition()
    machine = world.machine()
    stop_after = [{"key": "ecs-anywhere:disconnect", "value": "stop-after=10m"}]
    task = run_task(world.cp, {"taskDefinition": "web", "tags": stop_after})["tasks"][0]["taskArn"].rsplit("/", 1)[1]
    deregistered(world, machine)
    with pytest.raises(ClusterContainsTasksException, match="while Tasks are active"):
        delete_cluster(world.cp, {"cluster": "default"})
    world.report(world.report_of(task, TaskStatus.STOPPED, 1), instance_id=machine)
    assert delete_cluster(world.cp, {"cluster": "default"})["cluster"]["status"] == "INACTIVE"


def test_a_new_cluster_of_the_name_shows_nothing_of_the_former(world: World) -> None:
    create_cluster(world.cp, {"tags": [{"key": "team"}], "settings": INSIGHTS})
    world.task_definition()
    machine = world.machine()
    task = run_task(world.cp, {"taskDefinition": "web"})["tasks"][0]["taskArn"]
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web"})
    delete_service(world.cp, {"service": "web"})
    world.deliver()
    deregistered(world, machine)
    delete_cluster(world.cp, {"cluster": "default"})

    world.pass_time(1)
    created = create_cluster(world.cp, {})["cluster"]
    assert (created["status"], created["tags"]) == ("ACTIVE", [])
    assert created["settings"] == [{"name": "containerInsights", "value": "disabled"}]
    assert list_tasks(world.cp, {"desiredStatus": "STOPPED"})["taskArns"] == []
    assert [failure["arn"] for failure in describe_tasks(world.cp, {"tasks": [task]})["failures"]] == [task]
    assert describe_services(world.cp, {"services": ["web"]})["services"] == []

    another = world.machine()
    run_task(world.cp, {"taskDefinition": "web"})
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web"})
    assert described(world)["registeredContainerInstancesCount"] == 1
    assert len(list_services(world.cp, {})["serviceArns"]) == 1
    told = [event["message"] for event in describe_services(world.cp, {"services": ["web"]})["services"][0]["events"]]
    assert [message.rsplit(")", 1)[1] for message in told] == [" deployment in progress."]
    ran = list_tasks(world.cp, {})["taskArns"][0].rsplit("/", 1)[1]
    world.report(world.report_of(ran, TaskStatus.STOPPED, 1), instance_id=another)
    assert len(list_tasks(world.cp, {"desiredStatus": "STOPPED"})["taskArns"]) == 1


class Dying:
    """A boto3 client whose function dies at the call after so many."""

    class DeadError(Exception):
        """Nothing that the function could catch."""

    def __init__(self, client: Any, calls: int) -> None:
        self._client = client
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        def call(**request: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise self.DeadError
            return getattr(self._client, name)(**request)

        return call


class Conflicting:
    """A boto3 client whose every write is, once, in the way of another transaction."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._seen: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        def call(**request: Any) -> Any:
            key = f"{name} {request.get('UpdateExpression')}"
            if name in {"update_item", "transact_write_items"} and key not in self._seen:
                self._seen.add(key)
                raise ClientError({"Error": {"Code": "TransactionConflictException"}}, name)
            return getattr(self._client, name)(**request)

        return call


def test_transactions_in_the_way_of_each_other_are_carried_out_again(world: World) -> None:
    function = world.function()
    function.table = Table(Conflicting(world.table._client), world.table.name)
    world.cluster()
    world.task_definition()
    request = {"serviceName": "web", "taskDefinition": "web"}
    assert create_service(function, request)["service"]["status"] == "ACTIVE"
    with pytest.raises(ClusterContainsServicesException):
        delete_cluster(function, {"cluster": "default"})
    delete_service(world.cp, {"service": "web"})
    world.deliver()
    assert delete_cluster(function, {"cluster": "default"})["cluster"]["status"] == "INACTIVE"


@pytest.mark.parametrize("holds_something", [False, True])
def test_wherever_it_dies_the_cluster_is_deleted_or_of_use_again(world: World, *, holds_something: bool) -> None:
    world.task_definition()
    deaths = 0
    for calls in range(100):
        name = f"cluster-{calls}"
        request = {"cluster": name, "serviceName": "web", "taskDefinition": "web"}
        world.cluster(name)
        if holds_something:
            create_service(world.cp, request)
        function = world.function()
        function.table = Table(Dying(world.table._client, calls), world.table.name)
        try:
            delete_cluster(function, {"cluster": name})
        except ClusterContainsServicesException:
            break
        except Dying.DeadError:
            deaths += 1
        else:
            break
        world.now += CLOSED_AT_MOST
        if described(world, name)["status"] == "ACTIVE":
            another = {**request, "serviceName": "another"}
            assert create_service(world.cp, another)["service"]["status"] == "ACTIVE"
    assert deaths >= 10
    assert described(world, name)["status"] == ("ACTIVE" if holds_something else "INACTIVE")


class TestClosedByADeletionThatDied:
    """Nothing new comes in while it might be at work; after that whoever comes opens the cluster."""

    def test_what_runs_there_goes_on(self, world: World) -> None:
        world.cluster()
        world.task_definition()
        world.machine()
        left_closed(world)
        assert len(run_task(world.cp, {"taskDefinition": "web"})["tasks"]) == 1

    def test_a_service_waits_and_then_opens_it(self, world: World) -> None:
        world.cluster()
        world.task_definition()
        left_closed(world)
        request = {"serviceName": "web", "taskDefinition": "web"}
        with pytest.raises(ServerException):
            create_service(world.cp, request)
        world.now += CLOSED_AT_MOST - timedelta(seconds=1)
        with pytest.raises(ServerException):
            create_service(world.cp, request)
        world.now += timedelta(seconds=1)
        assert create_service(world.cp, request)["service"]["status"] == "ACTIVE"

    def test_a_machine_waits_and_then_opens_it(self, world: World) -> None:
        world.cluster()
        left_closed(world)
        machine = "0" * 32
        with pytest.raises(ItemChangedError):
            machine = world.machine()
        world.now += CLOSED_AT_MOST
        machine = world.machine()
        assert world.instance(machine).status == "ACTIVE"

    def test_another_deletion_waits_and_then_goes_on(self, world: World) -> None:
        world.cluster()
        left_closed(world)
        with pytest.raises(ServerException, match="being deleted"):
            delete_cluster(world.cp, {"cluster": "default"})
        world.now += CLOSED_AT_MOST
        assert delete_cluster(world.cp, {"cluster": "default"})["cluster"]["status"] == "INACTIVE"

    def test_if_it_is_only_slow_it_deletes_nothing(self, world: World) -> None:
        world.cluster()
        world.task_definition()
        left_closed(world)
        world.now += CLOSED_AT_MOST
        create_service(world.cp, {"serviceName": "web", "taskDefinition": "web"})
        with pytest.raises(ItemChangedError):
            world.table.commit([clusters.deleted("default", "the deletion that died", world.now)])
        assert described(world)["status"] == "ACTIVE"


def test_a_machine_does_not_come_into_a_cluster_that_was_made_meanwhile_under_another_key(world: World) -> None:
    """Its key is noted in the cluster that was read; the new one would not find it."""
    world.cluster()
    former = clusters.load(world.table, "default")
    assert former is not None
    delete_cluster(world.cp, {"cluster": "default"})
    world.pass_time(1)
    world.cluster()
    with pytest.raises(ItemChangedError):
        world.table.commit([clusters.open_for(former)])
    assert world.table.get(keys.cluster("default"))["status"] == "ACTIVE"  # type: ignore[index]
