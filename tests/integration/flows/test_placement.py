"""RunTask, StartTask and services with placement constraints and strategies."""

from collections import Counter
from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.filters import DISTINCT_INSTANCE, MEMBER_OF
from control_plane.flows.attributes import put_attributes
from control_plane.flows.run_task import run_task, start_task
from control_plane.flows.services import create_service, describe_services, update_service
from control_plane.flows.stop_task import stop_task
from control_plane.flows.task_definitions import register_task_definition
from control_plane.store import keys, tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import TaskStatus
from world import World

DISTINCT = {"type": "distinctInstance"}


def member_of(expression: str) -> dict[str, str]:
    return {"type": "memberOf", "expression": expression}


@pytest.fixture
def machines(world: World) -> dict[str, str]:
    """Two in Berlin, one in Oslo, by their names."""
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    sites = {"b1": "berlin", "b2": "berlin", "o1": "oslo"}
    return {
        name: world.machine(memory=1000, cpu=1000, attributes={"site": site, "name": name})
        for name, site in sites.items()
    }


def run(world: World, count: int = 1, **members: Any) -> tuple[list[str], list[dict[str, str]]]:
    """The names of the machines that tasks went to, and the failures."""
    answer = run_task(world.cp, {"taskDefinition": "web", "count": count, **members})
    return [_name(world, task) for task in answer["tasks"]], answer["failures"]


def _name(world: World, task: dict[str, Any]) -> str:
    instance_id = task["containerInstanceArn"].rsplit("/", 1)[1]
    return str(world.instance(instance_id).attributes["name"])


def service(world: World) -> dict[str, Any]:
    found: dict[str, Any] = describe_services(world.cp, {"services": ["web"]})["services"][0]
    return found


def placed(world: World, machines: dict[str, str]) -> dict[str, int]:
    return {name: len(tasks.of_instance(world.table, "default", each)) for name, each in machines.items()}


def test_a_constraint_is_binding(world: World, machines: dict[str, str]) -> None:
    where, failures = run(world, 3, placementConstraints=[member_of("attribute:site == oslo")])
    assert (where, failures) == (["o1"] * 3, [])


def test_a_constraint_that_nothing_satisfies(world: World, machines: dict[str, str]) -> None:
    where, failures = run(world, placementConstraints=[member_of("attribute:site==rome")])
    assert where == []
    assert sorted(failures, key=lambda failure: failure["arn"]) == [
        {
            "arn": world.cp.arns.container_instance("default", each),
            "reason": MEMBER_OF,
            "detail": f"{MEMBER_OF} (does not satisfy: attribute:site==rome)",
        }
        for each in sorted(machines.values())
    ]


def test_an_expression_that_is_wrong_places_nothing(world: World, machines: dict[str, str]) -> None:
    with pytest.raises(InvalidParameterException, match="at character 16, expected an operator"):
        run(world, placementConstraints=[member_of("attribute:site = oslo")])
    assert placed(world, machines) == {"b1": 0, "b2": 0, "o1": 0}


def test_the_definitions_constraints_hold_too(world: World, machines: dict[str, str]) -> None:
    container = {"name": "main", "image": "busybox", "memory": 100}
    constraints = [member_of("attribute:site == oslo")]
    register_task_definition(
        world.cp, {"family": "bound", "containerDefinitions": [container], "placementConstraints": constraints}
    )
    request = {"taskDefinition": "bound", "containerInstances": list(machines.values())}
    answer = start_task(world.cp, request)
    assert [_name(world, task) for task in answer["tasks"]] == ["o1"]
    assert {failure["reason"] for failure in answer["failures"]} == {MEMBER_OF}


def test_one_task_of_a_group_on_each_instance(world: World, machines: dict[str, str]) -> None:
    where, _ = run(world, 2, placementConstraints=[DISTINCT])
    assert len(set(where)) == 2
    third, failures = run(world, 2, placementConstraints=[DISTINCT])
    assert set(where) | set(third) == set(machines)
    assert [failure["reason"] for failure in failures] == [DISTINCT_INSTANCE] * 3
    assert len(run(world, 3, placementConstraints=[DISTINCT], group="another")[0]) == 3


def test_a_task_that_is_to_stop_is_in_nobodys_way(world: World, machines: dict[str, str]) -> None:
    oslo = [member_of("attribute:site == oslo"), DISTINCT]
    answer = run_task(world.cp, {"taskDefinition": "web", "placementConstraints": oslo})
    assert run(world, placementConstraints=oslo)[0] == []
    stop_task(world.cp, {"task": answer["tasks"][0]["taskArn"]})
    assert run(world, placementConstraints=oslo)[0] == ["o1"]


def test_next_to_other_tasks_and_away_from_them(world: World, machines: dict[str, str]) -> None:
    [database] = run(world, group="database")[0]
    with_it, _ = run(world, 2, placementConstraints=[member_of("task:group == database")])
    assert with_it == [database] * 2
    away, _ = run(world, 4, placementConstraints=[member_of("not(task:group == database)")])
    assert database not in away


def test_instances_by_how_many_tasks_run(world: World, machines: dict[str, str]) -> None:
    answer = run_task(world.cp, {"taskDefinition": "web"})
    task_id = answer["tasks"][0]["taskArn"].rsplit("/", 1)[1]
    busy = _name(world, answer["tasks"][0])
    container = ContainerReport(name="main", last_status=TaskStatus.RUNNING)
    world.report(world.report_of(task_id, TaskStatus.RUNNING, 1, containers=(container,)), instance_id=machines[busy])
    where, _ = run(world, placementConstraints=[member_of("runningTasksCount > 0 and agentVersion == 1.0.0")])
    assert where == [busy]


def test_instances_that_registered_with_an_older_release(world: World, machines: dict[str, str]) -> None:
    for instance_id in machines.values():
        key = keys.instance("default", instance_id)
        item = world.table.get(key)
        assert item is not None
        world.table.put_many(
            {key: {name: value for name, value in item.items() if name not in {"agentVersion", "registeredAt"}}}
        )
    where, _ = run(world, placementConstraints=[member_of("agentVersion == 1.0.0 and registeredAt > 2020-01-01")])
    assert len(where) == 1


def test_strategies_of_standalone_tasks(world: World, machines: dict[str, str]) -> None:
    spread = [{"type": "spread", "field": "attribute:site"}, {"type": "spread", "field": "host"}]
    assert Counter(run(world, 2, placementStrategy=spread)[0])["o1"] == 1
    assert Counter(run(world, 2, placementStrategy=spread)[0])["o1"] == 1
    assert placed(world, machines) == {"b1": 1, "b2": 1, "o1": 2}
    packed, _ = run(world, 4, placementStrategy=[{"type": "binpack", "field": "memory"}])
    assert packed == ["o1"] * 4
    assert len(run(world, 4, placementStrategy=[{"type": "random"}])[0]) == 4


def test_what_a_function_has_just_placed_it_takes_into_account(world: World, machines: dict[str, str]) -> None:
    assert {run(world)[0][0] for _ in range(3)} == set(machines)


def test_an_attribute_that_has_just_changed_counts(world: World, machines: dict[str, str]) -> None:
    """The fleet is remembered for five seconds; another function has changed it since."""
    run(world)
    target = {"targetType": "container-instance", "targetId": machines["o1"]}
    put_attributes(world.function(), {"attributes": [{**target, "name": "site", "value": "berlin"}]})
    where, failures = run(world, placementConstraints=[member_of("attribute:site == oslo")])
    assert where == []
    assert {failure["reason"] for failure in failures} == {MEMBER_OF}


def test_a_service_keeps_its_placement(world: World, machines: dict[str, str]) -> None:
    strategy = [{"type": "spread", "field": "host"}]
    constraints = [member_of("attribute:site == berlin"), DISTINCT]
    request = {"serviceName": "web", "taskDefinition": "web", "desiredCount": 3}
    create_service(world.cp, {**request, "placementConstraints": constraints, "placementStrategy": strategy})
    world.deliver()
    found = service(world)
    assert found["placementConstraints"] == constraints
    assert found["placementStrategy"] == [{"type": "spread", "field": "instanceId"}]
    assert placed(world, machines) == {"b1": 1, "b2": 1, "o1": 0}
    closest = min(machines["b1"], machines["b2"], machines["o1"])
    [event] = [each["message"] for each in found["events"] if "unable to place" in each["message"]]
    assert event.startswith(
        "(service web) was unable to place a task because no container instance met all of its requirements. The "
        f"closest matching (container-instance {closest}) encountered error "
    )
    assert event.endswith(
        "Refusals of 3 container instances: DistinctInstance placement constraint unsatisfied (2), "
        "MemberOf placement constraint unsatisfied (1)."
    )


def test_a_services_placement_is_changed_without_a_deployment(world: World, machines: dict[str, str]) -> None:
    request = {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1}
    create_service(world.cp, {**request, "placementConstraints": [member_of("attribute:site == rome")]})
    world.deliver()
    before = service(world)["deployments"][0]["id"]
    update_service(world.cp, {"service": "web", "placementConstraints": [member_of("attribute:site == oslo")]})
    world.deliver()
    assert placed(world, machines) == {"b1": 0, "b2": 0, "o1": 1}
    update_service(world.cp, {"service": "web", "placementStrategy": [{"type": "random"}]})
    assert service(world)["placementConstraints"] == [member_of("attribute:site == oslo")]
    update_service(world.cp, {"service": "web", "placementConstraints": [], "placementStrategy": [{}]})
    found = service(world)
    assert (found["placementConstraints"], found["placementStrategy"]) == ([], [])
    assert found["deployments"][0]["id"] == before
    with pytest.raises(InvalidParameterException, match="at character 1"):
        update_service(world.cp, {"service": "web", "placementConstraints": [member_of("nonsense")]})


def test_a_service_that_waits_for_an_attribute_gets_it(world: World, machines: dict[str, str]) -> None:
    request = {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1}
    create_service(world.cp, {**request, "placementConstraints": [member_of("attribute:rack == r1")]})
    world.deliver()
    assert placed(world, machines) == {"b1": 0, "b2": 0, "o1": 0}
    target = {"targetType": "container-instance", "targetId": machines["b2"]}
    put_attributes(world.cp, {"attributes": [{**target, "name": "rack", "value": "r1"}]})
    world.deliver()
    assert placed(world, machines) == {"b1": 0, "b2": 1, "o1": 0}


def test_a_service_without_a_strategy_is_spread_over_zones(world: World) -> None:
    world.cluster()
    world.task_definition(memory=10, cpu=10)
    zones = {"a": "z1", "b": "z1", "c": "z1", "d": "z2"}
    machines = {name: world.machine(attributes={"ecs.availability-zone": zone}) for name, zone in zones.items()}
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 6})
    world.deliver()
    assert placed(world, machines)["d"] == 3
    assert service(world)["placementStrategy"] == []
