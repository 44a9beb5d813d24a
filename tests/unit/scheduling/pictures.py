"""A REPLICA service as a picture, and what is planned for it as words.

    a: 1+ 1> | b~: 2. | c%: 2-!      machines with their tasks; ~ is disconnected, % is DRAINING

A task is the number of its deployment (2 is PRIMARY, and 1 the one before it) and how it is:

    .  PENDING     ?  RUNNING, and its health is not known yet     >  RUNNING, and told to stop
    +  HEALTHY     -  UNHEALTHY                                    x  STOPPED before it ran     !  protected besides

Their definitions have a health check. What is planned names tasks by their machines: `start 1, stop a1+, ill b2-`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from control_plane.domain.scheduling.plan import ServicePlan, plan
from control_plane.domain.scheduling.standing import Connection
from control_plane.domain.service import CircuitBreaker, Deployment, DeploymentConfiguration, RolloutState, Service
from control_plane.domain.task import Task
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from unit.control_plane.builders import NOW, a_service, a_task

CHECKS = {"web:1": frozenset({"main"}), "web:2": frozenset({"main"})}
HEALTH = {"+": HealthStatus.HEALTHY, "-": HealthStatus.UNHEALTHY}


@dataclass(frozen=True)
class Picture:
    service: Service
    tasks: tuple[Task, ...]
    words: dict[str, str]
    """By task id, how it is drawn, with its machine."""
    connections: dict[str, Connection]

    def planned(self) -> ServicePlan:
        return plan(self.service, self.tasks, NOW, self.connections, checks=CHECKS)

    def told(self) -> str:
        planned = self.planned()
        found = [
            f"start {planned.start}" if planned.start else "",
            self._those("stop", planned.stop),
            self._those("ill", planned.sick),
            "stuck" if planned.stuck else "",
        ]
        return ", ".join(filter(None, found)) or "nothing"

    def _those(self, what: str, tasks: Iterable[Task]) -> str:
        names = sorted(self.words[task.task_id] for task in tasks)
        return " ".join([what, *names]) if names else ""


def drawn(wanted: str, machines: str, breaker: CircuitBreaker | None = None, **members: Any) -> Picture:
    """`wanted`: `2 at 100/200`, of which the percentages are the bounds; with a rollout state after it, if it is not
    IN_PROGRESS."""
    found = re.fullmatch(r"(\d+) at (\d+)/(\d+)(?: (\w+))?", wanted)
    assert found, wanted
    desired, least, most, state = found.groups()
    tasks: list[Task] = []
    words, connections = {}, {}
    for machine in machines.split("|"):
        name, marks, drawn_tasks = _machine(machine)
        connections[name * 32] = Connection("~" not in marks, NOW, NOW, draining="%" in marks)
        for word in drawn_tasks:
            tasks.append(_task(len(tasks) + 1, name * 32, word))
            words[tasks[-1].task_id] = name + word
    former, primary = (_deployment(number, state if number == 2 else "COMPLETED") for number in (1, 2))
    service = a_service(
        **{
            "desired_count": int(desired),
            "task_definition": primary.task_definition,
            "deployment": primary,
            "older": (former,) if " 1" in machines else (),
            "completed": former,
            "deployment_configuration": DeploymentConfiguration(
                minimum_healthy_percent=int(least), maximum_percent=int(most), circuit_breaker=breaker
            ),
            **members,
        }
    )
    return Picture(service, tuple(tasks), words, connections)


def _machine(text: str) -> tuple[str, str, list[str]]:
    found = re.fullmatch(r"\s*(\w)([~%]*):(.*)", text)
    assert found, text
    return found[1], found[2], found[3].split()


def _deployment(number: int, state: str | None) -> Deployment:
    return Deployment(
        deployment_id=f"ecs-svc/{number}",
        task_definition=f"web:{number}",
        rollout_state=RolloutState(state or "IN_PROGRESS"),
        created_at=NOW,
        updated_at=NOW,
    )


def _task(number: int, instance_id: str, word: str) -> Task:
    deployment, how, protected = word[0], word[1], word.endswith("!")
    status = {".": TaskStatus.PENDING, "x": TaskStatus.STOPPED}.get(how, TaskStatus.RUNNING)
    report = ContainerReport(name="main", last_status=status, health_status=HEALTH.get(how, HealthStatus.UNKNOWN))
    return a_task(
        number,
        instance_id=instance_id,
        deployment_id=f"ecs-svc/{deployment}",
        task_definition=f"web:{deployment}",
        last_status=status,
        desired_status=DesiredStatus.STOPPED if how in "x>" else DesiredStatus.RUNNING,
        started_at=NOW if status is TaskStatus.RUNNING else None,
        stop_code=StopCode.TASK_FAILED_TO_START if how == "x" else None,
        stopped_at=NOW if how == "x" else None,
        containers=(report,),
        protected_until=NOW + timedelta(minutes=5) if protected else None,
    )
