"""The options of Docker's awslogs driver, of those of a task definition. Pure.

Docker's daemon itself sends what is written to CloudWatch Logs, with the execution role's credentials: it fetches them
from this agent, as it does from Amazon's, by an id that nobody can guess.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html
https://docs.docker.com/engine/logging/drivers/awslogs/
"""

from collections.abc import Mapping

from ecs_anywhere_agent.container_spec import LogConfiguration
from ecs_anywhere_agent.core.values import ContainerRef

AWSLOGS = "awslogs"
_PREFIX, _STREAM = "awslogs-stream-prefix", "awslogs-stream"
_CREDENTIALS, _ENDPOINT = "awslogs-credentials-endpoint", "awslogs-endpoint"
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "AWS_ENDPOINT_URL")


def completed(
    logs: LogConfiguration, ref: ContainerRef, credentials: str | None, environment: Mapping[str, str]
) -> LogConfiguration:
    """`credentials`: where the daemon gets them (Endpoint.of_log_driver); None: it uses its own.

    `environment` is the agent's own, which says where AWS is, if it is not where it always is.
    """
    options = dict(logs.options)
    prefix = options.pop(_PREFIX, None)
    if prefix is not None:
        options[_STREAM] = f"{prefix}/{ref.name}/{ref.task_id}"
    if credentials is not None:
        options[_CREDENTIALS] = credentials
    endpoint = next(filter(None, map(environment.get, _ENDPOINT_VARIABLES)), None)
    if endpoint is not None:
        options.setdefault(_ENDPOINT, endpoint)
    return logs._replace(options=tuple(options.items()))
