"""RunTask and StartTask: place tasks now, and answer with those that were placed and why the others were not.

    decide ──► one transaction: the tasks, what they take of their instances, the client token
      ▲                                │ an instance has changed, or the fleet read was stale
      └────────── read afresh ◄────────┘

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StartTask.html
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.capacity_provider import Strategy as ProviderStrategy
from control_plane.domain.capacity_provider import strategy_of
from control_plane.domain.cluster import Cluster
from control_plane.domain.errors import (
    ClientException,
    ConflictException,
    InvalidParameterException,
    ServerException,
)
from control_plane.domain.placement.place import TOLD, Demand, Placed, Unplaced, place
from control_plane.domain.placement.rules import parse_strategy
from control_plane.domain.races import InstanceChangedError, LostRace, TokenUsedError
from control_plane.domain.tags import checked, managed
from control_plane.domain.task import Task
from control_plane.domain.task_definition_compatibilities import NO_NETWORK_MODE
from control_plane.domain.task_definition_network import EXTERNAL_NETWORK_MODE
from control_plane.domain.task_description import describe_task
from control_plane.domain.task_overrides import validate_overrides
from control_plane.flows.again import until_won
from control_plane.flows.choose_instances import believing, choose_instances, look_at
from control_plane.flows.lookup import AS_NAMED, identifier, require_cluster, require_task_definition
from control_plane.flows.new_tasks import demand_of, new_task, placing, watching
from control_plane.flows.require_roles import require_roles
from control_plane.flows.tasks import looks_like_an_id
from control_plane.flows.tasks_to_be import absence_members, tags_of_definition
from control_plane.runtime import ControlPlane
from control_plane.store import reminders, tasks, tokens

NO_INSTANCES = "No Container Instances were found in your cluster."

Failures = list[dict[str, str]]


def run_task(cp: ControlPlane, request: Mapping[str, Any], *, kept: timedelta = tokens.KEPT) -> dict[str, Any]:
    """Answers {tasks, failures}. `kept` is how long the same client token gets the same answer."""
    order = _Order.of(cp, request, "RunTask")

    def choose(attempt: int) -> tuple[list[Placed], Failures]:
        answers = choose_instances(cp, order.cluster.name, order.demand, request.get("count", 1), fresh=attempt > 1)
        if Unplaced({}) in answers:
            raise InvalidParameterException(NO_INSTANCES)
        return [answer for answer in answers if isinstance(answer, Placed)], _failures(cp, order, answers)

    return _carry_out(cp, order, choose, kept)


def demand_of_request(cp: ControlPlane, request: Mapping[str, Any]) -> tuple[str, Demand]:
    """The cluster that a RunTask request names, and what each of its tasks asks of an instance there.

    Raises the errors of RunTask.
    """
    order = _Order.of(cp, request, "RunTask")
    return order.cluster.name, order.demand


def start_task(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """One task on each of the container instances that the request names. Answers {tasks, failures}."""
    order = _Order.of(cp, request, "StartTask")
    wanted = [identifier(name, order.cluster) for name in request["containerInstances"]]

    def choose(_attempt: int) -> tuple[list[Placed], Failures]:
        placed: list[Placed] = []
        failures: Failures = []
        for instance_id in dict.fromkeys(wanted):
            known = looks_like_an_id(instance_id)
            candidate = look_at(cp, order.cluster.name, instance_id, order.demand) if known else None
            if candidate is None:
                arn = cp.arns.container_instance(order.cluster.name, instance_id)
                failures.append({"arn": arn, "reason": "MISSING"})
                continue
            [answer] = place(order.demand, 1, [candidate])
            if isinstance(answer, Unplaced):
                failures += _failures(cp, order, [answer])
            else:
                placed.append(believing(answer, candidate) if order.demand.constraints.of_tasks else answer)
        return placed, failures

    return _carry_out(cp, order, choose, tokens.KEPT)


class _Order:
    """What a request asks for, checked."""

    def __init__(
        self,
        operation: str,
        request: Mapping[str, Any],
        cluster: Cluster,
        definition: dict[str, Any],
        strategy: ProviderStrategy,
    ) -> None:
        self.operation = operation
        self.cluster = cluster
        self.definition = definition
        self.overrides: dict[str, Any] = request.get("overrides", {})
        self.group: str = request.get("group") or f"family:{definition['family']}"
        self.started_by: str | None = request.get("startedBy")
        self.reference_id: str | None = request.get("referenceId") or None
        self.token: str | None = request.get("clientToken")
        own = checked(request.get("tags", ()))
        propagated = tags_of_definition(definition) if request.get("propagateTags") == "TASK_DEFINITION" else {}
        of_ecs = managed(cluster.name) if request.get("enableECSManagedTags") else {}
        self.absence = absence_members(definition, own, {**propagated, **own, **of_ecs}, in_service=False)
        self.by_strategy = bool(strategy) or None
        self.execute_command = request.get("enableExecuteCommand") or None
        self.digest = digest_of(request)
        self.demand = demand_of(
            definition,
            self.overrides,
            group=self.group,
            constraints=request.get("placementConstraints", ()),
            strategy=parse_strategy(request.get("placementStrategy", ())),
            execute_command=bool(self.execute_command),
        )

    @classmethod
    def of(cls, cp: ControlPlane, request: Mapping[str, Any], operation: str) -> "_Order":
        """Raises the errors of RunTask."""
        cluster = require_cluster(cp, request.get("cluster"))
        propagates = request.get("propagateTags") == "TASK_DEFINITION"
        definition = require_task_definition(cp, request["taskDefinition"], with_tags=propagates, recent=True)
        require_external(definition)
        validate_overrides(definition, request.get("overrides", {}))
        strategy: ProviderStrategy = ()
        if operation == "RunTask":
            strategy = strategy_of(request, cluster.capacity_providers, cluster.default_capacity_provider_strategy)
        return cls(operation, request, cluster, definition, strategy)


def require_external(definition: Mapping[str, Any]) -> None:
    """Refuse a definition that cannot run on one's own machines."""
    if "EXTERNAL" in definition.get("compatibilities", ()):
        return
    if definition.get("networkMode") == "awsvpc" and EXTERNAL_NETWORK_MODE not in definition:
        raise InvalidParameterException(
            f"Task definition does not support launch_type EXTERNAL. Its network mode is awsvpc, and {NO_NETWORK_MODE}"
        )
    raise InvalidParameterException("Task definition does not support launch_type EXTERNAL.")


def digest_of(request: Mapping[str, Any]) -> str:
    """Tells whether a request that comes with a used token is the same one."""
    body = {name: value for name, value in request.items() if name != "clientToken"}
    if AS_NAMED in body:
        body["taskDefinition"] = body.pop(AS_NAMED)
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _carry_out(cp: ControlPlane, order: _Order, choose: Any, kept: timedelta) -> dict[str, Any]:
    """Commit what `choose` decides, once for each client token.

    A request that is repeated because its answer was lost finds what it took gone, or the definition deregistered: so
    before anything is refused, and whenever the token turns out to be used, the first answer is given again.
    """

    def decide_and_commit(attempt: int) -> dict[str, Any]:
        now = cp.clock()
        try:
            _require_startable(cp, order)
            placed, failures = choose(attempt)
        except (ClientException, InvalidParameterException):
            before = _answered_before(cp, order, now)
            if before is None:
                raise
            return before
        if failures and (before := _answered_before(cp, order, now)):
            return before
        new = [
            new_task(
                cp,
                order.cluster.name,
                each,
                order.definition,
                order.demand,
                group=order.group,
                started_by=order.started_by,
                reference_id=order.reference_id,
                overrides=order.overrides,
                by_strategy=order.by_strategy,
                execute_command=order.execute_command,
                **order.absence,
            )
            for each in placed
        ]
        if not new:
            return {"tasks": [], "failures": failures}
        writes = placing(new, placed, now)
        if order.token:
            answered = tokens.Answered(
                request=order.digest,
                task_ids=tuple(task.task_id for task in new),
                failures=tuple(failures),
            )
            writes.append(tokens.used(order.operation, order.cluster.name, order.token, answered, now=now, kept=kept))
        reminders.remind(cp.table, watching(new))
        try:
            cp.table.commit(writes)
        except TokenUsedError:
            before = _answered_before(cp, order, now)
            if before is None:
                raise
            return before
        except InstanceChangedError:
            cp.fleet.look_again(order.cluster.name, {task.instance_id for task in new})
            raise
        cp.fleet.took(new)
        return {"tasks": [_described(cp, order, task) for task in new], "failures": failures}

    try:
        return until_won(cp, decide_and_commit)
    except LostRace as race:
        raise ServerException("Too many requests compete for the same resources. Try again.") from race


def _require_startable(cp: ControlPlane, order: _Order) -> None:
    """Raises InvalidParameterException or ClientException."""
    if order.definition["status"] != "ACTIVE":
        raise InvalidParameterException("TaskDefinition is inactive")
    require_roles(cp, order.cluster.name, order.definition, order.overrides)


def _answered_before(cp: ControlPlane, order: _Order, now: datetime) -> dict[str, Any] | None:
    if not order.token:
        return None
    before = tokens.load(cp.table, order.operation, order.cluster.name, order.token, now)
    if before is None:
        return None
    if before.request != order.digest:
        raise ConflictException(
            f"The {order.operation} request could not be processed due to conflicts. The provided clientToken is "
            f"already in use with a different {order.operation} request. The resourceIds are the existing task ARNs "
            "which are already associated with the clientToken.",
            resource_ids=[cp.arns.task(order.cluster.name, task_id) for task_id in before.task_ids],
        )
    found = tasks.load_many(cp.table, order.cluster.name, before.task_ids)
    return {
        "tasks": [_described(cp, order, found[task_id]) for task_id in before.task_ids if task_id in found],
        "failures": list(before.failures),
    }


def _described(cp: ControlPlane, order: _Order, task: Task) -> dict[str, Any]:
    return describe_task(task, order.definition, cp.arns, with_tags=True)


def _failures(cp: ControlPlane, order: _Order, answers: Iterable[Placed | Unplaced]) -> Failures:
    """Why the tasks that were not placed were not: of each of the closest instances the first reason, and as detail
    all of them and what it lacks."""
    unplaced = next((answer for answer in answers if isinstance(answer, Unplaced)), None)
    if unplaced is None:
        return []
    return [
        {
            "arn": cp.arns.container_instance(order.cluster.name, instance_id),
            "reason": reasons[0],
            "detail": unplaced.detail(instance_id),
        }
        for instance_id, reasons in list(unplaced.refusals.items())[:TOLD]
    ]
