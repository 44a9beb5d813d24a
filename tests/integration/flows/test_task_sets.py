"""Task sets: a service whose deployments somebody else controls."""

from typing import Any

import pytest

from control_plane.domain.errors import (
    ClientException,
    EcsError,
    InvalidParameterException,
    ServiceNotActiveException,
    ServiceNotFoundException,
    TaskSetNotFoundException,
)
from control_plane.flows.list_tasks import list_tasks
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service, delete_service, describe_services, update_service
from control_plane.flows.task_definitions import deregister_task_definition
from control_plane.flows.task_sets import (
    create_task_set,
    delete_task_set,
    describe_task_sets,
    update_service_primary_task_set,
    update_task_set,
)
from control_plane.flows.tasks import describe_tasks
from control_plane.flows.why import why
from control_plane.store import tasks, waiting
from control_plane.store.table import Table
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus
from integration.flows.test_delete_cluster import Dying
from integration.flows.test_deployments import do_as_told, event_names
from world import START, World

PREFIX = "arn:aws:ecs:eu-west-1:123456789012"
EXTERNAL = {"type": "EXTERNAL"}
OF = {"cluster": "default", "service": "web"}


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    for _ in range(2):
        world.task_definition(memory=100, cpu=100)
    return world.machine(memory=2000, cpu=2000)


@pytest.fixture
def controlled(world: World, machine: str) -> str:
    """A service with two tasks wanted, and the machine that takes them."""
    create_service(world.cp, {"serviceName": "web", "deploymentController": EXTERNAL, "desiredCount": 2})
    world.deliver()
    return machine


def create(world: World, definition: str = "web:1", scale: float = 100, **members: Any) -> str:
    request = {**OF, "taskDefinition": definition, "scale": {"value": scale, "unit": "PERCENT"}, **members}
    task_set: str = create_task_set(world.cp, request)["taskSet"]["id"]
    world.deliver()
    return task_set


def scale(world: World, task_set: str, value: float) -> None:
    update_task_set(world.cp, {**OF, "taskSet": task_set, "scale": {"value": value, "unit": "PERCENT"}})
    world.deliver()


def promote(world: World, task_set: str) -> None:
    update_service_primary_task_set(world.cp, {**OF, "primaryTaskSet": task_set})
    world.deliver()


def delete(world: World, task_set: str, **members: Any) -> dict[str, Any]:
    answer: dict[str, Any] = delete_task_set(world.cp, {**OF, "taskSet": task_set, **members})["taskSet"]
    world.deliver()
    return answer


def service(world: World) -> dict[str, Any]:
    found: dict[str, Any] = describe_services(world.cp, {"services": ["web"]})["services"][0]
    return found


def described(world: World, *names: str, **members: Any) -> list[dict[str, Any]]:
    request = {**OF, **({"taskSets": list(names)} if names else {}), **members}
    found: list[dict[str, Any]] = describe_task_sets(world.cp, request)["taskSets"]
    return found


def seen(world: World) -> list[tuple[str, int, int, int, str]]:
    return [
        (
            each["status"],
            each["computedDesiredCount"],
            each["runningCount"],
            each["pendingCount"],
            each["stabilityStatus"],
        )
        for each in described(world)
    ]


def test_a_task_set_from_its_beginning_to_its_end(world: World, controlled: str) -> None:
    blue = create(world)
    [first] = described(world)
    assert first == {
        "id": blue,
        "taskSetArn": f"{PREFIX}:task-set/default/web/{blue}",
        "serviceArn": f"{PREFIX}:service/default/web",
        "clusterArn": f"{PREFIX}:cluster/default",
        "status": "ACTIVE",
        "taskDefinition": f"{PREFIX}:task-definition/web:1",
        "computedDesiredCount": 2,
        "pendingCount": 2,
        "runningCount": 0,
        "createdAt": START,
        "updatedAt": START,
        "launchType": "EXTERNAL",
        "loadBalancers": [],
        "serviceRegistries": [],
        "scale": {"value": 100.0, "unit": "PERCENT"},
        "stabilityStatus": "STABILIZING",
        "stabilityStatusAt": START,
        "tags": [],
    }
    world.pass_time(5)
    do_as_told(world, controlled)
    assert seen(world) == [("ACTIVE", 2, 2, 0, "STEADY_STATE")]
    assert described(world)[0]["stabilityStatusAt"] == world.now
    scale(world, blue, 0)
    do_as_told(world, controlled)
    assert seen(world) == [("ACTIVE", 0, 0, 0, "STEADY_STATE")]
    assert delete(world, blue)["status"] == "DRAINING"
    assert seen(world) == []
    assert {"TASKSET_STEADY_STATE", "SERVICE_STEADY_STATE"} == set(event_names(world))


def test_its_tasks_say_whose_they_are(world: World, controlled: str) -> None:
    blue, green = create(world), create(world, "web:2", 50)
    arns = list_tasks(world.cp, {"startedBy": green})["taskArns"]
    [task] = describe_tasks(world.cp, {"tasks": arns})["tasks"]
    assert (task["startedBy"], task["group"]) == (green, "service:web")
    assert task["taskDefinitionArn"].endswith("web:2")
    assert len(list_tasks(world.cp, {"startedBy": blue})["taskArns"]) == 2
    assert len(list_tasks(world.cp, {"serviceName": "web"})["taskArns"]) == 3
    messages = {event["message"] for event in service(world)["events"]}
    assert f"(service web, taskSet {green}) has started 1 tasks: (task {arns[0].rpartition('/')[2]})." in messages


def test_blue_and_green(world: World, controlled: str) -> None:
    """As a third-party controller does it: beside, PRIMARY, scale the old one to nothing, delete it."""
    blue = create(world)
    promote(world, blue)
    do_as_told(world, controlled)
    green = create(world, "web:2", 50)
    do_as_told(world, controlled)
    assert seen(world) == [("PRIMARY", 2, 2, 0, "STEADY_STATE"), ("ACTIVE", 1, 1, 0, "STEADY_STATE")]
    scale(world, green, 100)
    do_as_told(world, controlled)
    promote(world, green)
    assert service(world)["taskDefinition"].endswith("web:2")
    scale(world, blue, 0)
    do_as_told(world, controlled)
    delete(world, blue)
    assert seen(world) == [("PRIMARY", 2, 2, 0, "STEADY_STATE")]
    assert world.instance(controlled).tasks == 2


class TestTheService:
    def test_it_needs_a_name_and_nothing_else(self, world: World, machine: str) -> None:
        assert world.instance(machine)
        answer = create_service(world.cp, {"serviceName": "web", "deploymentController": EXTERNAL})["service"]
        shown = ("deploymentController", "deployments", "taskSets", "desiredCount", "status")
        assert {name: answer[name] for name in shown} == {
            "deploymentController": EXTERNAL,
            "deployments": [],
            "taskSets": [],
            "desiredCount": 0,
            "status": "ACTIVE",
        }
        assert not {"taskDefinition", "launchType", "currentServiceDeployment"} & set(answer)

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            pytest.param({"taskDefinition": "web:1"}, "taskDefinition cannot be specified", id="task-definition"),
            pytest.param({"launchType": "EXTERNAL"}, "launchType cannot be specified", id="launch-type"),
            pytest.param(
                {"capacityProviderStrategy": [{"capacityProvider": "EXTERNAL"}]},
                "capacityProviderStrategy cannot be specified",
                id="strategy",
            ),
            pytest.param({"schedulingStrategy": "DAEMON"}, "supports only the REPLICA", id="daemon"),
            pytest.param(
                {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}},
                "circuit breaker can only be used",
                id="circuit-breaker",
            ),
        ],
    )
    def test_what_task_sets_say_it_must_not(
        self, world: World, machine: str, members: dict[str, Any], words: str
    ) -> None:
        assert world.instance(machine)
        request = {"serviceName": "web", "deploymentController": EXTERNAL, **members}
        with pytest.raises(InvalidParameterException, match=words):
            create_service(world.cp, request)

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            pytest.param({"taskDefinition": "web:2"}, "Unable to update task definition on", id="task-definition"),
            pytest.param({"forceNewDeployment": True}, "Unable to update force new", id="deployment"),
            pytest.param(
                {"deploymentConfiguration": {"maximumPercent": 150}}, "Unable to update deployment", id="configuration"
            ),
            pytest.param({"deploymentController": {"type": "ECS"}}, "cannot be changed here", id="controller"),
        ],
    )
    def test_nor_when_it_is_updated(self, world: World, controlled: str, members: dict[str, Any], words: str) -> None:
        before = create(world) and service(world)
        with pytest.raises(InvalidParameterException, match=words):
            update_service(world.cp, {"service": "web", **members})
        assert service(world) == before
        assert world.instance(controlled).tasks == 2

    def test_updating_changes_what_all_task_sets_are_computed_from(self, world: World, controlled: str) -> None:
        create(world)
        create(world, "web:2", 50)
        do_as_told(world, controlled)
        update_service(world.cp, {"service": "web", "desiredCount": 5, "deploymentController": EXTERNAL})
        assert [each[1:] for each in seen(world)] == [(5, 2, 0, "STABILIZING"), (3, 1, 0, "STABILIZING")]
        world.deliver()
        do_as_told(world, controlled)
        assert [each[1:4] for each in seen(world)] == [(5, 5, 0), (3, 3, 0)]
        found = service(world)
        assert (found["desiredCount"], found["runningCount"], found["pendingCount"]) == (5, 8, 0)

    def test_its_placement_holds_for_all_task_sets(self, world: World, controlled: str) -> None:
        update_service(world.cp, {"service": "web", "placementConstraints": [{"type": "distinctInstance"}]})
        create(world)
        assert [each[1:] for each in seen(world)] == [(2, 0, 1, "STABILIZING")]
        world.machine(memory=2000, cpu=2000)
        create(world, "web:2", 50)
        world.minutes(1)
        held = list_tasks(world.cp, {"serviceName": "web"})["taskArns"]
        assert len(held) == 2, "one on each of the two, whose ever they are"
        assert world.instance(controlled).tasks == 1

    def test_one_of_another_controller_has_no_task_sets(self, world: World, machine: str) -> None:
        assert world.instance(machine)
        create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1"})
        with pytest.raises(InvalidParameterException, match="only supports task set management on services configured"):
            create(world)
        with pytest.raises(InvalidParameterException, match="cannot be changed here"):
            update_service(world.cp, {"service": "web", "deploymentController": EXTERNAL})

    def test_it_goes_with_its_task_sets_by_force(self, world: World, controlled: str) -> None:
        create(world)
        update_service(world.cp, {"service": "web", "desiredCount": 0})
        with pytest.raises(InvalidParameterException, match="while it has task sets"):
            delete_service(world.cp, {"service": "web"})
        delete_service(world.cp, {"service": "web", "force": True})
        with pytest.raises(ServiceNotActiveException):
            create(world)
        world.deliver()
        do_as_told(world, controlled)
        gone = service(world)
        assert (gone["status"], gone["taskSets"]) == ("INACTIVE", [])
        assert world.instance(controlled).tasks == 0


class TestCreating:
    def test_the_same_token_makes_one(self, world: World, controlled: str) -> None:
        first = create(world, clientToken="t")
        assert create(world, clientToken="t") == first
        assert len(described(world)) == 1
        with pytest.raises(InvalidParameterException, match="was not idempotent"):
            create(world, "web:2", clientToken="t")
        assert world.instance(controlled).tasks == 2

    def test_five_at_most(self, world: World, controlled: str) -> None:
        assert controlled
        for _ in range(5):
            create(world, scale=0)
        with pytest.raises(InvalidParameterException, match="5 deployments exist on the service"):
            create(world)

    def test_what_it_is_given_is_shown(self, world: World, controlled: str) -> None:
        assert controlled
        strategy = [{"capacityProvider": "EXTERNAL", "weight": 1, "base": 0}]
        tags = [{"key": "colour", "value": "green"}]
        made = create(world, scale=33.3, externalId="ext", capacityProviderStrategy=strategy, tags=tags)
        [found] = described(world, made, include=["TAGS"])
        shown = ("externalId", "capacityProviderStrategy", "tags", "scale", "computedDesiredCount")
        assert {name: found[name] for name in shown} == {
            "externalId": "ext",
            "capacityProviderStrategy": strategy,
            "tags": tags,
            "scale": {"value": 33.3, "unit": "PERCENT"},
            "computedDesiredCount": 1,
        }
        assert "launchType" not in found
        [task] = describe_tasks(world.cp, {"tasks": list_tasks(world.cp, {"startedBy": made})["taskArns"]})["tasks"]
        assert task["capacityProviderName"] == "EXTERNAL"

    def test_without_a_scale_it_starts_nothing(self, world: World, controlled: str) -> None:
        create_task_set(world.cp, {**OF, "taskDefinition": "web:1"})
        world.deliver()
        assert seen(world) == [("ACTIVE", 0, 0, 0, "STEADY_STATE")]
        assert world.instance(controlled).tasks == 0

    @pytest.mark.parametrize(
        ("members", "error", "words"),
        [
            pytest.param({"scale": {"value": 101.0}}, InvalidParameterException, "between 0 and 100", id="too-much"),
            pytest.param({"scale": {"value": -1.0}}, InvalidParameterException, "between 0 and 100", id="too-little"),
            pytest.param({"taskDefinition": "web:9"}, ClientException, "Unable to describe", id="no-such-definition"),
            pytest.param({"taskDefinition": "old:1"}, ClientException, "is inactive", id="a-former-definition"),
            pytest.param({"service": "none"}, ServiceNotFoundException, "Service not found", id="no-such-service"),
            pytest.param(
                {"launchType": "EXTERNAL", "capacityProviderStrategy": [{"capacityProvider": "EXTERNAL"}]},
                InvalidParameterException,
                "both a launch type and capacity provider",
                id="two-ways-to-run",
            ),
            pytest.param(
                {"tags": [{"key": "ecs-anywhere:disconnect", "value": "keep"}]},
                InvalidParameterException,
                "Give it to the service",
                id="a-tag-that-would-say-nothing",
            ),
        ],
    )
    def test_what_is_wrong(
        self, world: World, controlled: str, members: dict[str, Any], error: type[EcsError], words: str
    ) -> None:
        world.task_definition("old")
        deregister_task_definition(world.cp, {"taskDefinition": "old:1"})
        with pytest.raises(error, match=words):
            create_task_set(world.cp, {**OF, "taskDefinition": "web:1", **members})
        assert (described(world), world.instance(controlled).tasks) == ([], 0)


class TestDeleting:
    def test_one_that_is_scaled_above_0_only_by_force(self, world: World, controlled: str) -> None:
        blue = create(world)
        with pytest.raises(InvalidParameterException, match="scaled above 0"):
            delete(world, blue)
        answer = delete(world, blue, force=True)
        assert (answer["status"], answer["computedDesiredCount"], answer["scale"]["value"]) == ("DRAINING", 0, 0)
        [draining] = described(world)
        assert (draining["status"], draining["pendingCount"]) == ("DRAINING", 0)
        held = tasks.of_instance(world.table, "default", controlled)
        assert {task.stopped_reason for task in held} == {f"Scaling activity initiated by (taskSet {blue})"}
        assert delete(world, blue)["status"] == "DRAINING", "and again it is answered as it is"
        for request in ({"taskSet": blue, "scale": {"value": 1.0}}, {"primaryTaskSet": blue}):
            change = update_task_set if "scale" in request else update_service_primary_task_set
            with pytest.raises(InvalidParameterException, match="is DRAINING"):
                change(world.cp, {**OF, **request})
        do_as_told(world, controlled)
        assert described(world) == []

    def test_the_primary_one_only_by_force(self, world: World, controlled: str) -> None:
        blue = create(world, scale=0)
        promote(world, blue)
        with pytest.raises(InvalidParameterException, match="PRIMARY task set cannot be deleted"):
            delete(world, blue)
        delete(world, blue, force=True)
        assert "taskDefinition" not in service(world)
        assert world.instance(controlled).tasks == 0

    def test_one_that_is_not_there(self, world: World, controlled: str) -> None:
        assert controlled
        with pytest.raises(TaskSetNotFoundException):
            delete(world, "ecs-svc/1")
        answer = describe_task_sets(world.cp, {**OF, "taskSets": ["ecs-svc/1"]})
        arn = f"{PREFIX}:task-set/default/web/ecs-svc/1"
        assert answer == {"taskSets": [], "failures": [{"arn": arn, "reason": "MISSING"}]}

    @pytest.mark.parametrize("form", ["ecs-svc/{}", "{}", f"{PREFIX}:task-set/default/web/ecs-svc/{{}}"])
    def test_by_id_or_arn(self, world: World, controlled: str, form: str) -> None:
        assert controlled
        digits = create(world, scale=0).removeprefix("ecs-svc/")
        assert [each["id"] for each in described(world, form.format(digits))] == [f"ecs-svc/{digits}"]
        assert delete(world, form.format(digits))["id"] == f"ecs-svc/{digits}"


def test_one_that_does_not_start_holds_up_no_other(world: World, controlled: str) -> None:
    create(world, "web:2")
    for _ in range(3):
        for task in tasks.of_instance(world.table, "default", controlled):
            never = {"stop_code": StopCode.TASK_FAILED_TO_START, "stopped_reason": "no such image"}
            report = world.report_of(task.task_id, TaskStatus.STOPPED, task.report_number + 1, **never)
            world.report(report, instance_id=controlled)
        world.deliver()
    assert tasks.of_instance(world.table, "default", controlled) == [], "its next start waits"
    assert "SERVICE_TASK_START_IMPAIRED" in event_names(world)
    create(world, "web:1")
    do_as_told(world, controlled)
    assert [each[1:4] for each in seen(world)] == [(2, 0, 0), (2, 2, 0)]
    world.minutes(1)
    assert [each[1:4] for each in seen(world)] == [(2, 0, 2), (2, 2, 0)]


def test_one_that_finds_no_room_holds_up_no_other(world: World, controlled: str) -> None:
    world.task_definition("huge", memory=9000)
    create(world, "huge:1")
    create(world, "web:1")
    assert [each[1:4] for each in seen(world)] == [(2, 0, 0), (2, 0, 2)]
    told = [event["message"] for event in service(world)["events"] if "unable to place" in event["message"]]
    assert len(told) == 1
    assert f"(service web, taskSet {described(world)[0]['id']}) was unable to place a task" in told[0]
    assert world.instance(controlled).tasks == 2


def test_each_waits_for_capacity_by_itself(world: World, controlled: str) -> None:
    """A machine that one of them fits on is shown to that one, although another has waited longer."""
    world.task_definition("huge", memory=9000)
    world.task_definition("large", memory=3000)
    huge, large = create(world, "huge:1", 50), create(world, "large:1", 50)
    assert {each.task_set for each in waiting.of_cluster(world.table, "default")} == {huge, large}
    placement = why(world.cp, "default", "web")["placement"]
    assert (placement["placeable"], placement["instances"]) == (False, 1)
    world.machine(memory=4000)
    world.deliver()
    assert [each[1:4] for each in seen(world)] == [(1, 0, 0), (1, 0, 1)]
    assert [each.task_set for each in waiting.of_cluster(world.table, "default")] == [huge]
    delete(world, huge, force=True)
    assert waiting.of_cluster(world.table, "default") == []
    assert why(world.cp, "default", "web")["service"]["rolloutState"] == "STABILIZING"
    assert world.instance(controlled).tasks == 0


def test_there_is_no_reason_why_nothing_runs_without_a_task_set(world: World, controlled: str) -> None:
    assert controlled
    with pytest.raises(InvalidParameterException, match="has no task sets"):
        why(world.cp, "default", "web")


def test_more_than_one_transaction_can_hold(world: World, machine: str) -> None:
    world.task_definition("tiny", memory=6, cpu=1)
    create_service(world.cp, {"serviceName": "web", "deploymentController": EXTERNAL, "desiredCount": 45})
    create_task_set(world.cp, {**OF, "taskDefinition": "tiny:1", "scale": {"value": 100.0}})
    create(world, "tiny:1", 60)
    assert [each[1:4] for each in seen(world)] == [(45, 0, 45), (27, 0, 27)]
    update_service(world.cp, {"service": "web", "desiredCount": 0})
    world.deliver()
    for _ in range(2):
        do_as_told(world, machine)
    assert [each[1:] for each in seen(world)] == [(0, 0, 0, "STEADY_STATE")] * 2


def test_what_stops_is_replaced_with_what_its_task_set_runs(world: World, controlled: str) -> None:
    blue, green = create(world), create(world, "web:2", 50)
    do_as_told(world, controlled)
    [lost] = [task for task in tasks.of_instance(world.table, "default", controlled) if task.started_by == green]
    world.report(world.report_of(lost.task_id, TaskStatus.STOPPED, 9), instance_id=controlled)
    world.deliver()
    held = tasks.of_instance(world.table, "default", controlled)
    assert sorted((task.started_by, task.task_definition) for task in held) == [
        (blue, "web:1"),
        (blue, "web:1"),
        (green, "web:2"),
    ]


def test_other_tasks_are_none_of_its_business(world: World, controlled: str) -> None:
    [alone] = run_task(world.cp, {"taskDefinition": "web:1", "startedBy": "ecs-svc/1"})["tasks"]
    scale(world, create(world), 0)
    do_as_told(world, controlled)
    [left] = tasks.of_instance(world.table, "default", controlled)
    assert (alone["taskArn"].endswith(left.task_id), left.desired_status) == (True, DesiredStatus.RUNNING)


@pytest.mark.parametrize("operation", ["create", "update", "promote", "delete"])
def test_wherever_it_dies_it_is_done_or_not_and_done_in_the_end(world: World, controlled: str, operation: str) -> None:
    """The reminder is stored first: who is never told by the stream is brought by the sweeper."""
    blue = create(world)
    do_as_told(world, controlled)
    operations: dict[str, Any] = {
        "create": (create_task_set, {"taskDefinition": "web:2", "scale": {"value": 100.0}, "clientToken": "t"}),
        "update": (update_task_set, {"taskSet": blue, "scale": {"value": 50.0}}),
        "promote": (update_service_primary_task_set, {"primaryTaskSet": blue}),
        "delete": (delete_task_set, {"taskSet": blue, "force": True}),
    }
    work, members = operations[operation]
    before = seen(world)
    deaths = 0
    for calls in range(20):
        function = world.function()
        function.table = Table(Dying(world.table._client, calls), world.table.name)
        try:
            work(function, {**OF, **members})
        except Dying.DeadError:
            deaths += 1
            assert seen(world) == before
        else:
            break
    assert deaths >= 3
    world.minutes(1)
    do_as_told(world, controlled)
    assert (
        seen(world)
        == {
            "create": [("ACTIVE", 2, 2, 0, "STEADY_STATE"), ("ACTIVE", 2, 2, 0, "STEADY_STATE")],
            "update": [("ACTIVE", 1, 1, 0, "STEADY_STATE")],
            "promote": [("PRIMARY", 2, 2, 0, "STEADY_STATE")],
            "delete": [],
        }[operation]
    )
