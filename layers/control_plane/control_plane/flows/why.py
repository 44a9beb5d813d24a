"""Why does it not run? What is known of a task, a service, or a `Run Task` event that waits.

Of a service or an event the decision is made anew, for one task, and not carried out: so the answer is true now, and
nothing needs to be stored with each decision.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.place import Demand, Unplaced
from control_plane.domain.scheduling.task_sets import who_asks
from control_plane.domain.service import Service, ServiceStatus
from control_plane.domain.task import Task
from control_plane.domain.task_description import describe_task
from control_plane.domain.waiting import WaitingEvent
from control_plane.flows.choose_instances import choose_instances
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.require_roles import refusal_of_roles
from control_plane.flows.run_task_event import demand_of_event
from control_plane.flows.service_demand import definition_of_service, demand_of_service
from control_plane.flows.tasks import definition_of, looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import instances, services, tasks, waiting

EVENTS = 10
"""Of a service."""

EXAMPLES = 3
"""Instances that are named for each reason."""


def why(cp: ControlPlane, cluster_name: str, name: str) -> dict[str, Any]:
    """`name`: of a task or a service, its ARN, or the id of a `Run Task` event that waits.

    Answers {kind, …}; `placement` is {placeable, instances, refusals, closest}. Raises ClusterNotFoundException, and
    InvalidParameterException if there is nothing of that name.
    """
    cluster = require_cluster(cp, cluster_name)
    named = identifier(name, cluster)
    task = tasks.load(cp.table, cluster.name, named) if looks_like_an_id(named) else None
    if task is not None:
        return _of_task(cp, task)
    service = services.load(cp.table, cluster.name, named)
    if service is not None and service.status is not ServiceStatus.INACTIVE:
        return _of_service(cp, service)
    event = waiting.load_event(cp.table, named)
    if event is not None and event.cluster == cluster.name:
        return _of_event(cp, event)
    raise InvalidParameterException(
        f"There is no task, service or waiting Run Task event {named} in cluster {cluster.name}."
    )


def _of_task(cp: ControlPlane, task: Task) -> dict[str, Any]:
    instance = None if task.stopped else instances.load(cp.table, task.cluster, task.instance_id)
    described = describe_task(task, definition_of(cp, task), cp.arns, instance=instance)
    return {"kind": "task", "task": _plain(described)}


def _of_service(cp: ControlPlane, service: Service) -> dict[str, Any]:
    held = [task for _, task in services.list_of(cp.table, service).values() if task is not None and not task.stopped]
    whose = who_asks(service) if service.external else service
    if whose is None:
        raise InvalidParameterException(f"Service {service.name} has no task sets, so that nothing of it is to run.")
    definition = definition_of_service(cp, whose)
    demand = demand_of_service(whose, definition)
    if service.is_daemon:  # one more is to go only where none is
        demand = replace(demand, constraints=replace(demand.constraints, distinct=True))
    else:
        demand = replace(demand, after_daemons_at=cp.clock())
    found = services.events(cp.table, service.cluster, service.name, limit=EVENTS)
    return {
        "kind": "service",
        "service": _plain(
            {
                "serviceArn": cp.arns.service(service.cluster, service.name),
                "desiredCount": service.desired_count,
                "runningCount": service.running_count,
                "pendingCount": service.pending_count,
                "rolloutState": _state(service),
                "waitingSince": whose.waiting_since,
                "notBefore": whose.not_before,
                "refusal": None if service.is_daemon else refusal_of_roles(cp, service.cluster, definition, {}),
            }
        ),
        "placement": _placement(cp, service.cluster, demand, of_service=held),
        "events": _plain([{"createdAt": each.created_at, "message": each.message} for each in found]),
    }


def _state(service: Service) -> str:
    if service.external:
        return "STEADY_STATE" if service.steady else "STABILIZING"
    return str(service.deployment.rollout_state)


def _of_event(cp: ControlPlane, event: WaitingEvent) -> dict[str, Any]:
    return {
        "kind": "event",
        "event": _plain(
            {
                "requestId": event.request_id,
                "waitingSince": event.since,
                "waitsUntil": event.until,
                "placedCount": event.placed,
            }
        ),
        "placement": _placement(cp, event.cluster, demand_of_event(cp, json.loads(event.event))),
    }


def _placement(
    cp: ControlPlane, cluster: str, demand: Demand, of_service: Sequence[Task] | None = None
) -> dict[str, Any]:
    """Where one task more would go now, or why nowhere."""
    [answer] = choose_instances(cp, cluster, demand, 1, fresh=True, of_service=of_service)
    if not isinstance(answer, Unplaced):
        return {"placeable": True, "containerInstance": answer.instance_id}
    return {
        "placeable": False,
        "instances": len(answer.refusals),
        "refusals": _table(answer),
        "closest": answer.closest
        and {
            "containerInstance": answer.closest,
            "reasons": list(answer.refusals[answer.closest]),
            "lacks": list(answer.lacks[answer.closest]),
        },
    }


def _table(unplaced: Unplaced) -> list[dict[str, Any]]:
    """{reason, count, containerInstances} of each, the most frequent first, with the closest of the instances."""
    refusing: dict[str, list[str]] = defaultdict(list)
    for instance_id, reasons in unplaced.refusals.items():
        for reason in reasons:
            refusing[reason].append(instance_id)
    return [
        {"reason": reason, "count": count, "containerInstances": refusing[reason][:EXAMPLES]}
        for reason, count in unplaced.counted.items()
    ]


def _plain(described: Any) -> Any:
    """In JSON's own types, without what is not known."""
    return json.loads(json.dumps(described, default=lambda moment: moment.isoformat(timespec="seconds")))
