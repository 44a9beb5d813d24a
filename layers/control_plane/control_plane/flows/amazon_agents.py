"""What Amazon's own agent asks for: RegisterContainerInstance, DiscoverPollEndpoint, and the reports of its tasks.

Each is asked with a key that was made for one container instance (`own`), and concerns that one and its tasks only;
what names another has been refused before (flows/authorize.py), but for tasks, which are looked at here.

How the agent takes an error decides which one it gets: InvalidParameterException makes it drop a report, any other has
the report sent for ever and the later ones of its task wait; ClientException ends an agent that registers, for good.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterContainerInstance.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_SubmitTaskStateChange.html
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from control_plane.domain.arns import cluster_of, resource_name
from control_plane.domain.attributes import described
from control_plane.domain.authorization import AgentOf
from control_plane.domain.container_instance import AMAZON_AGENT, InstanceStatus
from control_plane.domain.container_instance_description import describe_container_instance
from control_plane.domain.errors import (
    ClientException,
    InvalidParameterException,
    ServerException,
    UnsupportedFeatureException,
)
from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.state_change import StateChange, change_of_container, change_of_task, report_of
from control_plane.domain.tags import checked
from control_plane.domain.task import Task, apply_report
from control_plane.flows import audit
from control_plane.flows.again import until_answered
from control_plane.flows.register_container_instance import register
from control_plane.flows.submit_task_state_change import commit_changes
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import instances, tasks
from ecs_protocol.messages import MAX_GPUS, MAX_MESSAGE_BYTES, Attribute, HostPort, RegisterContainerInstance
from ecs_protocol.statuses import TaskStatus

logger = Logger(child=True)

Answer = dict[str, Any]
ACKNOWLEDGED = {"acknowledgment": "ACK"}
DEREGISTERED = "This container instance was deregistered. Make a new key for the machine, and remove its agent's data."


def register_container_instance(cp: ControlPlane, own: AgentOf, request: Mapping[str, Any]) -> Answer:
    """Answers {containerInstance}, which repeats each attribute that came with a value: the agent ends without them.

    The agent registers at each of its starts. What is registered already is answered and not written.
    """
    machine = _machine(request)
    identity = InstanceIdentity(instance_id=own.instance_id, cluster=own.cluster, principal=own.instance_id)
    tags = checked(request.get("tags", ()))

    def make(_attempt: int) -> None:
        before = instances.load(cp.table, own.cluster, own.instance_id)
        known = instances.load_registration(cp.table, own.cluster, own.instance_id)
        if before is not None and before.status is InstanceStatus.INACTIVE:
            raise ClientException(DEREGISTERED)
        if before is None or known is None or known.digest != machine.digest:
            register(cp, identity, machine, before, known, transport=AMAZON_AGENT, tags=tags)

    until_answered(cp, make, what="container instance")
    instance = instances.load(cp.table, own.cluster, own.instance_id)
    registration = instances.load_registration(cp.table, own.cluster, own.instance_id)
    if instance is None or registration is None:
        raise ServerException("The container instance vanished while it was registered.")
    held = tasks.of_instance(cp.table, own.cluster, own.instance_id)
    answer = describe_container_instance(instance, registration, cp.arns, tasks=held, with_tags=True)
    # Also those of which PutAttributes or DeleteAttributes has said something else since.
    sent = {each.name: each.value for each in machine.attributes if each.value}
    others = [each for each in answer["attributes"] if each["name"] not in sent]
    return {"containerInstance": {**answer, "attributes": others + [described(*each) for each in sent.items()]}}


def discover_poll_endpoint(cp: ControlPlane, own: AgentOf, _request: Mapping[str, Any]) -> Answer:
    """Answers {endpoint}. An answer without one would be remembered by the agent for twelve hours."""
    if _deregistered(cp, own):
        raise ClientException(DEREGISTERED)
    if not cp.agent_poll_endpoint:
        raise UnsupportedFeatureException(
            "DiscoverPollEndpoint is not supported by this deployment: its parameter AgentPollEndpoint is empty, so "
            "that nothing can speak to Amazon's agent."
        )
    return {"endpoint": cp.agent_poll_endpoint}


def submit_task_state_change(cp: ControlPlane, own: AgentOf, request: Mapping[str, Any]) -> Answer:
    """Answers {acknowledgment}."""
    return _submit(cp, own, request, change_of_task(request))


def submit_container_state_change(cp: ControlPlane, own: AgentOf, request: Mapping[str, Any]) -> Answer:
    """Answers {acknowledgment}. The task itself stays where it is: of its end the agent tells with the task."""
    return _submit(cp, own, request, change_of_container(request))


def submit_attachment_state_changes(_cp: ControlPlane, _own: AgentOf, request: Mapping[str, Any]) -> Answer:
    """Always refused: no task of an external instance has a network interface or volume attached."""
    named = next((each.get("attachmentArn", "") for each in request["attachments"]), "")
    raise InvalidParameterException(f"Attachment {named[:300]} is not known.")


def _submit(cp: ControlPlane, own: AgentOf, request: Mapping[str, Any], change: StateChange) -> Answer:
    """Of an instance that is deregistered nothing is believed but that a task has stopped."""
    if change.status is not TaskStatus.STOPPED and _deregistered(cp, own):
        raise InvalidParameterException(DEREGISTERED)
    named = request.get("task") or ""

    def merge(_attempt: int) -> None:
        task = _own_task(cp, own, named)
        report = report_of(task, change)
        if report is not None:
            _check_containers(cp, task, change)
            now = cp.clock()
            commit_changes(cp, (own.cluster, own.instance_id), [(task, apply_report(task, report, now))], now)
        new = report is not None
        logger.info("Report", extra={"task": task.task_id, "status": change.status, "new": new})

    until_answered(cp, merge, what="task")
    return dict(ACKNOWLEDGED)


def _deregistered(cp: ControlPlane, own: AgentOf) -> bool:
    instance = instances.load(cp.table, own.cluster, own.instance_id)
    return instance is not None and instance.status is InstanceStatus.INACTIVE


def _own_task(cp: ControlPlane, own: AgentOf, named: str) -> Task:
    """One of another instance is as unknown as one that does not exist."""
    task_id = resource_name(named)
    elsewhere = cluster_of(named) not in {None, own.cluster}
    task = tasks.load(cp.table, own.cluster, task_id) if looks_like_an_id(task_id) and not elsewhere else None
    if task is None or task.instance_id != own.instance_id:
        audit.refused(
            cp,
            principal=cp.arns.container_instance(own.cluster, own.instance_id),
            action="ecs:SubmitTaskStateChange",
            resource=named,
            source="",
            reason="no task of this container instance",
        )
        raise InvalidParameterException("The referenced task was not found on this container instance.")
    return task


def _check_containers(cp: ControlPlane, task: Task, change: StateChange) -> None:
    """Only those of its definition: a machine cannot make an item of the table grow."""
    definition = cp.definitions.get(task.task_definition)
    names = {container["name"] for container in (definition or {}).get("containerDefinitions", ())}
    for container in change.containers:
        if container.name not in names:
            raise InvalidParameterException(f"The task has no container {container.name[:255]}.")


def _machine(request: Mapping[str, Any]) -> RegisterContainerInstance:
    """What the agent says of its machine, as our own agent says it. Raises InvalidParameterException."""
    totals = {each.get("name"): each for each in request.get("totalResources", ())}
    if not {"CPU", "MEMORY"} <= totals.keys():
        raise InvalidParameterException("totalResources needs CPU and MEMORY.")
    about = {name: value for name, value in request.items() if name != "containerInstanceArn"}
    text = json.dumps(about, sort_keys=True, default=str)
    if len(text) > MAX_MESSAGE_BYTES:
        raise InvalidParameterException("The registration has more attributes and ports than an instance can have.")
    if not all(each["name"] for each in request.get("attributes", ())):
        raise InvalidParameterException("An attribute needs a name.")
    version = request.get("versionInfo", {})
    try:
        return RegisterContainerInstance(
            request_id="RegisterContainerInstance",
            digest=hashlib.sha256(text.encode()).hexdigest(),
            agent_version=version.get("agentVersion", ""),
            docker_version=version.get("dockerVersion", "").removeprefix("DockerVersion: ") or None,
            cpu=totals["CPU"].get("integerValue", 0),
            memory=totals["MEMORY"].get("integerValue", 0),
            ports_in_use=tuple(
                HostPort(port=int(port), protocol=protocol)
                for name, protocol in (("PORTS", "tcp"), ("PORTS_UDP", "udp"))
                for port in totals.get(name, {}).get("stringSetValue", ())
            ),
            gpu_ids=_gpu_ids(request),
            attributes=tuple(
                Attribute(name=each["name"], value=each.get("value") or None) for each in request.get("attributes", ())
            ),
        )
    except (ValidationError, ValueError) as error:
        raise InvalidParameterException(
            "totalResources or platformDevices are not valid: whole numbers, ports to 65535, and "
            f"at most {MAX_GPUS} devices with an id."
        ) from error


def _gpu_ids(request: Mapping[str, Any]) -> tuple[str, ...]:
    devices = request.get("platformDevices", ())
    for each in devices:
        if each["type"] != "GPU":
            raise InvalidParameterException(
                f"platformDevices.type {each['type']} is not supported yet: use GPU, or remove it."
            )
    return tuple(sorted({each["id"] for each in devices}))
