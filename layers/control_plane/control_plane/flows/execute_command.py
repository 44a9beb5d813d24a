"""ExecuteCommand: open a stream in which an operator runs one command in a container (ecs_protocol/streams.py).

    authorized ──► audited ──► an address for the operator ──► OpenExec to the machine

Nothing is stored: if the machine does not hear of it, the operator finds nobody, and asks again.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommand.html
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from control_plane.domain.authorization import Caller
from control_plane.domain.errors import InvalidParameterException, ServerException, TargetNotConnectedException
from control_plane.domain.task import Task
from control_plane.flows import audit
from control_plane.flows.authorize import arn_of
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import definition_of, looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import instances, tasks
from ecs_protocol.messages import OpenExec, OpenLogs
from ecs_protocol.statuses import DesiredStatus, TaskStatus
from ecs_protocol.streams import STREAM_SECONDS

HEADER, MQTT = "x-ecs-anywhere-stream", "mqtt"
"""With which a client says that it plays our streams: Amazon's Session Manager plugin does not."""
PLAYER = "streamPlayedBy"
"""In a request of such a client: its Caller."""

TASK_ID_LENGTHS = (32, 36)
LONGEST_COMMAND = 8192
NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent isn’t running. Wait and try again or run a new task with execute command enabled and try again."  # noqa: RUF001
)
"""Amazon's words, with its apostrophe."""
NOT_CONNECTED = "The execute command failed because the task's container instance is not connected. Try again later."
NO_PLUGIN = (
    "This client plays no stream of ECS Anywhere: Amazon's Session Manager plugin speaks to AWS Systems Manager, which "
    "has no part in it. Use `ecs-anywhere exec TASK -- COMMAND`."
)
EVENT = "ECS Anywhere Audit"


def execute_command(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {clusterArn, containerArn, containerName, interactive, session, taskArn}; `tokenValue` is a Stream.

    Raises InvalidParameterException, ClusterNotFoundException, TargetNotConnectedException.
    """
    cluster = require_cluster(cp, request.get("cluster"))
    task_id = identifier(request["task"], cluster)
    if len(task_id) not in TASK_ID_LENGTHS:
        raise InvalidParameterException("task length should be one of [32,36]")
    if not request["interactive"]:
        raise InvalidParameterException("Interactive is the only mode supported currently.")
    task = tasks.load(cp.table, cluster.name, task_id) if looks_like_an_id(task_id) else None
    if task is None:
        raise InvalidParameterException("The referenced task was not found.")
    container = _container(cp, task, request.get("container"))
    command = _command(request["command"])
    caller: Caller | None = request.get(PLAYER)
    if caller is None:
        raise InvalidParameterException(NO_PLUGIN)
    instance = instances.load(cp.table, task.cluster, task.instance_id)
    if instance is None or not instance.agent_connected:
        raise TargetNotConnectedException(NOT_CONNECTED)
    session_id = cp.new_id()
    _audit(cp, caller, task, {"container": container, "command": command, "sessionId": session_id})
    wanted = OpenExec(
        session_id=session_id, task_id=task.task_id, container=container, command=command, seconds=STREAM_SECONDS
    )
    return {
        "clusterArn": cp.arns.cluster(task.cluster),
        "containerArn": cp.arns.container(task.cluster, task.task_id, container),
        "containerName": container,
        "interactive": True,
        "session": open_stream(cp, task.instance_id, wanted),
        "taskArn": cp.arns.task(task.cluster, task.task_id),
    }


def open_stream(cp: ControlPlane, instance_id: str, wanted: OpenExec | OpenLogs) -> dict[str, str]:
    """Tell the machine, and answer where the operator finds it, as ECS's Session.

    Raises TargetNotConnectedException.
    """
    address = cp.streams.address(instance_id, wanted.session_id)
    try:
        cp.agents.send(instance_id, wanted)
    except (ClientError, BotoCoreError) as error:
        raise TargetNotConnectedException(NOT_CONNECTED) from error
    return {"sessionId": wanted.session_id, "streamUrl": address.url, "tokenValue": address.stream.to_json()}


def _container(cp: ControlPlane, task: Task, name: str | None) -> str:
    """The one that is named, or the only one, if commands may be run in it now. Raises InvalidParameterException."""
    names = [each["name"] for each in definition_of(cp, task)["containerDefinitions"]]
    if name is not None and name not in names:
        raise InvalidParameterException(f"The task has no container {name}. It has: {', '.join(names)}.")
    if name is None and len(names) > 1:
        raise InvalidParameterException(f"The task has several containers. Name one of them: {', '.join(names)}.")
    chosen = name or names[0]
    running = {each.name for each in task.containers if each.last_status is TaskStatus.RUNNING}
    ends = task.desired_status is DesiredStatus.STOPPED or task.stopped
    if not task.execute_command or ends or chosen not in running:
        raise InvalidParameterException(NOT_ENABLED)
    return chosen


def _command(command: str) -> str:
    if not command.strip():
        raise InvalidParameterException("command can not be blank.")
    if len(command) > LONGEST_COMMAND:
        raise InvalidParameterException(f"command can have at most {LONGEST_COMMAND} characters.")
    return command


def _audit(cp: ControlPlane, caller: Caller, task: Task, asked: Mapping[str, str]) -> None:
    """Before anything is opened: what is not told is not done. Raises ServerException."""
    arn = cp.arns.task(task.cluster, task.task_id)
    identity = {
        "arn": arn_of(cp, caller),
        "principalId": caller.principal,
        "accessKeyId": caller.access_key_id,
    }
    detail = {
        "eventSource": "ecs.anywhere",
        "eventName": "ExecuteCommand",
        "eventTime": cp.clock(),
        "userIdentity": identity,
        "requestParameters": {
            "cluster": cp.arns.cluster(task.cluster),
            "task": arn,
            "container": asked["container"],
            "command": asked["command"],
            "interactive": True,
        },
        "responseElements": {"sessionId": asked["sessionId"]},
    }
    instance = cp.arns.container_instance(task.cluster, task.instance_id)
    if cp.bus.put([cp.bus.entry(EVENT, [arn, instance], detail, cp.clock())]):
        raise ServerException("Nothing was executed: the audit event could not be told. Try again.")
    audit.allowed(
        principal=caller.principal,
        action="ecs:ExecuteCommand",
        resource=arn,
        source=caller.source,
        reason="it is the administrator" if caller.administrator else "a policy allows it",
        accessKeyId=caller.access_key_id,
        **asked,
    )
