"""Whether roles can be assumed for tasks: tried before a task is started with them.

What they give is thrown away: only who runs a task gets credentials, and only by asking for them itself.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from control_plane.domain.session_tags import session_tags
from control_plane.gateways.roles import SHORTEST, RoleRefusedError
from control_plane.runtime import ControlPlane

AT_ONCE = 8
SESSION = "check"
"""In the place of a task's id, and of its container instance's."""


def check_roles(cp: ControlPlane, cluster: str, roles: Sequence[str]) -> dict[str, str]:
    """Those that cannot be assumed, and why, in Amazon's words. Raises ClientError or BotoCoreError."""

    def refusal(role: str) -> str | None:
        try:
            cp.roles.assume(role, SESSION, session_tags(cp.prefix, cluster, SESSION, SESSION), SHORTEST)
        except RoleRefusedError as refused:
            return str(refused)
        return None

    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
        found = zip(roles, threads.map(refusal, roles), strict=True)
        return {role: reason for role, reason in found if reason is not None}
