"""What the machine's owner keeps from tasks.

It is not announced, so that placement sends no such task; and a task that needs it and comes all the same is refused
by the agent, whoever sent it.
"""

from collections.abc import Iterable, Iterator

from ecs_anywhere_agent.settings.model import Settings
from ecs_protocol.capabilities import CAPABILITIES, LOG_DRIVERS


def withheld_features(settings: Settings) -> frozenset[str]:
    """In the words of the table of capabilities."""
    return frozenset(_withheld(settings))


def _withheld(settings: Settings) -> Iterator[str]:
    if settings.privileged_disabled:
        yield "privileged"
    off = {
        "selinux": settings.selinux,
        "apparmor": settings.apparmor,
        "task-limits": settings.task_limits,
        "task-role": settings.task_roles,
        "task-role-network-host": settings.task_roles and settings.task_roles_on_host_network,
        "execution-role-awslogs": settings.awslogs_by_execution_role,
    }
    yield from (feature for feature, allowed in off.items() if allowed is False)
    if settings.log_drivers is not None:
        yield from (f"log-driver-{each}" for each in LOG_DRIVERS if each not in settings.log_drivers)


def withheld_attributes(features: Iterable[str]) -> frozenset[str]:
    """Of the capabilities that need one of the features."""
    off = frozenset(features)
    return frozenset(capability.name for capability in CAPABILITIES if capability.features & off)
