"""Who waits for capacity, and who is woken when some appears: services, and `Run Task` events."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.service import Deployment, Service
from control_plane.domain.waiting import Waiting
from control_plane.flows.check import check
from control_plane.flows.container_instances import update_container_instances_state
from control_plane.flows.publish_events import publish_events
from control_plane.flows.run_task import run_task
from control_plane.flows.run_task_event import run_task_for_event
from control_plane.flows.services import create_service, delete_service, update_service
from control_plane.flows.sweep import sweep
from control_plane.store import keys, services, tasks, waiting
from control_plane.store.table import Write
from ecs_protocol.messages import OrphanReport, ReportOrphans
from ecs_protocol.statuses import TaskStatus
from world import EVERY_CAPABILITY, World

S = TaskStatus


@pytest.fixture
def full(world: World) -> str:
    """A machine with room for four tasks of `web`, all taken by tasks that are of no service."""
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    machine = world.machine(memory=400, cpu=400)
    run_task(world.cp, {"taskDefinition": "web", "count": 4})
    world.deliver()
    return machine


def serve(world: World, name: str, definition: str = "web", desired: int = 1, **members: Any) -> None:
    create_service(world.cp, {"serviceName": name, "taskDefinition": definition, "desiredCount": desired, **members})
    world.deliver()


def one_stops(world: World, machine: str) -> None:
    """A task of neither a service nor an event; what the stream says of it is not delivered yet."""
    held = tasks.of_instance(world.table, "default", machine)
    task = next(task for task in held if task.service is None and task.started_by is None)
    world.report(world.report_of(task.task_id, S.STOPPED, task.report_number + 1), instance_id=machine)


def woken(world: World) -> list[str]:
    """The services that the stream wakes now."""
    records, world.table.stream = world.table.stream, []
    publish_events(world.cp, records)
    return [key.service for key, _ in world.queues.services]


def running(world: World, machine: str, service: str) -> int:
    return sum(task.service == service for task in tasks.of_instance(world.table, "default", machine))


def who_waits(world: World) -> list[str]:
    found = sorted(waiting.of_cluster(world.table, "default"), key=lambda one: (one.since, one.name))
    return [each.service or each.request_id or "" for each in found]


def test_it_is_stored_with_what_it_lacked(world: World, full: str) -> None:
    constraint = {"type": "memberOf", "expression": "attribute:ecs.os-type == linux"}
    serve(world, "api", placementConstraints=[constraint])
    [found] = waiting.of_cluster(world.table, "default")
    assert found.model_dump(exclude={"since", "requires"}, exclude_none=True) == {
        "cluster": "default",
        "service": "api",
        "cpu": 100,
        "memory": 100,
        "ports": (),
        "gpus": {},
        "group": "service:api",
        "constraints": (constraint,),
        "lacked": {"MemberOf placement constraint unsatisfied.": 1, "RESOURCE:CPU": 1, "RESOURCE:MEMORY": 1},
    }
    assert set(found.requires) >= {"ecs.capability.external"}


def test_a_stop_makes_room_for_it_and_it_waits_no_more(world: World, full: str) -> None:
    serve(world, "api")
    assert who_waits(world) == ["api"]
    one_stops(world, full)
    world.deliver()
    assert running(world, full, "api") == 1
    assert who_waits(world) == []
    assert services.load(world.table, "default", "api").waiting_since is None  # type: ignore[union-attr]


def test_the_longest_waiting_is_woken_and_no_more_than_could_start(world: World, full: str) -> None:
    for name in ("c", "a", "b"):
        serve(world, name)
        world.pass_time(1)
    one_stops(world, full)
    assert woken(world) == ["c"]


def test_who_does_not_fit_is_not_woken(world: World, full: str) -> None:
    world.task_definition("large", memory=200, cpu=200)
    serve(world, "large", "large")
    world.pass_time(1)
    serve(world, "small")
    one_stops(world, full)
    assert woken(world) == ["small"]


def test_it_stays_where_it_was_in_the_line_while_it_lacks_more(world: World, full: str) -> None:
    serve(world, "first", desired=2)
    world.pass_time(1)
    serve(world, "second")
    one_stops(world, full)
    world.deliver()
    assert (running(world, full, "first"), who_waits(world)) == (1, ["first", "second"])
    one_stops(world, full)
    world.deliver()
    assert (running(world, full, "first"), who_waits(world)) == (2, ["second"])


def test_one_that_may_not_share_an_instance_with_itself_is_not_woken_for_it(world: World, full: str) -> None:
    world.cp.fleet.forget("default")
    one_stops(world, full)
    world.deliver()
    serve(world, "alone", desired=2, placementConstraints=[{"type": "distinctInstance"}])
    world.pass_time(1)
    serve(world, "api")
    assert who_waits(world) == ["alone", "api"]
    one_stops(world, full)
    assert woken(world) == ["api"]


def test_one_that_waits_for_a_role_takes_no_place_in_the_line(world: World, full: str) -> None:
    """Room is of no use to it: were it told of it, the others would not be. With its role it stands where it stood."""
    roled = world.task_definition("roled", memory=100, cpu=100, task_role="app")
    names = (f"com.amazonaws.ecs.capability.{each}" for each in ("task-iam-role", "task-iam-role-network-host"))
    world.register(full, memory=400, cpu=400, capabilities=(*EVERY_CAPABILITY, *names))
    world.sts.untrusting.add(world.cp.arns.role("app"))
    serve(world, "roled", roled)
    world.pass_time(1)
    serve(world, "api", desired=2)
    assert who_waits(world) == ["roled", "api"]
    one_stops(world, full)
    assert woken(world) == ["api"]
    world.sts.untrusting.clear()
    world.deliver()
    assert (running(world, full, "roled"), running(world, full, "api")) == (0, 1)
    world.minutes(1)
    one_stops(world, full)
    assert woken(world) == ["roled"]


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(f"attribute:site in[{','.join(['oslo'] * 391)}] or agentConnected==true", id="as-long-as-may-be"),
        pytest.param("!" * 40 + "agentConnected == true", id="as-deep-as-may-be"),
        pytest.param("(attribute:a==b||" * 45 + "agentConnected==true&&agentConnected==true" + ")" * 45, id="nested"),
    ],
)
def test_one_whose_constraint_is_as_large_as_may_be_is_in_nobodys_way(world: World, full: str, expression: str) -> None:
    serve(world, "large", placementConstraints=[{"type": "memberOf", "expression": expression}])
    world.pass_time(1)
    serve(world, "api")
    one_stops(world, full)
    assert woken(world) == ["large"]


def test_what_an_older_release_stored_in_too_many_words_is_in_nobodys_way(world: World, full: str) -> None:
    expression = f"attribute:site in [{', '.join(['oslo'] * 400)}]"
    constraints = ({"type": "memberOf", "expression": expression},)
    old = Waiting(cluster="default", since=world.now, service="old", memory=200, constraints=constraints)
    world.table.commit([waiting.begun(old)])
    serve(world, "api")
    one_stops(world, full)
    assert woken(world) == ["api"]


def test_one_stop_among_a_thousand_that_wait_is_one_run(world: World, full: str) -> None:
    now = world.cp.clock()
    deployment = Deployment(deployment_id="ecs-svc/1", task_definition="web:1", created_at=now, updated_at=now)
    names = [f"service-{number:03d}" for number in range(1000)]
    waits = [
        Waiting(cluster="default", since=now + timedelta(milliseconds=number), service=name, cpu=100, memory=100)
        for number, name in enumerate(names)
    ]
    stored = [
        Service(
            name=each.service or "",
            cluster="default",
            desired_count=1,
            task_definition="web:1",
            deployment=deployment,
            created_at=now,
            updated_at=now,
            planned=True,
            short=True,
            waiting_since=each.since,
        )
        for each in waits
    ]
    world.table.put_many({keys.service("default", one.name): services.to_item(one) for one in stored})
    world.table.put_many({(write := waiting.begun(each)).key: write.item for each in waits})
    waiting.note(world.table, "default", now)
    one_stops(world, full)
    assert woken(world) == ["service-000"]
    world.deliver()
    assert running(world, full, "service-000") == 1
    assert len(who_waits(world)) == 999


@pytest.mark.parametrize(
    "appears",
    [
        pytest.param(lambda world, _: world.machine(memory=400, cpu=400), id="an-instance-joins"),
        pytest.param(lambda world, full: world.register(full, memory=800, cpu=800), id="it-registers-with-more"),
    ],
)
def test_room_of_a_registration(world: World, full: str, appears: Any) -> None:
    serve(world, "api")
    appears(world, full)
    world.deliver()
    assert who_waits(world) == []


def test_an_instance_that_becomes_active_again(world: World, full: str) -> None:
    second = world.machine(memory=400, cpu=400)
    drain = {"containerInstances": [second], "status": "DRAINING"}
    update_container_instances_state(world.cp, drain)
    world.deliver()
    world.cp.fleet.forget("default")
    serve(world, "api")
    assert who_waits(world) == ["api"]
    update_container_instances_state(world.cp, {**drain, "status": "ACTIVE"})
    world.deliver()
    assert running(world, second, "api") == 1


def test_an_instance_that_comes_back(world: World, full: str) -> None:
    second = world.machine(memory=400, cpu=400)
    world.connects(second)
    world.disconnects(second)
    world.cp.fleet.forget("default")
    serve(world, "api")
    assert who_waits(world) == ["api"]
    world.connects(second)
    assert running(world, second, "api") == 1


@pytest.mark.parametrize("ends", [pytest.param(True, id="ends"), pytest.param(False, id="turns-out-to-hold-nothing")])
def test_room_that_an_orphan_held(world: World, *, ends: bool) -> None:
    """An orphan is a task that the table does not know; that it has ended is not told as a task's end is."""
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    machine = world.machine(memory=100, cpu=100)
    orphan = OrphanReport(task_id=keys.task_id_on(machine, "0" * 32), task_definition="web:1", group="family:web")
    world.say(machine, ReportOrphans(request_id="o", orphans=(orphan,)))
    world.cp.fleet.forget("default")
    serve(world, "api")
    assert who_waits(world) == ["api"]
    world.pass_time(1)
    if ends:
        world.say(machine, ReportOrphans(request_id="o", orphans=()))
    else:
        [partition] = {keys.instance("default", machine).pk}
        held = list(world.table.query(partition, "O#"))
        world.table.delete_many([keys.Key(each["pk"], each["sk"]) for each in held])
        assert check(world.cp, "default", None, repair=True)["differences"] != []
    world.deliver()
    assert running(world, machine, "api") == 1


def test_room_that_comes_before_it_has_said_that_it_waits(
    world: World, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The news of it passes while nobody is noted as waiting; so it looks once more after it has said so."""
    commit = world.table.commit

    def just_before(writes: Sequence[Write]) -> None:
        if any(write.key.pk.startswith("WAITING#default#") for write in writes):
            monkeypatch.setattr(world.table, "commit", commit)
            one_stops(world, full)
            assert woken(world) == []
        commit(writes)

    monkeypatch.setattr(world.table, "commit", just_before)
    serve(world, "api")
    assert running(world, full, "api") == 1


def test_the_sweeper_looks_more_and_more_seldom(world: World, full: str) -> None:
    serve(world, "api")
    looks = []
    for second in range(60, 3700, 60):
        world.pass_time(60)
        if sweep(world.cp)["services"]:
            looks.append(second)
        world.deliver()
    assert looks == [60, 120, 240, 480, 960, 1860, 2760, 3660]


def test_what_it_wants_changes_while_it_waits(world: World, full: str) -> None:
    world.task_definition("large", memory=300, cpu=300)
    serve(world, "api", "large")
    update_service(world.cp, {"service": "api", "taskDefinition": "web"})
    world.deliver()
    [found] = waiting.of_cluster(world.table, "default")
    assert (found.cpu, found.memory) == (100, 100)


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(lambda world: update_service(world.cp, {"service": "api", "desiredCount": 0}), id="scaled-to-0"),
        pytest.param(lambda world: delete_service(world.cp, {"service": "api", "force": True}), id="deleted"),
    ],
)
def test_one_that_wants_nothing_any_more(world: World, full: str, ends: Any) -> None:
    serve(world, "api")
    ends(world)
    world.deliver()
    assert who_waits(world) == []


# --- events


@pytest.fixture(autouse=True)
def allowed(world: World) -> None:
    world.allow("events/my.app", "ecs:RunTask")


def event(**detail: Any) -> dict[str, Any]:
    return {
        "source": "my.app",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "time": "2026-01-01T00:00:00Z",
        "resources": [],
        "detail": {"taskDefinition": "web", "waitForCapacitySeconds": 600, **detail},
    }


def of_events(world: World, machine: str) -> int:
    return sum(
        (task.started_by or "").startswith("events-rule/")
        for task in tasks.of_instance(world.table, "default", machine)
    )


def failed(world: World) -> list[dict[str, Any]]:
    return [json.loads(each["Detail"]) for each in world.events.entries if each["DetailType"] == "Run Task Failed"]


def test_an_event_waits_for_room(world: World, full: str) -> None:
    run_task_for_event(world.cp, event())
    assert who_waits(world) == [event()["id"]]
    one_stops(world, full)
    world.deliver()
    assert of_events(world, full) == 1
    assert who_waits(world) == []
    assert waiting.load_event(world.table, event()["id"]) is None
    assert failed(world) == []


def test_an_event_without_a_time_to_wait_fails_at_once(world: World, full: str) -> None:
    asked = event()
    del asked["detail"]["waitForCapacitySeconds"]
    run_task_for_event(world.cp, asked)
    assert [each["failures"][0]["reason"] for each in failed(world)] == ["RESOURCE:CPU"]
    assert (who_waits(world), world.queues.given_up) == ([], [])


def test_an_event_waits_for_a_first_instance(world: World) -> None:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    run_task_for_event(world.cp, event())
    machine = world.machine()
    world.deliver()
    assert of_events(world, machine) == 1


def test_tasks_of_an_event_start_one_after_the_other_and_each_once(world: World, full: str) -> None:
    for stops in (1, 0, 1, 1):
        for _ in range(stops):
            one_stops(world, full)
        for _ in range(2):  # it comes twice
            run_task_for_event(world.cp, event(count=3))
        world.deliver()
        run_task_for_event(world.cp, event(count=3))
    assert of_events(world, full) == 3
    assert (who_waits(world), failed(world)) == ([], [])


def test_its_time_is_up(world: World, full: str) -> None:
    run_task_for_event(world.cp, event(count=2))
    one_stops(world, full)
    world.deliver()
    assert of_events(world, full) == 1
    world.minutes(11)
    [told] = failed(world)
    assert (told["requestId"], told["failures"][0]["reason"]) == (event()["id"], "RESOURCE:CPU")
    assert [json.loads(each) for each in world.queues.given_up] == [event(count=2)]
    assert who_waits(world) == []
    assert waiting.load_event(world.table, event()["id"]) is None


@pytest.mark.parametrize("seconds", [1, 900])
def test_its_time_is_up_to_the_second(world: World, full: str, seconds: int) -> None:
    run_task_for_event(world.cp, event(waitForCapacitySeconds=seconds))
    if seconds > 1:
        world.pass_time(seconds - 1)
        world.deliver()
    assert failed(world) == []
    world.pass_time(1)
    world.deliver()
    assert (len(failed(world)), len(world.queues.given_up), who_waits(world)) == (1, 1, [])


@pytest.mark.parametrize("seconds", [600, 901])
def test_a_time_whose_message_is_lost_or_too_long_for_one_ends_with_the_sweeper(
    world: World, full: str, seconds: int
) -> None:
    run_task_for_event(world.cp, event(waitForCapacitySeconds=seconds))
    assert len(world.queues.waiting_later) == (seconds <= 900)
    world.queues.waiting_later.clear()
    world.pass_time(seconds)
    world.deliver()
    assert failed(world) == []
    world.minutes(1)
    assert (len(failed(world)), len(world.queues.given_up), who_waits(world)) == (1, 1, [])


def test_a_replay_of_what_was_given_up_runs_what_is_left(world: World, full: str) -> None:
    test_its_time_is_up(world, full)
    one_stops(world, full)
    [given_up] = world.queues.given_up
    run_task_for_event(world.cp, json.loads(given_up))
    assert of_events(world, full) == 2
    assert len(failed(world)) == 1


def test_a_replay_on_the_last_day_of_the_dead_letters_starts_nothing_twice(world: World, full: str) -> None:
    """Of one that has waited for as long as one may: what it has started by then is remembered for as long."""
    run_task_for_event(world.cp, event(count=2, waitForCapacitySeconds=604_800))
    one_stops(world, full)
    world.deliver()
    assert of_events(world, full) == 1
    world.pass_time(604_800)
    world.minutes(1)
    [given_up] = world.queues.given_up
    world.pass_time(timedelta(days=14).total_seconds())
    for _ in range(3):
        one_stops(world, full)
    run_task_for_event(world.cp, json.loads(given_up))
    assert of_events(world, full) == 2


def test_the_sweeper_finds_room_that_nobody_told_of(world: World, full: str) -> None:
    run_task_for_event(world.cp, event())
    one_stops(world, full)
    world.table.stream.clear()
    world.minutes(1)
    assert of_events(world, full) == 1


def test_what_waits_is_refused_for_good_when_its_cluster_is_gone(world: World, full: str) -> None:
    run_task_for_event(world.cp, event())
    world.table.delete_many([keys.cluster("default")])
    world.minutes(1)
    assert [each["error"] for each in failed(world)] == ["ClusterNotFoundException"]
    assert (who_waits(world), world.queues.given_up) == ([], [])


@pytest.mark.parametrize("seconds", [0, 604_801, "60", 1.5, True], ids=str)
def test_a_time_to_wait_that_is_none(world: World, full: str, seconds: Any) -> None:
    run_task_for_event(world.cp, event(waitForCapacitySeconds=seconds))
    [told] = failed(world)
    assert told["error"] == "InvalidParameterException"
    assert told["message"] == "waitForCapacitySeconds is a whole number from 1 to 604800."


@pytest.mark.parametrize(
    ("resources", "started_by"),
    [
        pytest.param([], "events-rule/ecs-anywhere-run-task", id="by-the-stack's-rule"),
        pytest.param(
            ["arn:aws:scheduler:eu-west-1:123456789012:schedule/default/nightly"],
            "chronos-schedule/nightly",
            id="by-a-schedule",
        ),
        pytest.param(
            ["arn:aws:events:eu-west-1:123456789012:rule/another-bus/each-hour"],
            "events-rule/each-hour",
            id="by-a-rule-on-another-bus",
        ),
        pytest.param(
            ["arn:aws:s3:::bucket", "arn:aws:events:eu-west-1:123456789012:rule/a-name-that-is-longer-than-that"],
            "events-rule/a-name-that-is-longer-th",
            id="cut-as-amazon-ecs-cuts-it",
        ),
    ],
)
def test_started_by_and_group_of_a_task_that_an_event_starts(
    world: World, full: str, resources: list[str], started_by: str
) -> None:
    one_stops(world, full)
    run_task_for_event(world.cp, {**event(), "resources": resources})
    [found] = [task for task in tasks.of_instance(world.table, "default", full) if task.started_by]
    assert (found.started_by, found.group) == (started_by, "family:web")


def test_started_by_that_the_request_names(world: World, full: str) -> None:
    one_stops(world, full)
    run_task_for_event(world.cp, event(startedBy="me", group="mine"))
    [found] = [task for task in tasks.of_instance(world.table, "default", full) if task.started_by]
    assert (found.started_by, found.group) == ("me", "mine")
