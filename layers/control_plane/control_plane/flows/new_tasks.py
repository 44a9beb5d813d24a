"""Tasks that are to start: what they ask of an instance, and the writes that make them. RunTask's and services'."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from control_plane.domain.container_instance import port_names
from control_plane.domain.gpus import wanted_gpus
from control_plane.domain.placement.place import Demand, Placed
from control_plane.domain.placement.rules import Strategy, parse_constraints
from control_plane.domain.reminders import Reminder, watching_command
from control_plane.domain.resources import Resources
from control_plane.domain.task import Awaiting, Task
from control_plane.domain.task_overrides import overridden, task_requirements, task_resources
from control_plane.flows.lookup import definition_name
from control_plane.runtime import ControlPlane
from control_plane.store import instance_resources, keys, tasks
from control_plane.store.table import Write
from ecs_protocol.capabilities import EXECUTE_COMMAND


def demand_of(
    definition: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    group: str,
    constraints: Sequence[Mapping[str, str]] = (),
    strategy: tuple[Strategy, ...] = (),
    execute_command: bool = False,
) -> Demand:
    """What one task of a definition asks of an instance, with the constraints of the request or service.

    Raises InvalidParameterException.
    """
    required = task_requirements(definition, overrides)
    return Demand(
        task_resources(definition, overrides),
        required | {EXECUTE_COMMAND} if execute_command else required,
        group,
        parse_constraints(constraints, definition.get("placementConstraints", ())),
        strategy,
        gpus=wanted_gpus(overridden(definition, overrides)),
    )


def new_task(
    cp: ControlPlane, cluster: str, placed: Placed, definition: dict[str, Any], demand: Demand, **members: Any
) -> Task:
    """A task that is to start on the instance that was chosen for it."""
    now = cp.clock()
    return Task(
        task_id=keys.task_id_on(placed.instance_id, cp.new_id()),
        cluster=cluster,
        instance_id=placed.instance_id,
        registration=placed.registration,
        task_definition=definition_name(definition),
        cpu=demand.resources.cpu,
        memory=demand.resources.memory,
        ports=tuple(sorted(port_names(demand.resources))),
        gpu_ids=dict(placed.gpu_ids),
        awaiting=Awaiting.START,
        awaiting_since=now,
        created_at=now,
        updated_at=now,
        **members,
    )


def placing(new_tasks: Sequence[Task], placed: Iterable[Placed], now: datetime) -> list[Write]:
    """The writes that create tasks and take what they need: one for each task and one for each instance.

    `placed`: what was decided, with what the decision rests on.
    """
    believed = {each.instance_id: each.believed for each in placed}
    by_instance: dict[tuple[str, str, int], list[Resources]] = defaultdict(list)
    for task in new_tasks:
        by_instance[task.cluster, task.instance_id, task.registration].append(task.resources)
    takes = [
        instance_resources.taken(cluster, instance_id, registration, wanted, now, believed=believed.get(instance_id))
        for (cluster, instance_id, registration), wanted in by_instance.items()
    ]
    return [tasks.placed(task) for task in new_tasks] + takes


def watching(new_tasks: Sequence[Task]) -> list[Reminder]:
    """What watches over the start of each, to be stored before they are."""
    starts = [watching_command(task.cluster, task.instance_id, task.created_at) for task in new_tasks]
    return list(dict.fromkeys(starts))
