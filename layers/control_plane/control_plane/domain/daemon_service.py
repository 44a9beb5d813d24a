"""What a DAEMON service cannot have: its instances say how many tasks there are, and where.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.rules import Constraints
from control_plane.domain.service import DeploymentConfiguration, Service
from control_plane.domain.tags import DISCONNECT, absence_of

DEFAULT_CONFIGURATION = DeploymentConfiguration(maximum_percent=100, minimum_healthy_percent=0)


def check_daemon(service: Service, request: Mapping[str, Any], constraints: Constraints) -> None:
    """Raise for the first thing in a request that makes no sense for the DAEMON service that it would lead to.

    The first four are refused as Amazon ECS does it. Raises InvalidParameterException.
    """
    does_not = "The daemon scheduling strategy does not support"
    if request.get("desiredCount") is not None:
        raise InvalidParameterException(
            f"{does_not} a desired count for services. Remove the desired count value and try again"
        )
    if service.placement_strategy:
        raise InvalidParameterException(f"{does_not} placement strategies. Remove the placement strategy and try again")
    if service.deployment_configuration.maximum_percent > 100:
        raise InvalidParameterException(
            f"{does_not} values above 100 for maximumPercent on a deployment configuration. Change the maximumPercent "
            "value to 100, and try again"
        )
    if service.capacity_provider_strategy:
        raise InvalidParameterException(
            "Specifying a capacity provider strategy is not supported when you create a service using the DAEMON "
            "scheduling strategy."
        )
    if constraints.of_tasks:
        raise InvalidParameterException(
            f"{does_not} placement constraints about task:group or runningTasksCount: its tasks would come and go with "
            "those of others. Use attributes of the container instances."
        )
    if absence_of(service.tags).kind == "replace-after":
        raise InvalidParameterException(
            f"Tag {DISCONNECT}: {does_not.lower()} replace-after: a task has no other place than its instance. "
            "Write keep or stop-after=10m."
        )
