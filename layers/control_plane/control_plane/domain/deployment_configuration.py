"""What a request says of how a service's deployments go.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html
"""

from collections.abc import Mapping
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.service import CircuitBreaker, DeploymentConfiguration


def checked_configuration(given: Mapping[str, Any], before: DeploymentConfiguration) -> DeploymentConfiguration:
    """`before` with what the request's deploymentConfiguration gives. Raises InvalidParameterException."""
    breaker = given.get("deploymentCircuitBreaker")
    most = given.get("maximumPercent", before.maximum_percent)
    least = given.get("minimumHealthyPercent", before.minimum_healthy_percent)
    if most < 100:
        raise InvalidParameterException(f"maximumPercent should be 100 or more, but is {most}.")
    if not 0 <= least <= 100:
        raise InvalidParameterException(f"minimumHealthyPercent should be between 0 and 100, but is {least}.")
    if most == least:
        raise InvalidParameterException(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments."
        )
    return DeploymentConfiguration(
        maximum_percent=most,
        minimum_healthy_percent=least,
        circuit_breaker=before.circuit_breaker if breaker is None else _circuit_breaker(breaker),
    )


def _circuit_breaker(given: Mapping[str, Any]) -> CircuitBreaker:
    threshold = given.get("thresholdConfiguration") or {}
    value = threshold.get("value")
    if value is not None and value < 1:
        raise InvalidParameterException(f"The value of thresholdConfiguration should be 1 or more, but is {value}.")
    return CircuitBreaker(
        enable=given["enable"],
        rollback=given["rollback"],
        reset_on_healthy_task=given.get("resetOnHealthyTask"),
        threshold_type=threshold.get("type"),
        threshold_value=value,
    )
