"""GPUs: an instance says which it has, a task is given some of them by id, and nobody else has these until it stops."""

from typing import Any

import pytest

from control_plane.domain.errors import ClientException
from control_plane.domain.races import ItemChangedError
from control_plane.flows.container_instances import describe_container_instances
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task, start_task
from control_plane.flows.services import create_service, describe_services
from control_plane.flows.stop_task import stop_task
from control_plane.flows.tasks import describe_tasks
from control_plane.store import keys
from control_plane.store.table import Write
from ecs_protocol.messages import OrphanReport, ReportOrphans, TaskCommands
from ecs_protocol.statuses import TaskStatus
from integration.flows.definitions import register
from world import World

FOUR = tuple(f"GPU-{number}" for number in range(4))


def gpus(value: str) -> dict[str, Any]:
    return {"resourceRequirements": [{"type": "GPU", "value": value}]}


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition("one", **gpus("1"))
    world.task_definition("three", **gpus("3"))
    world.task_definition("all", **gpus("ALL"))
    world.task_definition("plain")
    return world.machine(gpus=FOUR)


def run(world: World, family: str, **request: Any) -> dict[str, Any]:
    return run_task(world.cp, {"taskDefinition": family, **request})


def ids(answer: dict[str, Any]) -> list[list[str]]:
    return [task["containers"][0].get("gpuIds", []) for task in answer["tasks"]]


def reasons(answer: dict[str, Any]) -> list[str]:
    return [failure["reason"] for failure in answer["failures"]]


def held(world: World, machine: str) -> tuple[set[str], set[str]]:
    found = world.instance(machine)
    return set(found.held_gpus), set(found.orphan_gpus)


def stopped(world: World, machine: str, answer: dict[str, Any]) -> None:
    for task in answer["tasks"]:
        task_id = task["taskArn"].rsplit("/", 1)[1]
        world.report(world.report_of(task_id, TaskStatus.STOPPED, 1), instance_id=machine)


def resource(world: World, machine: str, which: str) -> dict[str, Any] | None:
    [found] = describe_container_instances(world.cp, {"containerInstances": [machine]})["containerInstances"]
    return next((each for each in found[which] if each["name"] == "GPU"), None)


def strings(values: list[str]) -> dict[str, Any]:
    zeroes = {"doubleValue": 0.0, "longValue": 0, "integerValue": 0}
    return {"name": "GPU", "type": "STRINGSET", **zeroes, "stringSetValue": values}


def test_an_instance_shows_which_it_has_and_which_are_left(world: World, machine: str) -> None:
    assert resource(world, machine, "registeredResources") == strings(list(FOUR))
    run(world, "one")
    assert resource(world, machine, "registeredResources") == strings(list(FOUR))
    assert resource(world, machine, "remainingResources") == strings(["GPU-1", "GPU-2", "GPU-3"])
    assert resource(world, world.machine(), "remainingResources") is None


def test_a_task_has_some_until_it_stops(world: World, machine: str) -> None:
    first = run(world, "one")
    second = run(world, "three")
    assert (ids(first), ids(second)) == ([["GPU-0"]], [["GPU-1", "GPU-2", "GPU-3"]])
    assert reasons(run(world, "one")) == ["RESOURCE:GPU"]
    assert len(run(world, "plain")["tasks"]) == 1
    arn = second["tasks"][0]["taskArn"]
    [task] = describe_tasks(world.cp, {"tasks": [arn]})["tasks"]
    assert task["containers"][0]["gpuIds"] == ["GPU-1", "GPU-2", "GPU-3"]
    stop_task(world.cp, {"task": arn})
    assert reasons(run(world, "one")) == ["RESOURCE:GPU"]
    for _ in range(2):
        stopped(world, machine, second)
        assert held(world, machine) == ({"GPU-0"}, set())
    assert ids(run(world, "three")) == [["GPU-1", "GPU-2", "GPU-3"]]


def test_its_machine_is_told_which(world: World, machine: str) -> None:
    world.task_definition("two", **gpus("2"))
    world.agents.take(machine)
    run(world, "two")
    run(world, "plain")
    world.deliver()
    messages = [message for message in world.agents.take(machine) if isinstance(message, TaskCommands)]
    assert [line.gpu_ids for message in messages for line in message.tasks] == [{"main": ("GPU-0", "GPU-1")}, None]


@pytest.mark.parametrize("operation", [run_task, start_task])
def test_an_override_says_how_many(world: World, machine: str, operation: Any) -> None:
    where = {"containerInstances": [machine]} if operation is start_task else {}

    def with_gpus(family: str, value: str) -> Any:
        overrides = {"containerOverrides": [{"name": "main", **gpus(value)}]}
        return operation(world.cp, {"taskDefinition": family, "overrides": overrides, **where})

    assert ids(with_gpus("plain", "2")) == [["GPU-0", "GPU-1"]]
    assert ids(with_gpus("three", "1")) == [["GPU-2"]]
    assert reasons(with_gpus("one", "2")) == ["RESOURCE:GPU"]


def test_all_are_all_of_a_machine_that_nobody_else_has(world: World, machine: str) -> None:
    one = run(world, "one")
    assert reasons(run(world, "all")) == ["RESOURCE:GPU"]
    stopped(world, machine, one)
    assert ids(run(world, "all")) == [list(FOUR)]
    assert reasons(run(world, "one")) == ["RESOURCE:GPU"]


def test_all_for_one_container_leave_none_for_another(world: World) -> None:
    side = {"name": "side", "image": "busybox", "memory": 10, **gpus("1")}
    with pytest.raises(ClientException, match="ALL GPUs"):
        register(world, containerDefinitions=[{**side, "name": "main", **gpus("ALL")}, side])


def test_a_machine_without_any_lacks_the_attribute(world: World) -> None:
    world.cluster()
    world.machine()
    world.task_definition(**gpus("1"))
    assert reasons(run(world, "web")) == ["ATTRIBUTE"]


def test_a_machine_registers_again_with_others(world: World, machine: str) -> None:
    """What tasks hold they go on holding, whether it is there or not; what is new can be given at once."""
    run(world, "three")
    world.register(machine, gpus=["GPU-2", "GPU-3", "GPU-9"])
    assert held(world, machine) == ({"GPU-0", "GPU-1", "GPU-2"}, set())
    assert resource(world, machine, "remainingResources") == strings(["GPU-3", "GPU-9"])
    assert reasons(run(world, "three")) == ["RESOURCE:GPU"]
    assert ids(run(world, "one", count=2)) == [["GPU-3"], ["GPU-9"]]
    world.register(machine, gpus=[])
    assert world.instance(machine).gpus == set()
    assert resource(world, machine, "registeredResources") is None


def test_a_service_waits_for_them_and_says_so(world: World, machine: str) -> None:
    first = run(world, "three")
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "three", "desiredCount": 1})
    world.deliver()
    [service] = describe_services(world.cp, {"services": ["web"]})["services"]
    assert any("has insufficient GPU resources available." in event["message"] for event in service["events"])
    told = operate(world.cp, {"operation": "Why", "name": "web"})
    assert "GPUs: wants 3, has 1 of 4 left" in str(told)
    stopped(world, machine, first)
    world.deliver()
    assert held(world, machine) == ({"GPU-0", "GPU-1", "GPU-2"}, set())


# --- orphans


def an_orphan(machine: str, number: int = 1, *gpu_ids: str) -> OrphanReport:
    task_id = keys.task_id_on(machine, f"{number:032x}"[::-1])
    return OrphanReport(task_id=task_id, task_definition="one:1", group="family:one", gpu_ids={"main": gpu_ids})


def tell(world: World, machine: str, *found: OrphanReport) -> None:
    world.say(machine, ReportOrphans(request_id="o", orphans=found))


def differences(world: World, *, repair: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = operate(world.cp, {"operation": "Check", "repair": repair})["differences"]
    return [each["differences"] for each in found]


def test_an_orphan_holds_those_that_it_runs_with(world: World, machine: str) -> None:
    orphan = an_orphan(machine, 1, "GPU-2")
    for _ in range(2):
        tell(world, machine, orphan)
        assert held(world, machine) == (set(), {"GPU-2"})
    assert ids(run(world, "three")) == [["GPU-0", "GPU-1", "GPU-3"]]
    assert reasons(run(world, "one")) == ["RESOURCE:GPU"]
    assert differences(world) == []
    tell(world, machine)
    assert held(world, machine)[1] == set()
    assert ids(run(world, "one")) == [["GPU-2"]]


def test_an_adopted_one_holds_them_as_a_task(world: World, machine: str) -> None:
    orphan = an_orphan(machine, 1, "GPU-2")
    tell(world, machine, orphan)
    arn = operate(world.cp, {"operation": "AdoptOrphan", "task": orphan.task_id})["taskArn"]
    assert held(world, machine) == ({"GPU-2"}, set())
    [task] = describe_tasks(world.cp, {"tasks": [arn]})["tasks"]
    assert task["containers"][0]["gpuIds"] == ["GPU-2"]
    assert differences(world) == []
    world.report(world.report_of(orphan.task_id, TaskStatus.STOPPED, 1), instance_id=machine)
    assert held(world, machine) == (set(), set())


@pytest.mark.parametrize("first", ["orphan", "task"])
def test_of_an_orphan_and_a_task_with_the_same_gpu_the_end_of_one_leaves_it_to_the_other(
    world: World, machine: str, first: str
) -> None:
    """The task was placed before the machine could tell of the orphan, as after a restored backup."""
    task = run(world, "one")
    orphan = an_orphan(machine, 1, "GPU-0")
    tell(world, machine, orphan)
    assert held(world, machine) == ({"GPU-0"}, {"GPU-0"})
    refused = operate(world.cp, {"operation": "AdoptOrphan", "task": orphan.task_id})
    assert refused["error"] == "InvalidParameterException"
    assert "another task of its machine holds: GPU-0. Stop one of the two" in refused["message"]
    if first == "task":
        stopped(world, machine, task)
    else:
        tell(world, machine)
    assert ids(run(world, "one")) == [["GPU-1"]]
    assert differences(world) == []


def test_a_check_finds_and_mends_what_should_not_be(world: World, machine: str) -> None:
    run(world, "one")
    spoilt = {":held": frozenset({"GPU-3"}), ":orphans": frozenset({"GPU-2"})}
    update = "SET #heldGpus = :held, #orphanGpus = :orphans"
    key = keys.instance("default", machine)
    world.table.commit([Write("Update", key, ItemChangedError("spoilt"), update=update, values=spoilt)])
    wrong = {
        "gpus": {"stored": ["GPU-3"], "expected": ["GPU-0"]},
        "orphanGpus": {"stored": ["GPU-2"], "expected": []},
    }
    assert differences(world, repair=True) == [wrong]
    assert held(world, machine) == ({"GPU-0"}, set())
