"""What `status` tells: the agent's state in words for people and scripts. Members only join, they never leave."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ecs_anywhere_agent import __version__
from ecs_anywhere_agent.agent import Agent
from ecs_anywhere_agent.core.credentials import why_waiting
from ecs_anywhere_agent.core.events import StopAsked
from ecs_anywhere_agent.core.values import Container, Instant, State, Task
from ecs_anywhere_agent.local_api import RefusedError

_NEVER = Instant(0.0, datetime(1970, 1, 1, tzinfo=UTC))


def answers(agent: Agent, cluster: str) -> dict[str, Callable[[Any], Any]]:
    """What the running agent answers on the machine; from any thread."""

    def status(_: object) -> dict[str, Any]:
        now = agent.now()
        state, contact = agent.state, agent.contact
        connected = contact.connected and state.link is not None
        return {
            "containerInstanceArn": state.container_instance_arn,
            "cluster": cluster,
            "agent": {
                "running": True,
                "version": __version__,
                "processId": os.getpid(),
                "startedAt": _wall(agent.started, now),
                "problem": agent.problem,
            },
            "connection": {
                "connected": connected,
                "reconciled": connected and state.link is not None and state.link.epoch > 0,
                "since": _wall(contact.since, now),
                "problem": contact.problem,
                "lastExchangeAt": None if contact.last_exchange is None else _wall(contact.last_exchange, now),
            },
            **of_state(state, now),
        }

    def stop(task_id: object) -> dict[str, Any]:
        if not isinstance(task_id, str) or task_id not in agent.state.tasks:
            raise RefusedError(f"there is no task {task_id!r} on this machine")
        agent.emit(StopAsked(task_id))
        return {"taskId": task_id}

    return {"status": status, "stop": stop}


def of_state(state: State, now: Instant = _NEVER) -> dict[str, Any]:
    """What can be said without a running agent, too, which holds no credentials at any time."""
    return {
        "unsentReports": sum(not _reported(task) and task.orphan is None for task in state.tasks.values()),
        "tasks": [_of_task(task, why_waiting(state, task, now)) for task in state.tasks.values()],
    }


def _of_task(task: Task, waiting: str | None) -> dict[str, Any]:
    return {
        "taskId": task.task_id,
        "taskDefinition": task.task_definition,
        "group": None if task.command is None else task.command.group,
        "desiredStatus": task.desired,
        "lastStatus": task.last_status,
        "orphan": task.orphan is not None,
        "reported": _reported(task),
        "waiting": waiting,
        "restarts": 0 if task.restarts is None else task.restarts.count,
        "containers": [_of_container(container) for container in task.containers],
    }


def _of_container(container: Container) -> dict[str, Any]:
    return {
        "name": container.name,
        "phase": container.phase,
        "exitCode": container.exit_code,
        "health": container.health,
        "stopTimeout": container.stop_timeout,
    }


def _reported(task: Task) -> bool:
    return task.acknowledged_revision >= task.revision


def _wall(elapsed: float, now: Instant) -> str:
    """On the wall clock as it goes now, whatever it said then."""
    return (now.wall - timedelta(seconds=now.elapsed - elapsed)).isoformat(timespec="seconds")
