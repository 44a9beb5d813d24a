"""The options of Docker's log drivers, of those of a task definition. Pure.

What is written goes to the driver in mode `non-blocking` unless the definition says otherwise, which is Amazon ECS's
default for every driver since June 25, 2025 (the account setting defaultLogDriverMode).

With awslogs Docker's daemon itself sends what is written to CloudWatch Logs, with the execution role's credentials: it
fetches them from this agent, as it does from Amazon's, by an id that nobody can guess.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html
https://docs.docker.com/engine/logging/drivers/awslogs/
"""

from collections.abc import Mapping

from ecs_anywhere_agent.container_spec import LogConfiguration
from ecs_anywhere_agent.core.values import ContainerRef

_AWSLOGS, _FIRELENS = "awslogs", "awsfirelens"
_NON_BLOCKING = "non-blocking"
_MAX_BUFFER = "10m"
_PREFIX, _STREAM = "awslogs-stream-prefix", "awslogs-stream"
_CREDENTIALS, _ENDPOINT = "awslogs-credentials-endpoint", "awslogs-endpoint"
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "AWS_ENDPOINT_URL")


def completed(
    logs: LogConfiguration, ref: ContainerRef, credentials: str | None, environment: Mapping[str, str]
) -> LogConfiguration:
    """`credentials`: where the daemon gets them (Endpoint.of_log_driver); None: it uses its own.

    `environment` is the agent's own, which says where AWS is, if it is not where it always is. The options of
    awsfirelens are the log router's.
    """
    if logs.driver == _FIRELENS:
        return logs
    options = {"mode": _NON_BLOCKING, **dict(logs.options)}
    if options["mode"] == _NON_BLOCKING:
        options.setdefault("max-buffer-size", _MAX_BUFFER)
    if logs.driver == _AWSLOGS:
        options = _of_awslogs(options, ref, credentials, environment)
    return logs._replace(options=tuple(options.items()))


def _of_awslogs(
    given: Mapping[str, str], ref: ContainerRef, credentials: str | None, environment: Mapping[str, str]
) -> dict[str, str]:
    options = dict(given)
    prefix = options.pop(_PREFIX, None)
    if prefix is not None:
        options[_STREAM] = f"{prefix}/{ref.name}/{ref.task_id}"
    if credentials is not None:
        options[_CREDENTIALS] = credentials
    endpoint = next(filter(None, map(environment.get, _ENDPOINT_VARIABLES)), None)
    if endpoint is not None:
        options.setdefault(_ENDPOINT, endpoint)
    return options
