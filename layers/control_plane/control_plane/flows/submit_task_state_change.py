"""Agents report what became of tasks.

    envelopes ─► who sent it ─► reports ─► judge each against the table ─► commit
                                              ▲                              │ somebody wrote the task meanwhile
                                              └──────── read it again ◄──────┘

The reports of one batch that stop tasks of one instance are one transaction with what goes back to the instance; a
report that stops nothing is one plain write. Each is conditional on the version of the task that it was judged
against, so that a report that comes twice, late, or at the same time as another changes nothing twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.inbox import Envelope
from control_plane.domain.races import InstanceChangedError
from control_plane.domain.reminders import watching_command
from control_plane.domain.service import ServiceEvent
from control_plane.domain.task import Task, Verdict, apply_report, came_back, judge, request_stop
from control_plane.flows import audit
from control_plane.flows.again import until_won
from control_plane.flows.orphans import note_end_of_orphan
from control_plane.flows.sender import identify
from control_plane.gateways.identities import RegistryBusyError
from control_plane.runtime import ControlPlane
from control_plane.store import instance_presence, instance_resources, reminders, services, tasks
from control_plane.store.table import Write
from ecs_protocol.messages import RestartsInPlace, TaskReport, TaskStateChanges
from ecs_protocol.names import thing_name
from ecs_protocol.statuses import StopCode, TaskStatus

logger = Logger(child=True)

TOGETHER = 30
"""Reports in one transaction: each that stops a task takes two writes."""

BEFORE = (StopCode.ESSENTIAL_CONTAINER_EXITED, "Essential container in task exited")
"""Why a task is stopped whose machine had said that it ends, and has taken it up again: the first word stands."""

Sender = tuple[str, str]
"""Cluster and instance id."""


def submit_task_state_changes(cp: ControlPlane, envelopes: Sequence[Envelope]) -> set[int]:
    """Handle a batch. Returns the indexes of the envelopes that failed and are to come again."""
    reports: dict[Sender, list[tuple[int, TaskReport]]] = defaultdict(list)
    failed: set[int] = set()
    for index, envelope in enumerate(envelopes):
        try:
            sender = identify(cp, envelope)
            if sender is None:
                continue
            changes = TaskStateChanges.from_json(envelope.payload)
        except (ClientError, BotoCoreError, RegistryBusyError):
            logger.exception("Could not identify a sender", extra={"clientId": envelope.client_id})
            failed.add(index)
            continue
        except ValidationError as error:
            audit.refused_message(cp, envelope, f"no report of this protocol: {audit.first(error)}")
            continue
        heard = [report for report in changes.reports if believed(sender, report)]
        if len(heard) < len(changes.reports):
            audit.refused_message(cp, envelope, "its instance is deregistered")
        reports[sender.cluster, sender.instance_id] += [(index, report) for report in heard]
    for sender_key, indexed in reports.items():
        failed |= _submit(cp, sender_key, indexed)
    return failed


def believed(sender: InstanceIdentity, report: TaskReport) -> bool:
    """Of an instance that is deregistered only the answer to a STOP: that a task has stopped."""
    return sender.deregistered_at is None or report.last_status is TaskStatus.STOPPED


def _submit(cp: ControlPlane, sender: Sender, indexed: Sequence[tuple[int, TaskReport]]) -> set[int]:
    """All reports of one instance, in the order of their numbers; only the newest of each task matters."""
    newest: dict[str, tuple[int, TaskReport]] = {}
    for index, report in sorted(indexed, key=lambda each: (each[1].epoch, each[1].number)):
        newest[report.task_id] = (index, report)
    failed: set[int] = set()
    wanted = list(newest.values())
    for start in range(0, len(wanted), TOGETHER):
        chunk = wanted[start : start + TOGETHER]
        try:
            until_won(cp, lambda _attempt, chunk=chunk: _commit(cp, sender, [report for _, report in chunk]))  # type: ignore[misc]
        except Exception:  # what fails for one machine must not keep the others' reports
            logger.exception("Reports failed", extra={"instance": sender[1]})
            failed |= {index for index, _ in chunk}
    return failed


def _commit(cp: ControlPlane, sender: Sender, reports: Iterable[TaskReport]) -> None:
    """Judge reports against what the table says now, and commit what they change."""
    cluster, instance_id = sender
    now = cp.clock()
    by_task = {report.task_id: report for report in reports}
    stored = tasks.load_many(cp.table, cluster, by_task)
    changes: list[tuple[Task, Task]] = []
    too_late: list[str] = []
    for task_id, report in by_task.items():
        task = stored.get(task_id)
        if task is None and report.last_status is TaskStatus.STOPPED:
            note_end_of_orphan(cp, cluster, instance_id, task_id)
        if task is None or task.instance_id != instance_id:
            audit.refused(
                cp,
                principal=thing_name(cp.prefix, instance_id),
                action="ecs-anywhere:SubmitTaskStateChange",
                resource=cp.arns.task(cluster, task_id),
                source="mqtt",
                reason="no task of this container instance",
            )
            continue
        verdict = judge(task, report)
        logger.info("Report", extra={"task": task_id, "status": report.last_status, "verdict": verdict})
        if verdict is Verdict.TOO_LATE:
            too_late.append(task_id)
        if verdict is Verdict.ADVANCE:
            after = apply_report(task, report, now)
            changes.append((task, request_stop(after, *BEFORE, now) if came_back(task, report) else after))
    commit_changes(cp, sender, changes, now)
    if too_late:
        # Their machine is told what the table says: STOPPED.
        cp.queues.command_later(
            [{"cluster": cluster, "taskId": task_id, "instanceId": instance_id} for task_id in too_late]
        )


def commit_changes(cp: ControlPlane, sender: Sender, changes: Sequence[tuple[Task, Task]], now: datetime) -> None:
    """Tasks of one instance, as they were read and as a report leaves them. Raises LostRace."""
    for before, after in changes:
        if not after.stopped:
            _change(cp, before, after, now)
    ends = [(before, after) for before, after in changes if after.stopped]
    if ends:
        _stop(cp, sender, ends, now)


def _change(cp: ControlPlane, before: Task, after: Task, now: datetime) -> None:
    writes = [tasks.changed(before, after)]
    if after.desired_status is not before.desired_status:
        reminders.remind(cp.table, [watching_command(after.cluster, after.instance_id, now)])
        writes.append(instance_presence.told(after.cluster, after.instance_id, now))
    if after.restarts != before.restarts and after.service and after.restarts:
        writes.append(services.told(_restarted(cp, after.service, after, after.restarts, now)))
    cp.table.commit(writes)


def _restarted(cp: ControlPlane, service: str, task: Task, restarts: RestartsInPlace, now: datetime) -> ServiceEvent:
    codes = ", ".join(f"{name} exit code {code}" for name, code in sorted(restarts.exit_codes.items()))
    return ServiceEvent(
        event_id=cp.new_id(),
        cluster=task.cluster,
        service=service,
        created_at=now,
        message=(
            f"(service {service}) (task {task.task_id}) was started again by its container instance "
            f"{restarts.count} times while that was disconnected, last at "
            f"{restarts.last_at.isoformat(timespec='seconds')}" + (f" ({codes})." if codes else ".")
        ),
    )


def _stop(cp: ControlPlane, sender: Sender, ends: Sequence[tuple[Task, Task]], now: datetime) -> None:
    """Move the tasks and give back what they took; if their instance is gone, just move them (rule 2)."""
    tasks.note_ends(cp.table, [after for _, after in ends])
    moves: list[Write] = [write for before, after in ends for write in tasks.stopped(before, after)]
    registration = max(before.registration for before, _ in ends)
    given = [before.resources for before, _ in ends]
    daemons = frozenset(before.service for before, _ in ends if before.daemon and before.service)
    try:
        cp.table.commit([instance_resources.released(*sender, registration, given, now, daemons=daemons), *moves])
    except InstanceChangedError:
        logger.warning("The instance of stopped tasks is gone", extra={"instance": sender[1]})
        cp.table.commit(moves)
