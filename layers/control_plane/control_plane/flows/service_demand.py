"""From what a service's next task is made, and what it asks of an instance."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from control_plane.domain.placement.place import Demand
from control_plane.domain.placement.rules import SERVICE_DEFAULT, parse_strategy
from control_plane.domain.service import Service
from control_plane.domain.waiting import Waiting, waiting
from control_plane.flows.new_tasks import demand_of
from control_plane.flows.tasks_to_be import definition_for
from control_plane.runtime import ControlPlane


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
