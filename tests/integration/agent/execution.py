"""What the tests of what is fetched by an execution role share."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ecs_anywhere_agent.aws import Answer, AwsCall
from ecs_anywhere_agent.execution_role import ExecutionRoles
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_protocol.messages import RoleCredentials
from integration.agent.runtimes import TASK_ID

ROLE = "arn:aws:iam::000000000000:role/execution"


def credentials(ends_in: timedelta = timedelta(hours=1)) -> RoleCredentials:
    return RoleCredentials(
        task_id=TASK_ID,
        role="execution",
        role_arn=ROLE,
        access_key_id="test",
        secret_access_key="test",
        session_token="the-session-token",
        expiration=datetime.now(UTC) + ends_in,
    )


def held(*given: RoleCredentials) -> HeldCredentials:
    made = HeldCredentials()
    made.put(given or (credentials(),))
    return made


def roles() -> ExecutionRoles:
    """With credentials for the task of the tests, and a real child that calls whatever AWS_ENDPOINT_URL says."""
    return ExecutionRoles(held())


class NoNetwork:
    """Answers as a child on a machine that is cut off."""

    def __call__(self, credentials: RoleCredentials, calls: Sequence[AwsCall]) -> list[Answer]:
        raise AssertionError(f"nobody should have asked for {calls} with {credentials.role_arn}")

    def close(self) -> None:
        pass
