"""ExecuteCommand: agents open no sessions into containers. It is refused as for any task that was run without it.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommand.html
"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.flows.lookup import identifier, require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import tasks

TASK_ID_LENGTHS = (32, 36)
NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent isn’t running. Wait and try again or run a new task with execute command enabled and try again."  # noqa: RUF001
)
"""Amazon's words, with its apostrophe; RunTask and StartTask refuse `enableExecuteCommand`."""


def execute_command(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Never answers. Raises InvalidParameterException, ClusterNotFoundException."""
    cluster = require_cluster(cp, request.get("cluster"))
    task_id = identifier(request["task"], cluster)
    if len(task_id) not in TASK_ID_LENGTHS:
        raise InvalidParameterException("task length should be one of [32,36]")
    if not request["interactive"]:
        raise InvalidParameterException("Interactive is the only mode supported currently.")
    if not looks_like_an_id(task_id) or tasks.load(cp.table, cluster.name, task_id) is None:
        raise InvalidParameterException("The referenced task was not found.")
    raise InvalidParameterException(NOT_ENABLED)
