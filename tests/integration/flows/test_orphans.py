"""Tasks that run on a machine and that the table knows nothing of, as after a restored backup."""

from typing import Any

import pytest

from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service
from control_plane.flows.task_sets import create_task_set, describe_task_sets, update_service_primary_task_set
from control_plane.store import keys, services, tasks
from ecs_protocol.messages import OrphanReport, OrphansNoted, ReportOrphans, TaskCommands
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from world import World


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(portMappings=[{"containerPort": 8080}])
    return world.machine(cpu=1000, memory=1000)


def an_orphan(machine: str, number: int = 1, **members: Any) -> OrphanReport:
    task_id = keys.task_id_on(machine, f"{number:032x}"[::-1])
    return OrphanReport(**{"task_id": task_id, "task_definition": "web:1", "group": "family:web", **members})


def tell(world: World, machine: str, *found: OrphanReport) -> list[Any]:
    world.agents.take(machine)
    world.say(machine, ReportOrphans(request_id="o", orphans=found))
    return world.agents.take(machine)


def ask(world: World, operation: str, **members: Any) -> dict[str, Any]:
    return operate(world.cp, {"operation": operation, **members})


def left(world: World, machine: str) -> tuple[int, int, set[str], int]:
    found = world.instance(machine)
    return found.cpu, found.memory, set(found.ports), found.tasks


UNTOUCHED = (1000, 1000, set[str](), 0)
HELD = (872, 936, {"8080/tcp"}, 0)


def test_an_orphan_is_listed_and_what_it_takes_is_held(world: World, machine: str) -> None:
    orphan = an_orphan(machine)
    for _ in range(2):
        assert tell(world, machine, orphan) == [OrphansNoted(request_id="o")]
        assert left(world, machine) == HELD
    [listed] = ask(world, "ListOrphans")["orphans"]
    assert (listed["taskId"], listed["taskDefinition"], listed["adoptable"]) == (orphan.task_id, "web:1", True)
    assert run_task(world.cp, {"taskDefinition": "web"})["failures"][0]["reason"] == "RESOURCE:PORTS"
    assert ask(world, "Check")["differences"] == []


def test_one_that_has_ended_is_forgotten_and_gives_back(world: World, machine: str) -> None:
    tell(world, machine, an_orphan(machine))
    for _ in range(2):
        tell(world, machine)
        assert left(world, machine) == UNTOUCHED
    assert ask(world, "ListOrphans") == {"orphans": []}


def test_one_that_is_to_stop_is_told_until_it_is_gone(world: World, machine: str) -> None:
    orphan = an_orphan(machine)
    tell(world, machine, orphan)
    world.agents.take(machine)
    assert ask(world, "StopOrphan", task=orphan.task_id) == {"taskId": orphan.task_id, "stopping": True}
    [first] = world.agents.take(machine)
    [_, again] = tell(world, machine, orphan)
    for command in (first, again):
        assert isinstance(command, TaskCommands)
        [line] = command.tasks
        assert (line.task_id, line.desired_status) == (orphan.task_id, DesiredStatus.STOPPED)
    assert left(world, machine) == HELD
    tell(world, machine)
    assert left(world, machine) == UNTOUCHED


def test_a_machine_that_lost_its_memory_says_that_it_does_not_run(world: World, machine: str) -> None:
    orphan = an_orphan(machine)
    tell(world, machine, orphan)
    world.report(world.report_of(orphan.task_id, TaskStatus.STOPPED, 1), instance_id=machine)
    assert left(world, machine) == UNTOUCHED
    assert ask(world, "ListOrphans") == {"orphans": []}


def test_an_adopted_orphan_is_a_task_again(world: World, machine: str) -> None:
    orphan = an_orphan(machine, started_at=world.now)
    tell(world, machine, orphan)
    answer = ask(world, "AdoptOrphan", task=orphan.task_id)
    assert answer["taskArn"].endswith(orphan.task_id)
    assert left(world, machine) == (*HELD[:3], 1)
    assert ask(world, "Check")["differences"] == []
    assert ask(world, "ListOrphans") == {"orphans": []}
    world.deliver()
    [command] = [message for message in world.agents.take(machine) if isinstance(message, TaskCommands)]
    assert command.tasks[0].desired_status is DesiredStatus.RUNNING
    world.report(world.report_of(orphan.task_id, TaskStatus.STOPPED, 1), instance_id=machine)
    assert left(world, machine) == UNTOUCHED


def test_an_adopted_orphan_joins_its_service_again(world: World, machine: str) -> None:
    world.task_definition("other")
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "other", "desiredCount": 2})
    world.deliver()
    orphan = an_orphan(machine, group="service:web", started_at=world.now)
    tell(world, machine, orphan)
    ask(world, "AdoptOrphan", task=orphan.task_id)
    world.deliver()
    service = services.load(world.table, "default", "web")
    assert service is not None
    listed = services.list_of(world.table, service)
    assert orphan.task_id in listed
    running = [task for _, task in listed.values() if task and task.desired_status is DesiredStatus.RUNNING]
    assert len(running) == 2, "what is too much is stopped"


def test_an_adopted_orphan_is_the_primary_task_sets_where_nobody_knows_whose_it_was(world: World, machine: str) -> None:
    world.task_definition("other")
    create_service(world.cp, {"serviceName": "web", "deploymentController": {"type": "EXTERNAL"}, "desiredCount": 1})
    of = {"cluster": "default", "service": "web"}
    for _ in range(2):
        scale = {"value": 100.0}
        made = create_task_set(world.cp, {**of, "taskDefinition": "other", "scale": scale})["taskSet"]["id"]
    update_service_primary_task_set(world.cp, {**of, "primaryTaskSet": made})
    orphan = an_orphan(machine, group="service:web", started_at=world.now)
    tell(world, machine, orphan)
    ask(world, "AdoptOrphan", task=orphan.task_id)
    world.deliver()
    found = describe_task_sets(world.cp, of)["taskSets"]
    counts = {each["status"]: (each["runningCount"], each["pendingCount"]) for each in found}
    assert counts == {"ACTIVE": (0, 1), "PRIMARY": (1, 0)}
    others = [task for task in tasks.of_instance(world.table, "default", machine) if task.task_id != orphan.task_id]
    assert [task.started_by != made for task in others] == [True], "the adopted one is that of the PRIMARY task set"


@pytest.mark.parametrize(
    ("members", "why"),
    [
        pytest.param({"earlier_identity": True}, "earlier identity", id="of-another-identity"),
        pytest.param({"task_definition": "web:7"}, "web:7 of task", id="of-a-definition-that-is-not-known"),
    ],
)
def test_one_that_cannot_be_adopted(world: World, machine: str, members: dict[str, Any], why: str) -> None:
    orphan = an_orphan(machine, **members)
    tell(world, machine, orphan)
    [listed] = ask(world, "ListOrphans")["orphans"]
    assert not listed["adoptable"]
    assert why in ask(world, "AdoptOrphan", task=orphan.task_id)["message"]


def test_nobody_decides_about_what_is_not_there(world: World, machine: str) -> None:
    for operation in ("StopOrphan", "AdoptOrphan"):
        assert "There is no orphan" in ask(world, operation, task="a" * 32)["message"]


def test_an_orphan_is_held_even_where_nothing_is_left(world: World, machine: str) -> None:
    world.task_definition("large", cpu=1000, memory=900)
    assert run_task(world.cp, {"taskDefinition": "large"})["failures"] == []
    tell(world, machine, an_orphan(machine))
    assert left(world, machine) == (-128, 36, {"8080/tcp"}, 1)
    [task] = tasks.of_instance(world.table, "default", machine)
    assert task.desired_status is DesiredStatus.RUNNING
