"""Amazon ECS's events, from the table's stream, each from its record's new image alone.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus, Registration
from control_plane.domain.container_instance_description import describe_container_instance
from control_plane.domain.inbox import ServiceKey, StreamRecord
from control_plane.domain.service import RolloutState, Service, ServiceEvent
from control_plane.domain.service_description import service_event_detail
from control_plane.domain.task import Awaiting, Task
from control_plane.domain.task_description import describe_task
from control_plane.flows.follow_fleets import follow_fleets
from control_plane.flows.tasks import definition_of
from control_plane.flows.tell_waiting import find_who_waits
from control_plane.runtime import ControlPlane
from control_plane.store import instances, services, tasks
from ecs_protocol.statuses import DesiredStatus, StopCode, TaskStatus

logger = Logger(child=True)

_NOT_IN_EVENTS = frozenset({"runningTasksCount", "pendingTasksCount"})
"""Of an instance: they are no part of its item, and an event is made from that alone."""


def publish_events(cp: ControlPlane, records: Sequence[StreamRecord]) -> None:
    """Publish the events of a batch, wake the services that it concerns, log what has changed of large fleets.

    What EventBridge does not take goes to the retry queue as a finished event. Raises only if a queue cannot be
    reached; the batch comes again then, and events and keys are repeated, which both sides bear.
    """
    entries = [entry for record in records for entry in _entries(cp, record)]
    refused: Sequence[Mapping[str, Any]] = entries
    if entries:
        try:
            refused = cp.bus.put(entries)
        except (ClientError, BotoCoreError):
            logger.exception("EventBridge cannot be reached")
    if refused:
        cp.queues.publish_later(refused)
    wakes = {key: record.event_id for record in records for key in _concerned(cp, record)}
    follow_fleets(cp, records)
    told = find_who_waits(cp, records)
    wakes = {**told.services, **wakes}
    if told.events:
        cp.queues.run_waiting(told.events)
    if wakes:  # each service once, named after its last record: it is looked at with all of them
        cp.queues.wake_services(list(wakes.items()))


def publish_finished(cp: ControlPlane, entries: Sequence[Mapping[str, Any]]) -> set[int]:
    """Publish events from the retry queue. Returns the indexes of those that failed again."""
    failed: set[int] = set()
    for index, entry in enumerate(entries):
        try:
            refused = cp.bus.put([entry])
        except (ClientError, BotoCoreError):
            logger.exception("Event failed")
            refused = [entry]
        if refused:
            failed.add(index)
    return failed


def _entries(cp: ControlPlane, record: StreamRecord) -> Iterator[dict[str, Any]]:
    match record.new_image.get("kind"):
        case tasks.KIND:
            yield _task_entry(cp, tasks.from_item(dict(record.new_image)))
        case instances.KIND:
            instance = instances.from_item(dict(record.new_image))
            entry = _instance_entry(cp, instance)
            if entry is not None:
                yield entry
            if instance.duplicate_found_at == instance.updated_at:
                yield _duplicate_entry(cp, instance)
        case services.EVENT_KIND:
            event = ServiceEvent.model_validate(record.new_image)
            if event.detail_type is not None:
                arn = cp.arns.service(event.cluster, event.service)
                detail = service_event_detail(event, cp.arns, event.created_at)
                yield cp.bus.entry(event.detail_type, [arn], detail, event.created_at)


def _task_entry(cp: ControlPlane, task: Task) -> dict[str, Any]:
    detail = {**describe_task(task, definition_of(cp, task), cp.arns), "updatedAt": task.updated_at}
    return cp.bus.entry("ECS Task State Change", [cp.arns.task(task.cluster, task.task_id)], detail, task.updated_at)


def _instance_entry(cp: ControlPlane, instance: ContainerInstance) -> dict[str, Any] | None:
    registration = _registration_of(cp, instance)
    if registration is None:
        return None
    described = describe_container_instance(instance, registration, cp.arns, tasks=())
    detail = {name: value for name, value in described.items() if name not in _NOT_IN_EVENTS}
    arn = cp.arns.container_instance(instance.cluster, instance.instance_id)
    return cp.bus.entry(
        "ECS Container Instance State Change",
        [arn],
        {**detail, "clusterArn": cp.arns.cluster(instance.cluster), "updatedAt": instance.updated_at},
        instance.updated_at,
    )


def _duplicate_entry(cp: ControlPlane, instance: ContainerInstance) -> dict[str, Any]:
    """Amazon ECS knows no such thing; the name is ours."""
    arn = cp.arns.container_instance(instance.cluster, instance.instance_id)
    detail = {
        "clusterArn": cp.arns.cluster(instance.cluster),
        "containerInstanceArn": arn,
        "reason": "Two machines use this container instance's identity. No task is placed on it until one is chosen: "
        f"ecs-anywhere duplicates list --cluster {instance.cluster}",
    }
    return cp.bus.entry("Container Instance Duplicate Identity", [arn], detail, instance.updated_at)


def _registration_of(cp: ControlPlane, instance: ContainerInstance) -> Registration | None:
    """Cached by registration number: it never changes under it. A later one stands for one that is gone."""
    cache: dict[tuple[str, int], Registration] = cp.registrations
    key = (instance.instance_id, instance.registration)
    if key not in cache:
        found = instances.load_registration(cp.table, instance.cluster, instance.instance_id)
        if found is None:
            return None
        cache[key] = found
    return cache[key]


def _with_tasks_on(cp: ControlPlane, instance: ContainerInstance) -> Iterable[ServiceKey]:
    """The services to which it matters that a machine that has tasks of theirs has just gone or come back, or is to be
    emptied; DAEMON services to which this instance matters. Nothing is read for other changes."""
    changed = instance.updated_at == instance.settings_changed_at
    connection = instance.updated_at in {instance.connection_changed_at, instance.session_ended_at}
    draining = instance.status is InstanceStatus.DRAINING
    held = (
        tasks.of_instance(cp.table, instance.cluster, instance.instance_id) if changed or connection or draining else []
    )
    concerned = [
        _key_for(task, task.service)
        for task in held
        if task.service
        and (
            changed
            or task.disconnect
            or task.awaiting
            or task.desired_status is DesiredStatus.STOPPED
            or (task.daemon and task.last_status is not TaskStatus.RUNNING)
        )
    ]
    # On a machine that is away nothing is to be done; that it has gone is to be counted.
    counts = instance.agent_connected or connection
    daemons = {*instance.daemons_due, *instance.daemons_waiting} if counts else set()
    if connection:
        daemons |= _daemons_moving(cp, instance, held)
    if draining and not any(task.service and not task.daemon for task in held):
        daemons |= {task.service for task in held if task.service}
    on_it = [ServiceKey(instance.cluster, name, instance.instance_id) for name in sorted(daemons)]
    return list(dict.fromkeys([*concerned, *on_it]))


def _daemons_moving(cp: ControlPlane, instance: ContainerInstance, held: Sequence[Task]) -> set[str]:
    """DAEMON services to which it matters that a machine with a task of theirs has gone or come back: those in a
    deployment, which waits for no machine that is away, and those whose task here is of a former one."""
    daemons = {task.service: task for task in held if task.daemon and task.service}
    if not daemons:
        return set()
    found = services.load_many(cp.table, [ServiceKey(task.cluster, name) for name, task in daemons.items()])
    return {
        service.name
        for service in found.values()
        if service.deployment.rollout_state is RolloutState.IN_PROGRESS
        or (instance.agent_connected and daemons[service.name].deployment_id != service.deployment.deployment_id)
    }


def _key_for(task: Task, service: str) -> ServiceKey:
    return ServiceKey(task.cluster, service, task.instance_id if task.daemon else None)


def _by_its_scheduler(task: Task) -> bool:
    """Just made, or just told to stop, by the service's own scheduler, which has gone on from there."""
    made = (
        task.updated_at == task.created_at
        and task.last_status is TaskStatus.PENDING
        and task.desired_status is DesiredStatus.RUNNING
    )
    told = (
        task.updated_at == task.stopping_at
        and task.stop_code is StopCode.SERVICE_SCHEDULER_INITIATED
        and task.awaiting is Awaiting.STOP
    )
    return made or (told and not task.daemon)


def _concerned(cp: ControlPlane, record: StreamRecord) -> Iterable[ServiceKey]:
    """The services that a change is to wake: a task's own; one whose wish has changed; those with tasks there."""
    image = record.new_image
    match image.get("kind"):
        case tasks.KIND:
            task = tasks.from_item(dict(image)) if image.get("service") else None
            return [] if task is None or _by_its_scheduler(task) else [_key_for(task, image["service"])]
        case services.KIND:
            service = Service.model_validate(image)
            return [] if service.planned else [ServiceKey(service.cluster, service.name)]
        case instances.KIND:
            return _with_tasks_on(cp, instances.from_item(dict(image)))
        case _:
            return []
