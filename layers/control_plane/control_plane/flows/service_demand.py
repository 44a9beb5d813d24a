"""From what a service's next task is made, what it asks of an instance, and who waits in vain for one that has it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from control_plane.domain.placement.place import Demand
from control_plane.domain.placement.rules import SERVICE_DEFAULT, parse_strategy
from control_plane.domain.scheduling.plan import ServicePlan
from control_plane.domain.service import Service
from control_plane.domain.waiting import Waiting, waiting
from control_plane.flows.new_tasks import demand_of
from control_plane.flows.tasks_to_be import definition_for
from control_plane.runtime import ControlPlane
from control_plane.store import waiting as store
from control_plane.store.table import Write


def definition_of_service(cp: ControlPlane, service: Service) -> dict[str, Any]:
    """From which its next task is made; with its tags as they are now, if tasks get them."""
    return definition_for(cp, service, service.task_definition, with_tags=service.propagate_tags == "TASK_DEFINITION")


def demand_of_service(service: Service, definition: Mapping[str, Any]) -> Demand:
    """What its next task asks of an instance."""
    return demand_of(
        definition,
        {},
        group=f"service:{service.name}",
        constraints=service.placement_constraints,
        strategy=parse_strategy(service.placement_strategy) or SERVICE_DEFAULT,
        execute_command=bool(service.execute_command),
    )


def waits_for_room(service: Service, demand: Demand, lacked: Mapping[str, int], now: datetime) -> Waiting:
    """What it, or its task set, could not start. `lacked`: how many instances refused for each reason."""
    return waiting(
        demand,
        lacked,
        cluster=service.cluster,
        since=service.waiting_since or now,
        service=service.name,
        task_set=service.deployment.deployment_id if service.external else None,
    )


Parts = Sequence[tuple[Service, ServicePlan]]
"""The service, or it as each of its task sets sees it."""
Waits = Mapping[str, Waiting | None]
"""By deployment or task set, what it could not place; None: nothing. Who is not in it was not tried."""


def who_waits(cp: ControlPlane, service: Service, parts: Parts, waits: Waits, now: datetime) -> list[Write]:
    """A shortage begins or ends, or what is wanted, or lacked, has changed meanwhile."""
    if any(waits.values()):
        store.note(cp.table, service.cluster, now)
    writes: list[Write] = []
    for whose, _ in parts:
        if whose.deployment.deployment_id not in waits:
            continue
        wanted = waits[whose.deployment.deployment_id]
        if wanted is not None and not (whose.waiting_since and store.is_said(cp.table, wanted)):
            writes.append(store.begun(wanted))
        elif wanted is None and whose.waiting_since is not None:
            task_set = whose.deployment.deployment_id if service.external else None
            since = whose.waiting_since
            writes.append(store.ended(service.cluster, since, service=service.name, task_set=task_set))
    return writes


def begins_to_wait(parts: Parts, waits: Waits) -> bool:
    """Whether one of them has not waited before."""
    return any(waits.get(whose.deployment.deployment_id) and whose.waiting_since is None for whose, _ in parts)
