"""Before a task is started: that the roles it cannot start without can be assumed for it."""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.runtime import ControlPlane
from ecs_protocol.roles import needed_roles


def refusal_of_roles(
    cp: ControlPlane, cluster: str, definition: Mapping[str, Any], overrides: Mapping[str, Any]
) -> str | None:
    """Which role cannot be assumed, in the words of Amazon ECS; None: all can, or there are none."""
    needed = sorted({cp.arns.role(role) for role in needed_roles(definition, overrides).values()})
    refused = cp.role_broker.refusals(cluster, needed) if needed else {}
    if not refused:
        return None
    role = min(refused)
    return (
        f"ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role "
        "being passed has the proper trust relationship and permissions and that your IAM user has permissions to "
        f"pass this role. See what it lacks: ecs-anywhere trust {role}"
    )


def require_roles(cp: ControlPlane, cluster: str, definition: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Raises ClientException."""
    refusal = refusal_of_roles(cp, cluster, definition, overrides)
    if refusal is not None:
        raise ClientException(refusal)
