"""What is to be done about a DAEMON service, instance by instance.

A fleet is drawn as one word an instance. Its first letter is the instance, its second one the task there:

    o  matches         .  none                      r  runs              R  runs, of the former deployment
    =  without room    p  has been told to start    u  is UNHEALTHY      P  told to start, of the former deployment
    x  does not match  s  has been told to stop     e  never ran and has ended
    ~  is away         d  is DRAINING               D  is DRAINING, with tasks of other services on it
    !  is away and does not match                   *  is away and DRAINING

The answer is one sign an instance: + a task starts, - its task stops, and . nothing is done.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.scheduling.daemon import DaemonPlan, Place, Step, plan_daemons
from control_plane.domain.scheduling.daemon_aftermath import may_stop
from control_plane.domain.scheduling.daemon_line import Line, total
from control_plane.domain.service import Deployment, DeploymentConfiguration, RolloutState, Service, ServiceStatus
from control_plane.domain.task import Task
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task, an_instance

S = TaskStatus
OLD, NEW = "ecs-svc/1", "ecs-svc/2"
CHECKS = {"agent:2": frozenset({"main"})}
STOPPED: dict[str, Any] = {"desired_status": DesiredStatus.STOPPED}

TASKS: dict[str, dict[str, Any]] = {
    "p": {},
    "r": {"last_status": S.RUNNING, "started_at": NOW},
    "u": {"last_status": S.RUNNING, "started_at": NOW},
    "s": {"last_status": S.RUNNING, "started_at": NOW, **STOPPED},
    "e": {"last_status": S.STOPPED, "stop_code": StopCode.TASK_FAILED_TO_START, **STOPPED},
    "R": {"last_status": S.RUNNING, "started_at": NOW, "deployment_id": OLD},
    "P": {"deployment_id": OLD},
}


def a_daemon(least: int = 0, **members: Any) -> Service:
    def deployment(name: str, state: RolloutState) -> Deployment:
        return Deployment(
            deployment_id=name, task_definition="agent:2", rollout_state=state, created_at=NOW, updated_at=NOW
        )

    return a_service(
        **{
            "name": "agent",
            "scheduling_strategy": "DAEMON",
            "task_definition": "agent:2",
            "deployment": deployment(NEW, RolloutState.IN_PROGRESS),
            "older": (deployment(OLD, RolloutState.COMPLETED),),
            "deployment_configuration": DeploymentConfiguration(minimum_healthy_percent=least, maximum_percent=100),
            "planned": True,
            **members,
        }
    )


def a_place(number: int, drawn: str, **of_line: Any) -> Place:
    where, what = drawn[0], drawn[1]
    instance_id = f"{number:032x}"
    task = _task(number, instance_id, what)
    status = InstanceStatus.DRAINING if where in "dD*" else InstanceStatus.ACTIVE
    line = Line(
        instance_id=instance_id,
        task_id=task.task_id if task else None,
        deployment_id=task.deployment_id if task else None,
        **of_line,
    )
    return Place(
        instance_id,
        line=line if task or of_line else None,
        task=task,
        instance=an_instance(instance_id=instance_id, agent_connected=where not in "~!*", status=status),
        matches=where in "o=~",
        lacks=("RESOURCE:MEMORY",) if where == "=" else (),
        others=where == "D",
    )


def _task(number: int, instance_id: str, what: str) -> Task | None:
    if what == ".":
        return None
    members = {"deployment_id": NEW, "task_definition": "agent:2", "instance_id": instance_id, **TASKS[what]}
    health = HealthStatus.UNHEALTHY if what == "u" else HealthStatus.HEALTHY
    report = ContainerReport(name="main", last_status=members.get("last_status", S.PENDING), health_status=health)
    return a_task(number, **members, containers=(report,))


def places(drawn: str) -> list[Place]:
    return [a_place(number, word) for number, word in enumerate(drawn.split(), start=1)]


def answer(planned: DaemonPlan, fleet: list[Place]) -> str:
    steps = {step.place.instance_id: step for step in planned.steps}

    def sign(place: Place) -> str:
        step = steps.get(place.instance_id)
        return "." if step is None else "+" if step.start else "-" if step.stop else "."

    return " ".join(sign(place) for place in fleet)


def looked_at(planned: DaemonPlan) -> list[datetime | None]:
    """When each of the places that change is looked at again, in their order."""
    steps = sorted(planned.steps, key=lambda step: step.place.instance_id)
    return [step.line.look_at if step.line else None for step in steps]


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        pytest.param("o. o. o.", "+  +  +", id="one-on-each"),
        pytest.param("op or or", ".  .  .", id="which-is-enough"),
        pytest.param("o. =. o.", "+  .  +", id="one-without-room-delays-no-other"),
        pytest.param("o. x. o.", "+  .  +", id="not-where-the-constraints-forbid-it"),
        pytest.param("or xr xp", ".  -  -", id="an-instance-that-stops-matching-loses-its-task"),
        pytest.param("~. ~r ~p", ".  .  .", id="nothing-is-done-where-nobody-hears"),
        pytest.param("!r *r !p", ".  .  .", id="nor-where-it-has-no-business-any-more"),
        pytest.param("d. dr Dr", ".  -  .", id="draining-it-is-the-last-to-go"),
        pytest.param("os oe or", ".  +  .", id="the-next-one-starts-when-the-last-has-stopped"),
        pytest.param("xs ds ~s", ".  .  .", id="what-is-told-to-stop-is-told-once"),
        pytest.param("ou or", "-  .", id="an-unhealthy-one-ends-first"),
        pytest.param("~u or", ".  .", id="health-on-a-machine-that-is-away-is-its-own-matter"),
        pytest.param("oR oR oP", "-  -  -", id="a-new-revision-replaces-all-at-once-by-default"),
        pytest.param("~R or", ".  .", id="but-none-on-a-machine-that-is-away"),
    ],
)
def test_what_is_done(drawn: str, expected: str) -> None:
    fleet = places(drawn)
    assert answer(plan_daemons(a_daemon(), fleet, NOW, checks=CHECKS), fleet) == " ".join(expected.split())


@pytest.mark.parametrize(
    ("least", "drawn", "expected"),
    [
        pytest.param(50, "oR oR oR oR", "-  -  .  .", id="half-may-be-down"),
        pytest.param(50, "oR oR oR", "-  .  .", id="rounded-in-favour-of-who-is-served"),
        pytest.param(50, "os op oR oR", ".  .  .  .", id="as-many-as-are-down"),
        pytest.param(50, "or or oR oR", ".  .  -  -", id="new-ones-that-are-healthy-relieve-old-ones"),
        pytest.param(50, "oR oP oR oR", "-  -  .  .", id="what-does-not-run-costs-nothing"),
        pytest.param(50, "oR", ".", id="none-may-be-down"),
        pytest.param(50, "oR oR =. =.", ".  .  .  .", id="those-without-room-are-down-too"),
        pytest.param(50, "oR oR xR", "-  .  -", id="what-does-not-match-is-not-counted"),
        pytest.param(50, "~R ~R oR oR", ".  .  -  -", id="what-runs-out-of-reach-is-counted"),
    ],
)
def test_within_the_bounds_of_a_deployment(least: int, drawn: str, expected: str) -> None:
    fleet = places(drawn)
    assert answer(plan_daemons(a_daemon(least), fleet, NOW, checks=CHECKS), fleet) == " ".join(expected.split())


@pytest.mark.parametrize(
    ("drawn", "stuck"),
    [
        pytest.param("oR", True, id="the-only-one-must-stay"),
        pytest.param("oR op", False, id="one-is-on-its-way"),
        pytest.param("or", False, id="nothing-is-left-to-do"),
    ],
)
def test_bounds_that_allow_no_step(drawn: str, stuck: bool) -> None:
    assert plan_daemons(a_daemon(99), places(drawn), NOW, checks=CHECKS).stuck is stuck


@pytest.mark.parametrize("drawn", ["o.", "or", "~r", "os", "oR"])
def test_a_deleted_service_starts_nothing_and_stops_all(drawn: str) -> None:
    fleet = places(drawn)
    ending = a_daemon(status=ServiceStatus.DRAINING)
    assert answer(plan_daemons(ending, fleet, NOW), fleet) == ("." if drawn in {"o.", "os"} else "-")


@pytest.mark.parametrize(("drawn", "expected"), [("oR", "."), ("o.", "."), ("or", ".")])
def test_what_a_failed_deployment_has_not_replaced_goes_on(drawn: str, expected: str) -> None:
    failed = a_daemon().deployment.model_copy(update={"rollout_state": RolloutState.FAILED})
    fleet = places(drawn)
    assert answer(plan_daemons(a_daemon(deployment=failed), fleet, NOW, checks=CHECKS), fleet) == expected


@pytest.mark.parametrize(
    ("drawn", "then"),
    [
        pytest.param("oR", "-", id="a-deployment-waits"),
        pytest.param("dr", "-", id="an-instance-is-not-emptied"),
        pytest.param("xr", "-", id="an-instance-that-matches-no-more-keeps-it"),
    ],
)
def test_a_protected_task_stays_until_its_protection_ends(drawn: str, then: str) -> None:
    [place] = places(drawn)
    assert place.task is not None
    until = NOW + timedelta(minutes=5)
    shielded = replace(place, task=place.task.model_copy(update={"protected_until": until}))
    now = plan_daemons(a_daemon(), [shielded], NOW, checks=CHECKS)
    assert (answer(now, [shielded]), looked_at(now), now.stuck) == (".", [until], False)
    assert answer(plan_daemons(a_daemon(), [shielded], until, checks=CHECKS), [shielded]) == then


def test_health_goes_before_protection() -> None:
    [place] = places("ou")
    assert place.task is not None
    shielded = replace(place, task=place.task.model_copy(update={"protected_until": NOW + timedelta(minutes=5)}))
    assert answer(plan_daemons(a_daemon(), [shielded], NOW, checks=CHECKS), [shielded]) == "-"


MEMORY, CPU = "RESOURCE:MEMORY", "RESOURCE:CPU"


@pytest.mark.parametrize(
    ("before", "now", "is_news", "fails"),
    [
        pytest.param({}, (MEMORY,), True, True, id="it-has-no-room"),
        pytest.param({"lacks": (MEMORY,)}, (MEMORY,), False, False, id="still-none"),
        pytest.param({"lacks": (MEMORY,)}, (MEMORY, CPU), False, False, id="even-less"),
        pytest.param({"lacks": (MEMORY,)}, (CPU,), True, False, id="something-else-is-short"),
        pytest.param({"lacks": (MEMORY,), "deployment_id": OLD}, (MEMORY,), True, True, id="for-the-next-revision"),
        pytest.param({"lacks": (MEMORY,)}, (), False, False, id="it-has-room"),
    ],
)
def test_a_shortage_is_said_once_and_is_one_failure_of_its_deployment(
    before: dict[str, Any], now: tuple[str, ...], is_news: bool, fails: bool
) -> None:
    """What an instance lacks changes with all that is on it: it alone must not trip the circuit breaker."""
    line = Line(**{"instance_id": f"{1:032x}", "deployment_id": NEW, "wanted": True, **before}) if before else None
    step = Step(Place(f"{1:032x}", line), Line(instance_id=f"{1:032x}", deployment_id=NEW, wanted=True, lacks=now))
    assert (step.newly_lacks, step.newly_short) == (is_news, fails)


def test_starts_that_fail_are_spaced_out_on_their_instance_alone() -> None:
    ended = a_place(1, "oe", failed_starts=2).line
    assert ended is not None
    fleet = [a_place(1, "oe", failed_starts=2), a_place(2, "oe", failed_starts=1), *places("o. o. o.")[2:]]
    planned = plan_daemons(a_daemon(), fleet, NOW)
    assert answer(planned, fleet) == ". + +"
    assert looked_at(planned) == [NOW + timedelta(seconds=10), None, None]


@pytest.mark.parametrize("drawn", ["oR oR oR oR", "or oR os o.", "op =. xr dr", "~r ou or oe"])
def test_one_instance_alone_is_decided_as_among_all(drawn: str) -> None:
    """With the sum over the others. Only which ones of several old tasks stop may differ."""
    fleet = places(drawn)
    everyone = plan_daemons(a_daemon(), fleet, NOW, checks=CHECKS)
    lines = {step.place.instance_id: step.line for step in everyone.steps}
    known = [Place(each.instance_id, lines.get(each.instance_id, each.line)) for each in fleet]
    alone = [
        answer(
            plan_daemons(
                a_daemon(),
                [place],
                NOW,
                elsewhere=total(each.line for each in known if each.line and each.instance_id != place.instance_id),
                checks=CHECKS,
            ),
            [place],
        )
        for place in fleet
    ]
    assert " ".join(alone) == answer(everyone, fleet)


@pytest.mark.parametrize(
    ("tally", "count"),
    [
        pytest.param({"wanted": 40, "healthy": 40}, 0, id="nothing-is-behind"),
        pytest.param({"wanted": 40, "healthy": 20, "behind": 20}, 0, id="none-may-be-down"),
        pytest.param({"wanted": 40, "healthy": 21, "behind": 9}, 1, id="one-more-may-be-down"),
        pytest.param({"wanted": 41, "healthy": 22, "behind": 9}, 1, id="rounded-in-favour-of-who-is-served"),
        pytest.param({"wanted": 40, "healthy": 40, "behind": 9}, 9, id="all-that-are-behind"),
        pytest.param({"wanted": 40, "healthy": 12, "behind": 9}, 0, id="more-are-down-than-may-be"),
    ],
)
def test_how_many_may_stop_that_nobody_has_named(tally: dict[str, int], count: int) -> None:
    assert may_stop(a_daemon(50, tally=tally)) == count
    assert may_stop(a_daemon(50, tally=tally, status=ServiceStatus.DRAINING)) == 0
