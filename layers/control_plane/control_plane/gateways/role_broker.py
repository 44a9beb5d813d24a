"""The function that alone may assume the roles of tasks, asked by those that start tasks whether it can.

It answers yes or no, never with credentials.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

logger = Logger(child=True)

REMEMBERED = timedelta(minutes=5)
"""How long a role that could be assumed is not asked about again. What could not be is asked about each time."""

SILENT = timedelta(seconds=30)
"""How long it is not asked again after it has not answered: whoever starts tasks has no time for it."""


class RoleBroker:
    """`client` is a boto3 lambda client."""

    def __init__(self, client: Any, function_name: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._function_name = function_name
        self._now = now
        self._trusting: dict[tuple[str, str], datetime] = {}
        self._silent_until: datetime | None = None

    def refusals(self, cluster: str, roles: Sequence[str]) -> dict[str, str]:
        """Those of the roles that it cannot assume for tasks of this cluster, and why, in the words of AWS STS.

        If it does not answer, none: the task is started, and waits for its credentials on its machine.
        """
        now = self._now()
        unknown = [role for role in roles if self._trusting.get((cluster, role), now) <= now]
        if not unknown or (self._silent_until is not None and now < self._silent_until):
            return {}
        try:
            answer = self._client.invoke(
                FunctionName=self._function_name, Payload=json.dumps({"cluster": cluster, "roles": unknown})
            )
            if "FunctionError" in answer:
                raise ValueError(answer["FunctionError"])
            refused: dict[str, str] = json.loads(answer["Payload"].read())["refused"]
        except (ClientError, BotoCoreError, ValueError, KeyError):
            logger.exception("Nobody says whether roles can be assumed", extra={"roles": unknown})
            self._silent_until = now + SILENT
            return {}
        self._trusting |= {(cluster, role): now + REMEMBERED for role in unknown if role not in refused}
        return refused
