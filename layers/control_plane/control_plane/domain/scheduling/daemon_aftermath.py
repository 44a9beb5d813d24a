"""What becomes of a DAEMON service once a chunk of its plan is committed. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from control_plane.domain.scheduling.aftermath import LOOK_AGAIN, LOOK_ANYWAY
from control_plane.domain.scheduling.daemon import DaemonPlan, Step, Verdict
from control_plane.domain.scheduling.daemon_line import held_by
from control_plane.domain.scheduling.rollout import after_failure, bounds, progress
from control_plane.domain.service import Deployment, RolloutState, Service, ServiceStatus


def after_chunk(
    service: Service,
    planned: DaemonPlan,
    steps: Sequence[Step],
    counts: Counter[str],
    now: datetime,
    *,
    whole: bool,
    last: bool,
) -> Service:
    """The service as the commit of `steps` leaves it, with `counts` over all its lines.

    Ends are counted with the chunk that takes them off their lines: each once, wherever this dies. `whole`: all places
    were looked at; `last`: this is the last chunk of the plan.
    """
    ended = [step.place.task for step in steps if step.place.task is not None and step.place.task.stopped]
    lacking = 0 if service.deployment.has_run else sum(step.newly_short for step in steps)
    went = progress(
        service.model_copy(update={"desired_count": planned.wanted}),
        [task for task in ended if task.deployment_id == service.deployment.deployment_id],
        planned.well,
        sum(step.stop is Verdict.SICK for step in steps) + lacking,
        now,
    )
    deployment = _counted(service.deployment, counts).model_copy(
        update={"failed_tasks": went.failed_tasks, "has_run": went.has_run}
    )
    older = tuple(_counted(each, counts) for each in service.older if counts[held_by(each.deployment_id)])
    active = service.status is ServiceStatus.ACTIVE
    moves = any(step.start or step.stop for step in steps)
    steady = active and last and not (moves or counts["unsettled"] or older or went.tripped)
    # A machine that is away is told when it is back. Its line stays: a later service of that name waits for its task.
    gone = service.status is ServiceStatus.DRAINING and not counts["open"]
    after = service.model_copy(
        update={
            "status": ServiceStatus.INACTIVE if gone else service.status,
            "desired_count": counts["wanted"] if active else 0,
            "running_count": counts["RUNNING"],
            "pending_count": counts["PENDING"],
            "away_count": counts["away"],
            "tally": {name: count for name, count in sorted(counts.items()) if count},
            "steady": steady,
            "planned": (whole or service.planned) and not went.tripped,
            "short": bool(counts["lacking"]),
            "stuck": planned.stuck,
            "deployment": deployment,
            "older": older,
        }
    )
    if went.tripped:
        return after.model_copy(update=after_failure(service, deployment, older, now))
    if steady and deployment.rollout_state is RolloutState.IN_PROGRESS:
        completed = deployment.model_copy(
            update={"rollout_state": RolloutState.COMPLETED, "rollout_reason": None, "updated_at": now}
        )
        after = after.model_copy(update={"deployment": completed, "completed": completed})
    if gone:
        return after.model_copy(update={"look_at": None})
    if not whole:
        return after
    # Whoever had read its cluster before the service was in it, and then wrote an instance, did not name the service.
    is_new = now < service.created_at + LOOK_AGAIN
    at_all = now + (LOOK_AGAIN if is_new or not last else LOOK_ANYWAY)
    # Nothing to do here: a time that still lies ahead stays, so that such a look writes nothing.
    ahead = not steps and service.planned and service.look_at is not None and now < service.look_at <= at_all
    return after if ahead else after.model_copy(update={"look_at": at_all})


def may_stop(service: Service) -> int:
    """How many tasks of former deployments may stop by now whose instances nobody has named."""
    counts = service.tally or {}
    if service.status is not ServiceStatus.ACTIVE:
        return 0
    spare = counts.get("healthy", 0) - bounds(service, counts.get("wanted", 0)).least
    return max(0, min(spare, counts.get("behind", 0)))


def _counted(deployment: Deployment, counts: Counter[str]) -> Deployment:
    name = deployment.deployment_id
    return deployment.model_copy(
        update={"running_count": counts[f"RUNNING {name}"], "pending_count": counts[f"PENDING {name}"]}
    )
