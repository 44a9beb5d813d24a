"""What a service's users read of it: the lines of DescribeServices' events, some of which go to EventBridge. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.placement.place import Unplaced
from control_plane.domain.scheduling.plan import ServicePlan
from control_plane.domain.scheduling.rollout import FAILED
from control_plane.domain.scheduling.task_sets import TaskSetsPlan
from control_plane.domain.service import Deployment, RolloutState, Service, ServiceEvent
from control_plane.domain.service_description import rollout_reason
from control_plane.domain.tags import absence_of
from control_plane.domain.task import Task
from control_plane.domain.task_set import TaskSet

NewId = Callable[[], str]


def told(service: Service, message: str, *, now: datetime, new_id: NewId, **members: Any) -> ServiceEvent:
    return ServiceEvent(
        event_id=new_id(),
        cluster=service.cluster,
        service=service.name,
        created_at=now,
        message=f"(service {service.name}{_task_set(service)}) {message}",
        **members,
    )


def in_order(events: Sequence[ServiceEvent]) -> list[ServiceEvent]:
    """Those of one commit, a millisecond apart, since they are read by their times."""
    return [
        event.model_copy(update={"created_at": event.created_at + timedelta(milliseconds=number)})
        for number, event in enumerate(events)
    ]


def _task_set(service: Service) -> str:
    """If it is the service as a task set sees it."""
    task_set_id = service.deployment.deployment_id if service.external else ""
    return f", taskSet {task_set_id}" if task_set_id else ""


UNHEALTHY = "Task failed container health checks"
"""The stoppedReason of a task that is stopped for its health."""


def scaling_activity(service: Service, task: Task) -> str:
    """Why a task that is too much, or of a former deployment, is stopped: its stoppedReason."""
    whose = f"deployment {service.deployment.deployment_id}"
    if service.external:
        whose = f"taskSet {task.deployment_id}" if task.deployment_id else f"service {service.name}"
    return f"Scaling activity initiated by ({whose})"


def _action(service: Service, message: str, name: str, *, now: datetime, new_id: NewId, **members: Any) -> ServiceEvent:
    return told(service, message, now=now, new_id=new_id, detail_type="ECS Service Action", event_name=name, **members)


def started(service: Service, new: Collection[Task], *, now: datetime, new_id: NewId) -> ServiceEvent:
    return told(service, f"has started {len(new)} tasks: {_names(new)}.", now=now, new_id=new_id)


def stopped(service: Service, gone: Collection[Task], *, now: datetime, new_id: NewId) -> ServiceEvent:
    return told(service, f"has stopped {len(gone)} running tasks: {_names(gone)}.", now=now, new_id=new_id)


def _names(tasks: Iterable[Task]) -> str:
    return " ".join(f"(task {task.task_id})" for task in tasks)


def unhealthy(service: Service, task: Task, *, now: datetime, new_id: NewId) -> ServiceEvent:
    return told(service, f"(task {task.task_id}) failed container health checks.", now=now, new_id=new_id)


def _steady(service: Service, name: str, now: datetime, new_id: NewId) -> ServiceEvent:
    return _action(service, "has reached a steady state.", name, now=now, new_id=new_id)


def of_plan(
    service: Service, planned: ServicePlan, *, steady: bool, now: datetime, new_id: NewId
) -> list[ServiceEvent]:
    """What has changed since the service was last looked at, each said once."""
    parts = planned.parts if isinstance(planned, TaskSetsPlan) else ()
    bound = next((part.service for part in parts if part.plan.stuck), service)
    found = [
        _missed(service, planned, now, new_id) if planned.missed > service.missed_count else None,
        _held(service, planned, now, new_id) if planned.held > service.held_count else None,
        *(unhealthy(service, task, now=now, new_id=new_id) for task in planned.sick),
        _stuck(bound, now, new_id, crowded=planned.crowded) if planned.stuck and not service.stuck else None,
        _protected(service, planned, now, new_id) if planned.protected and not service.protected_count else None,
        _steady(service, "SERVICE_STEADY_STATE", now, new_id) if steady and not service.steady else None,
        _impaired(service, now, new_id) if planned.not_before is not None and service.not_before is None else None,
    ]
    return [event for event in found if event is not None]


def of_task_sets(
    planned: TaskSetsPlan, after: Sequence[TaskSet], *, now: datetime, new_id: NewId
) -> list[ServiceEvent]:
    """What has changed of each since it was last looked at."""
    now_steady = {each.task_set_id for each in after if each.steady}
    found: list[ServiceEvent] = []
    for part in planned.parts:
        before = part.task_set
        if before is None:
            continue
        if before.task_set_id in now_steady and not before.steady:
            found.append(_steady(part.service, "TASKSET_STEADY_STATE", now, new_id))
        if part.plan.not_before is not None and before.not_before is None:
            found.append(_impaired(part.service, now, new_id))
    return found


def of_daemons(before: Service, after: Service, *, now: datetime, new_id: NewId) -> list[ServiceEvent]:
    """What has become of a DAEMON service with a commit, each said once."""
    found = []
    if after.stuck and not before.stuck:
        found.append(_stuck(after, now, new_id))
    if after.steady and not before.steady:
        found.append(_steady(after, "SERVICE_STEADY_STATE", now, new_id))
    was, is_now = before.deployment, after.deployment
    if (was.deployment_id, was.rollout_state) != (is_now.deployment_id, is_now.rollout_state):
        found += of_deployments(before, after, now=now, new_id=new_id)
    return found


def of_deployments(before: Service, after: Service, *, now: datetime, new_id: NewId) -> list[ServiceEvent]:
    """That the PRIMARY deployment has reached its end, and which one takes its place."""
    everyone = (after.deployment, *after.older)
    ended = next((each for each in everyone if each.deployment_id == before.deployment.deployment_id), None)
    found = [] if ended is None else [of_deployment(after, ended, now=now, new_id=new_id)]
    if after.deployment.deployment_id != before.deployment.deployment_id:
        found.append(of_deployment(after, after.deployment, now=now, new_id=new_id))
    return found


def of_deployment(service: Service, deployment: Deployment, *, now: datetime, new_id: NewId) -> ServiceEvent:
    state = deployment.rollout_state
    why = ": tasks failed to start" if deployment.rollout_reason == FAILED else ""
    message = f"(deployment {deployment.deployment_id}) deployment {state.words}{why}."
    if state is RolloutState.IN_PROGRESS and deployment.rollout_reason is not None:
        message = f"rolling back to deployment {deployment.deployment_id}."
    return told(
        service,
        message,
        now=now,
        new_id=new_id,
        detail_type="ECS Deployment State Change",
        event_name=f"SERVICE_DEPLOYMENT_{state}",
        event_type="ERROR" if state is RolloutState.FAILED else "INFO",
        deployment_id=deployment.deployment_id,
        reason=rollout_reason(deployment),
    )


def short(service: Service, unplaced: Unplaced, *, now: datetime, new_id: NewId) -> ServiceEvent:
    """A task that no container instance can take."""
    closest = unplaced.closest
    reason = "MISSING" if closest is None else unplaced.refusals[closest][0]
    return _action(
        service,
        f"was unable to place a task because no container instance met all of its requirements. {_why(unplaced)}",
        "SERVICE_TASK_PLACEMENT_FAILURE",
        now=now,
        new_id=new_id,
        event_type="ERROR",
        reason=reason,
    )


def not_launched(service: Service, error: str, *, now: datetime, new_id: NewId) -> ServiceEvent:
    """A task that is not started, whatever container instances there are."""
    return _action(
        service,
        f"failed to launch a task with (error {error})",
        "SERVICE_TASK_CONFIGURATION_FAILURE",
        now=now,
        new_id=new_id,
        event_type="ERROR",
        reason=error,
    )


_LACKS: Mapping[str, str] = {
    "RESOURCE:CPU": "has insufficient CPU units available.",
    "RESOURCE:MEMORY": "has insufficient memory available.",
    "RESOURCE:PORTS": "is already using a port required by your task.",
    "RESOURCE:GPU": "has insufficient GPU resources available.",
    "DAEMON": "waits for the task of a DAEMON service, for a minute at most.",
    "ATTRIBUTE": "is missing an attribute required by your task.",
}


def _why(unplaced: Unplaced) -> str:
    """Names what the closest instance lacked; what Amazon ECS does not say, the numbers and names of it and how many
    instances refused for which reason, follows after it."""
    closest = unplaced.closest
    if closest is None:
        return "Reason: No Container Instances were found in your cluster."
    reason = unplaced.refusals[closest][0]
    lacks = _LACKS.get(reason, f'encountered error "{reason}".')
    counts = ", ".join(f"{reason.rstrip('.')} ({count})" for reason, count in unplaced.counted.items())
    return (
        f"The closest matching (container-instance {closest}) {lacks}{unplaced.words(closest)} "
        f"Refusals of {len(unplaced.refusals)} container instances: {counts}."
    )


def _stuck(service: Service, now: datetime, new_id: NewId, *, crowded: bool = False) -> ServiceEvent:
    """Says which number to change, and to what. `crowded`: only room is missing, which the former tasks have."""
    configuration, wanted = service.deployment_configuration, max(service.desired_count, 1)
    least, most = configuration.minimum_healthy_percent, configuration.maximum_percent
    lower = f"Lower minimumHealthyPercent to {(wanted - 1) * 100 // wanted}"
    if crowded:
        why = (
            "no container instance has room for a new task beside those of the former deployment, and with "
            f"desiredCount {wanted} minimumHealthyPercent {least} lets none of these stop first. {lower}."
        )
    else:
        one_copy = service.is_daemon or absence_of(service.tags).kind == "stop-after"
        other = "" if one_copy else f", or raise maximumPercent to {-(-(wanted + 1) * 100 // wanted)}"
        why = (
            f"with desiredCount {wanted}, minimumHealthyPercent {least} and maximumPercent {most} allow neither. "
            f"{lower}{other}."
        )
    return _action(
        service,
        f"was unable to start or stop a task{_for(service)}: {why}",
        "ECS_ANYWHERE_DEPLOYMENT_STUCK",
        now=now,
        new_id=new_id,
        event_type="WARN",
        reason="DEPLOYMENT_CONFIGURATION",
    )


def _protected(service: Service, planned: ServicePlan, now: datetime, new_id: NewId) -> ServiceEvent:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html"""
    whose = "it" if service.external else f"(taskSet {service.deployment.deployment_id})"
    return told(
        service,
        f"was unable to reach steady state because {whose} was unable to scale in due to (reason {planned.protected} "
        "tasks under protection)",
        now=now,
        new_id=new_id,
    )


def _for(service: Service) -> str:
    return "" if service.external else f" for (deployment {service.deployment.deployment_id})"


def _impaired(service: Service, now: datetime, new_id: NewId) -> ServiceEvent:
    return _action(
        service,
        "is unable to consistently start tasks successfully.",
        "SERVICE_TASK_START_IMPAIRED",
        now=now,
        new_id=new_id,
        event_type="WARN",
    )


def _missed(service: Service, planned: ServicePlan, now: datetime, new_id: NewId) -> ServiceEvent:
    return _action(
        service,
        f"does not count {planned.missed} tasks any more, whose container instances have been disconnected for longer "
        "than their tag ecs-anywhere:disconnect allows.",
        "ECS_ANYWHERE_TASKS_MISSED",
        now=now,
        new_id=new_id,
        event_type="WARN",
        reason="DISCONNECTED",
    )


def _held(service: Service, planned: ServicePlan, now: datetime, new_id: NewId) -> ServiceEvent:
    return _action(
        service,
        f"starts nothing in place of {planned.held} tasks whose container instances are disconnected: too many "
        "vanished within five minutes. It goes on when they return, or after "
        f"`ecs-anywhere resume --cluster {service.cluster}`.",
        "ECS_ANYWHERE_REPLACEMENT_HELD",
        now=now,
        new_id=new_id,
        event_type="WARN",
        reason="MASS_DISCONNECT",
    )
