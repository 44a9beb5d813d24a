"""How a container is watched over: health check, restart policy and time-outs, completed as Amazon ECS does.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html
"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_texts import check_number

HEALTH_CHECK_LIMITS: Mapping[str, tuple[int, int]] = {
    "interval": (5, 300),
    "timeout": (2, 60),
    "retries": (1, 10),
    "startPeriod": (0, 300),
}
RESTART_ATTEMPT_PERIOD_LIMITS = (60, 1800)
MAX_IGNORED_EXIT_CODES = 50
MAX_STOP_TIMEOUT_SECONDS = 86400
LEAST_START_TIMEOUT_SECONDS = 2

_HEALTH_CHECK_DEFAULTS = {"interval": 30, "timeout": 5, "retries": 3}
_RESTART_ATTEMPT_PERIOD_SECONDS = 300


def normalise_supervision(given: Mapping[str, Any], container: str) -> dict[str, Any]:
    """What a container says of it. Raises ClientException."""
    stop_timeout = given.get("stopTimeout")
    if stop_timeout is not None and not 0 <= stop_timeout <= MAX_STOP_TIMEOUT_SECONDS:
        raise ClientException(
            f"Invalid 'stopTimeout' setting for container '{container}'. Write 0 to {MAX_STOP_TIMEOUT_SECONDS} seconds."
        )
    if given.get("startTimeout", LEAST_START_TIMEOUT_SECONDS) < LEAST_START_TIMEOUT_SECONDS:
        raise ClientException(
            f"Granular start timeout on container '{container}' must be at least {LEAST_START_TIMEOUT_SECONDS} seconds."
        )
    check, policy = given.get("healthCheck"), given.get("restartPolicy")
    return {
        **({"healthCheck": normalise_health_check(check, container)} if check else {}),
        **({"restartPolicy": normalise_restart_policy(policy, container)} if policy else {}),
    }


def normalise_health_check(given: Mapping[str, Any], container: str) -> dict[str, Any]:
    """A start period that is not given stays so. Raises ClientException."""
    form, *words = given.get("command") or ("",)
    if form not in {"CMD", "CMD-SHELL", "NONE"}:
        raise ClientException(
            f"Invalid 'healthCheck.command' setting for container '{container}'. Write CMD, CMD-SHELL or NONE first."
        )
    if form != "NONE" and not (words and words[0].strip()):
        raise ClientException(
            f"Invalid 'healthCheck.command' setting for container '{container}'. Write what to run after {form}."
        )
    numbers = {member: given[member] for member in HEALTH_CHECK_LIMITS if given.get(member) is not None}
    for member, number in numbers.items():
        check_number(number, HEALTH_CHECK_LIMITS[member], f"healthCheck.{member}", container)
    return {"command": [form, *words], **_HEALTH_CHECK_DEFAULTS, **numbers}


def normalise_restart_policy(given: Mapping[str, Any], container: str) -> dict[str, Any]:
    """Raises ClientException."""
    enabled, codes = bool(given.get("enabled")), list(given.get("ignoredExitCodes") or ())
    period = given.get("restartAttemptPeriod")
    if period is None and enabled:
        period = _RESTART_ATTEMPT_PERIOD_SECONDS
    if period is not None:
        check_number(period, RESTART_ATTEMPT_PERIOD_LIMITS, "restartPolicy.restartAttemptPeriod", container)
    if len(codes) > MAX_IGNORED_EXIT_CODES:
        raise ClientException(
            f"Invalid 'restartPolicy.ignoredExitCodes' setting for container '{container}'. "
            f"Write at most {MAX_IGNORED_EXIT_CODES}."
        )
    return {
        "enabled": enabled,
        **({"ignoredExitCodes": codes} if codes else {}),
        **({"restartAttemptPeriod": period} if period is not None else {}),
    }
