"""Which roles a task has, and which of them it cannot start without. For the control plane and the agent.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ecs_protocol.messages import RoleKind

Definition = Mapping[str, Any]

_MEMBERS: Mapping[RoleKind, str] = {"task": "taskRoleArn", "execution": "executionRoleArn"}


def roles_of(definition: Definition, overrides: Definition) -> dict[RoleKind, str]:
    """The name or ARN of each role that the definition, or what overrides it, names."""
    named = {kind: overrides.get(member) or definition.get(member) for kind, member in _MEMBERS.items()}
    return {kind: role for kind, role in named.items() if role}


def needed_roles(definition: Definition, overrides: Definition) -> dict[RoleKind, str]:
    """Those whose credentials the task must have to start.

    The execution role only where there is something to use it for: consoles and examples name one by habit, and a
    machine that stands anywhere gets no credentials that it has no use for.
    """
    roles = roles_of(definition, overrides)
    if not any(_uses_execution_role(each) for each in _containers(definition, overrides)):
        roles.pop("execution", None)
    return roles


def _containers(definition: Definition, overrides: Definition) -> Iterator[Definition]:
    """Also what overrides them: it may add environment files."""
    yield from definition.get("containerDefinitions") or ()
    yield from overrides.get("containerOverrides") or ()


def _uses_execution_role(container: Definition) -> bool:
    logs = container.get("logConfiguration") or {}
    router = (container.get("firelensConfiguration") or {}).get("options") or {}
    return bool(
        ".dkr.ecr" in (container.get("image") or "")
        or (container.get("repositoryCredentials") or {}).get("credentialsParameter")
        or container.get("secrets")
        or container.get("environmentFiles")
        or logs.get("logDriver") == "awslogs"
        or logs.get("secretOptions")
        or router.get("config-file-type") == "s3"
    )
