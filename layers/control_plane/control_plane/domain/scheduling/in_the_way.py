"""Which of a service's own tasks have the room that its next one lacks. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.gpus import has_gpus
from control_plane.domain.placement.filters import DISTINCT_INSTANCE, Demand, give_back
from control_plane.domain.placement.place import Unplaced
from control_plane.domain.scheduling.plan import ServicePlan
from control_plane.domain.task import Task
from ecs_protocol.statuses import DesiredStatus


def in_the_way(
    some: Iterable[Task],
    demand: Demand,
    unplaced: Unplaced,
    *,
    of_service: Sequence[Task],
    instances: Mapping[str, ContainerInstance | None],
) -> list[Task]:
    """Those whose end alone would let their instance take what none could. `of_service`: all that have not stopped."""

    def gives_room(task: Task) -> bool:
        instance, reasons = instances.get(task.instance_id), unplaced.refusals.get(task.instance_id, ())
        if instance is None or not reasons or not all(_is_of_tasks(reason) for reason in reasons):
            return False
        if DISTINCT_INSTANCE in reasons:
            return _is_alone(task, of_service) and _has_room(give_back(instance, task.resources), demand)
        return not _has_room(instance, demand) and _has_room(give_back(instance, task.resources), demand)

    return [task for task in some if gives_room(task)]


def make_way(planned: ServicePlan, there: Sequence[Task]) -> ServicePlan:
    """The plan once nothing could be started, as only the tasks that are `there` have the room.

    Of unhealthy ones one ends first, and then the next. For one of a former deployment a number has to be changed.
    """
    if not planned.leaving and (sick := [task for task in planned.ailing if task in there]):
        ailing = tuple(task for task in planned.ailing if task is not sick[0])
        return replace(planned, sick=(*planned.sick, sick[0]), ailing=ailing)
    if planned.at_rest and any(task in there for task in planned.former):
        return replace(planned, stuck=True, crowded=True)
    return planned


def _has_room(instance: ContainerInstance, demand: Demand) -> bool:
    return instance.can_take(demand.resources) and (not demand.gpus or has_gpus(instance, demand.gpus))


def _is_of_tasks(reason: str) -> bool:
    """Whether it is tasks on the instance that keep others from it, and no setting of it."""
    return reason.startswith("RESOURCE") or reason == DISTINCT_INSTANCE


def _is_alone(task: Task, of_service: Iterable[Task]) -> bool:
    """Whether no other of its service is to run there."""
    return not any(
        other.instance_id == task.instance_id
        and other.task_id != task.task_id
        and other.desired_status is DesiredStatus.RUNNING
        for other in of_service
    )
