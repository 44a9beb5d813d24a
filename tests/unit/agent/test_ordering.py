"""In which order the containers of a task start and stop, and what becomes of one that waits in vain."""

from typing import Any

import pytest

from ecs_anywhere_agent.container_order import ordered
from ecs_anywhere_agent.core import Rules, State
from ecs_anywhere_agent.core.events import Attempt, ContainerChanged
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_protocol.messages import TaskReport
from ecs_protocol.statuses import HealthStatus, StopCode, TaskStatus
from unit.agent.world import Cloud, CrashedError, Machine, task_id

HEALTHY, UNHEALTHY = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY
PENDING, RUNNING, STOPPED = TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.STOPPED
CHECK = {"healthCheck": {"command": ["CMD", "true"]}}


def container(name: str, *depends_on: tuple[str, str], **members: Any) -> dict[str, Any]:
    dependencies = [{"containerName": other, "condition": condition} for other, condition in depends_on]
    return {"name": name, "image": name, "memory": 8, "dependsOn": dependencies, **members}


def machine(*containers: dict[str, Any], rules: Rules | None = None, **members: Any) -> Machine:
    """With one task of these containers that is told to run."""
    definition = {"family": "web", "revision": 1, "containerDefinitions": list(containers)}
    made = Machine(Cloud(definition=definition), rules)
    made.boot()
    made.connect()
    made.drain()
    made.deliver(made.cloud.run(1, **members))
    made.settle(3)
    return made


def ref(name: str) -> ContainerRef:
    return ContainerRef(task_id(1), name)


def end(made: Machine, name: str, code: int = 0) -> None:
    made.take(ContainerChanged(made.runtime.end(ref(name), code)))
    made.settle(3)


def feel(made: Machine, name: str, health: HealthStatus) -> None:
    made.runtime.containers[ref(name)].health = health
    made.take(ContainerChanged(made.runtime.snapshot(ref(name))))
    made.settle(3)


def report(made: Machine) -> TaskReport:
    found = made.cloud.tasks[task_id(1)].report
    assert found is not None
    return found


def reason(made: Machine, name: str) -> str | None:
    return next(each.reason for each in report(made).containers if each.name == name)


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        pytest.param("COMPLETE", 3, id="complete-whatever-its-exit-code"),
        pytest.param("COMPLETE", 0, id="complete"),
        pytest.param("SUCCESS", 0, id="success"),
    ],
)
def test_a_container_waits_for_the_end_of_another(condition: str, code: int) -> None:
    made = machine(container("app", ("init", condition)), container("init", essential=False))
    assert (made.runtime.begun, report(made).last_status) == (["start init"], PENDING)
    end(made, "init", code)
    assert (made.runtime.begun, report(made).last_status) == (["start init", "start app"], RUNNING)


def test_a_container_waits_till_another_is_healthy() -> None:
    made = machine(container("app", ("db", "HEALTHY")), container("db", **CHECK))
    feel(made, "db", UNHEALTHY)
    assert made.runtime.begun == ["start db"]
    feel(made, "db", HEALTHY)
    assert (made.runtime.begun, report(made).last_status) == (["start db", "start app"], RUNNING)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"dependsOn": [{"containerName": "db", "condition": "START"}]}, id="said"),
        pytest.param({"links": ["db:store"]}, id="linked"),
        pytest.param({"volumesFrom": [{"sourceContainer": "db"}]}, id="with-its-volumes"),
    ],
)
def test_containers_start_after_what_they_need_and_stop_before_it(members: dict[str, Any]) -> None:
    made = machine({**container("app"), **members}, container("db"))
    assert made.runtime.begun == ["start db", "start app"]
    made.deliver(made.cloud.stop(1))
    made.settle(3)
    assert made.runtime.begun[2:] == ["stop app", "stop db"]
    assert report(made).last_status is STOPPED


def test_what_does_not_stop_keeps_what_it_depends_on_until_it_is_killed() -> None:
    made = machine(container("app", ("db", "START"), stopTimeout=10), container("db", stopTimeout=10))
    made.runtime.obedient = False
    made.deliver(made.cloud.stop(1))
    made.settle(9)
    assert made.runtime.begun[2:] == ["stop app"]
    made.settle(2)
    assert made.runtime.begun[2:] == ["stop app", "stop app", "stop db"]
    made.settle(11)
    assert report(made).last_status is STOPPED


def test_who_has_run_has_started() -> None:
    """It may have ended before the one that waits for it was made."""
    made = machine(
        container("app", ("init", "START"), ("db", "HEALTHY")), container("init", essential=False), container("db")
    )
    end(made, "init")
    feel(made, "db", HEALTHY)
    assert made.runtime.begun == ["start init", "start db", "start app"]


@pytest.mark.parametrize(
    ("condition", "failures", "ends_with", "why"),
    [
        pytest.param("SUCCESS", {}, 3, "it has ended with exit code 3", id="success-that-is-none"),
        pytest.param("HEALTHY", {}, 0, "it has ended with exit code 0", id="health-of-what-has-ended"),
        pytest.param("START", {"other": Attempt.START}, None, "it did not run", id="start-that-fails"),
        pytest.param("COMPLETE", {"other": Attempt.PULL}, None, "it did not run", id="end-of-what-never-was"),
    ],
)
@pytest.mark.parametrize("essential", [True, False])
def test_what_waits_in_vain_ends_and_if_it_is_essential_its_task(
    condition: str, failures: dict[str, Attempt], ends_with: int | None, why: str, essential: bool
) -> None:
    made = Machine(Cloud())
    made.runtime.failures = failures
    made.cloud.definition = {
        "family": "web",
        "revision": 1,
        "containerDefinitions": [
            container("waits", ("other", condition), essential=essential),
            container("other", essential=False, **CHECK),
            container("main"),
        ],
    }
    made.boot()
    made.connect()
    made.drain()
    made.deliver(made.cloud.run(1))
    made.settle(3)
    if ends_with is not None:
        end(made, "other", ends_with)
    names = f"container ordering dependency [other: {condition}] for target [waits]"
    assert reason(made, "waits") == f"dependency graph: failed to resolve {names}: {why}"
    if essential:
        assert (report(made).last_status, report(made).stop_code) == (STOPPED, StopCode.TASK_FAILED_TO_START)
    else:
        assert report(made).last_status is RUNNING


def test_a_container_gives_up_after_the_start_timeout_of_the_other() -> None:
    made = machine(container("app", ("db", "HEALTHY")), container("db", startTimeout=60, essential=False, **CHECK))
    made.settle(56)
    assert report(made).last_status is PENDING
    made.settle(2)
    assert (report(made).last_status, report(made).stop_code) == (STOPPED, StopCode.TASK_FAILED_TO_START)
    assert reason(made, "app") == (
        "dependency graph: container ordering dependency [db: HEALTHY] for target [app] has timed out."
    )


def test_a_start_timeout_goes_on_over_a_restart_of_the_agent() -> None:
    made = machine(container("app", ("db", "HEALTHY")), container("db", startTimeout=60, essential=False, **CHECK))
    made.settle(30)
    made.boot()
    made.connect()
    made.settle(26)
    assert report(made).last_status is PENDING
    made.settle(4)
    assert report(made).last_status is STOPPED


@pytest.mark.parametrize("upfront", [True, False])
def test_images_are_pulled_when_it_is_a_containers_turn_unless_the_machine_says_upfront(upfront: bool) -> None:
    made = machine(
        container("app", ("init", "SUCCESS")),
        container("init", essential=False),
        rules=Rules(pull_upfront=upfront),
    )
    phases = {each.name: each.phase for each in made.state.tasks[task_id(1)].containers}
    assert phases == {"app": "PULLED" if upfront else "WAITING", "init": "RUNNING"}
    end(made, "init")
    assert report(made).last_status is RUNNING


def test_its_own_restart_policy_asks_nobody() -> None:
    policy = {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}}
    made = machine(container("app", ("db", "HEALTHY"), **policy), container("db", **CHECK))
    feel(made, "db", HEALTHY)
    made.settle(60)
    feel(made, "db", UNHEALTHY)
    end(made, "app", 1)
    assert made.runtime.begun == ["start db", "start app", "restart app"]


def test_what_a_restart_policy_begins_again_is_not_complete() -> None:
    policy = {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60, "ignoredExitCodes": [0]}}
    made = machine(container("app", ("init", "COMPLETE")), container("init", essential=False, **policy))
    made.settle(60)
    end(made, "init", 1)
    assert made.runtime.begun == ["start init", "restart init"]
    end(made, "init", 0)
    assert made.runtime.begun == ["start init", "restart init", "start app"]


def test_cut_off_containers_stop_and_start_again_in_order() -> None:
    made = machine(
        container("app", ("db", "HEALTHY"), ("init", "SUCCESS")),
        container("db", **CHECK),
        container("init", essential=False),
        restart="offline",
    )
    end(made, "init")
    feel(made, "db", HEALTHY)
    made.disconnect()
    made.runtime.begun.clear()
    end(made, "app", 3)
    assert made.runtime.begun == ["stop db", "restart db", "restart init"]
    end(made, "init")
    feel(made, "db", HEALTHY)
    assert made.runtime.begun == ["stop db", "restart db", "restart init", "restart app"]


def told(made: Machine) -> dict[str, TaskStatus]:
    return {each.name: each.last_status for each in report(made).containers}


def test_what_waits_to_start_again_is_not_told_to_run() -> None:
    made = machine(container("app", ("db", "HEALTHY")), container("db", startTimeout=60, **CHECK), restart="offline")
    feel(made, "db", HEALTHY)
    made.disconnect()
    end(made, "app", 3)
    made.connect()
    made.settle(3)
    assert (report(made).last_status, told(made)) == (RUNNING, {"app": PENDING, "db": RUNNING})
    made.settle(60)
    assert (report(made).last_status, told(made)) == (STOPPED, {"app": STOPPED, "db": STOPPED})


def test_cut_off_what_has_never_started_is_made_at_its_turn() -> None:
    made = machine(container("app", ("db", "HEALTHY")), container("db", startTimeout=60, **CHECK), restart="offline")
    made.disconnect()
    made.settle(62)
    assert made.runtime.begun == ["start db", "stop db", "restart db"]
    feel(made, "db", HEALTHY)
    made.connect()
    made.settle(3)
    assert made.runtime.begun[3:] == ["start app"]
    assert (report(made).last_status, told(made)) == (RUNNING, {"app": RUNNING, "db": RUNNING})


def test_without_its_state_the_agent_still_stops_containers_in_order() -> None:
    made = machine(container("app", ("db", "START")), container("db"))
    made.disconnect()
    made.stored = State()
    made.boot()
    made.connect()
    made.settle(3)
    made.deliver(made.cloud.stop(1))
    made.settle(3)
    assert made.runtime.begun[2:] == ["stop app", "stop db"]


def run_and_stop(made: Machine) -> None:
    made.boot()
    made.connect()
    made.drain()
    made.deliver(made.cloud.run(1))
    made.settle(3)
    end(made, "init")
    feel(made, "db", HEALTHY)
    made.deliver(made.cloud.stop(1))
    made.settle(3)


def ordered_machine(crash_at: int | None = None) -> Machine:
    definition = {
        "family": "web",
        "revision": 1,
        "containerDefinitions": [
            container("app", ("db", "HEALTHY"), ("init", "SUCCESS")),
            container("db", **CHECK),
            container("init", essential=False),
        ],
    }
    made = Machine(Cloud(definition=definition))
    made.crash_at = crash_at
    return made


def points() -> int:
    made = ordered_machine()
    run_and_stop(made)
    return made.points


@pytest.mark.parametrize("crash_at", range(1, points() + 1))
def test_killed_at_any_point_the_agent_goes_on_in_order(crash_at: int) -> None:
    made = ordered_machine(crash_at)
    with pytest.raises(CrashedError):
        run_and_stop(made)
    made.crash_at = None
    made.boot()
    made.connect()
    made.settle(3)
    if task_id(1) not in made.cloud.tasks:
        made.deliver(made.cloud.run(1))
    for number in made.cloud.unanswered():
        made.deliver(made.cloud.again(number))
    made.settle(3)
    for name in ("init", "db"):
        if ref(name) in made.runtime.containers:
            end(made, "init")
            feel(made, "db", HEALTHY)
    if report(made).last_status is not STOPPED:
        made.deliver(made.cloud.stop(1))
    made.settle(3)
    assert report(made).last_status is STOPPED
    begun = list(dict.fromkeys(made.runtime.begun))
    assert [each for each in begun if each.startswith("start")] in (
        ["start db", "start init", "start app"],
        ["start db", "start init"],
        [],
    )
    stops = [each for each in begun if each.startswith("stop")]
    assert stops in (["stop app", "stop db"], ["stop db"], [])


@pytest.mark.parametrize(
    ("edges", "order"),
    [
        pytest.param({"a": [], "b": []}, ("a", "b"), id="as-given"),
        pytest.param({"a": ["b"], "b": []}, ("b", "a"), id="after-what-it-needs"),
        pytest.param({"a": ["b", "gone"], "b": ["gone"]}, ("b", "a"), id="what-is-not-there-is-not-waited-for"),
        pytest.param({"a": ["c"], "b": [], "c": ["b"]}, ("b", "c", "a"), id="a-chain"),
        pytest.param({"a": ["b"], "b": ["a"]}, None, id="a-circle"),
    ],
)
def test_the_order(edges: dict[str, list[str]], order: tuple[str, ...] | None) -> None:
    assert ordered(edges) == order


def test_links_volumes_and_dependencies_that_make_a_circle_together_never_start() -> None:
    made = machine({**container("app"), "links": ["db"]}, container("db", ("app", "START")))
    assert (report(made).last_status, made.runtime.begun) == (STOPPED, [])
    assert report(made).stopped_reason == ("Task failed to start: its containers depend on each other in a circle")
