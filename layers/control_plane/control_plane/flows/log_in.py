"""An IAM identity, which API Gateway has proven, gets a short-lived key for the ECS API."""

import re
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.session_key import (
    LONGEST,
    PREFIX,
    SHORTEST,
    USUAL,
    Claims,
    principal_of,
    session_secret_of,
    token_of,
)
from control_plane.runtime import ControlPlane

logger = Logger(child=True)


def log_in(cp: ControlPlane, user_arn: str, duration: str | None, *, administrator: bool) -> dict[str, Any]:
    """Answers what a credential_process does. Raises InvalidParameterException.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
    """
    least, most = int(SHORTEST.total_seconds()), int(LONGEST.total_seconds())
    seconds = int(USUAL.total_seconds()) if duration is None else _seconds(duration)
    if not least <= seconds <= most:
        raise InvalidParameterException(f"durationSeconds is a whole number from {least} to {most}.")
    expires_at: datetime = (cp.clock() + timedelta(seconds=seconds)).replace(microsecond=0)
    signing_key = cp.signing_keys.newest()
    claims = Claims(
        access_key_id=PREFIX + cp.new_id().upper(),
        principal=principal_of(user_arn),
        arn=user_arn,
        administrator=administrator,
        expires_at=int(expires_at.timestamp()),
        signing_key=signing_key.key_id,
    )
    token = token_of(signing_key, claims)
    told = {"principal": claims.principal, "arn": user_arn, "administrator": administrator}
    logger.info("Logged in", extra={**told, "accessKeyId": claims.access_key_id})
    return {
        "Version": 1,
        "AccessKeyId": claims.access_key_id,
        "SecretAccessKey": session_secret_of(signing_key, token),
        "SessionToken": token,
        "Expiration": expires_at.isoformat(),
    }


def _seconds(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else 0
