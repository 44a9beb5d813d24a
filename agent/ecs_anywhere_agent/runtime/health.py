"""The health of one run of a container, decided from how its checks went, as Docker decides it. Pure.

https://docs.docker.com/reference/dockerfile/#healthcheck
"""

from dataclasses import dataclass, replace

from ecs_anywhere_agent.container_spec import HealthCheck
from ecs_protocol.statuses import HealthStatus


@dataclass(frozen=True, slots=True)
class Health:
    """Times are seconds on one clock, whichever."""

    check: HealthCheck
    grace_until: float
    """Until then a failure does not count, unless there was a success."""
    due: float
    """When to check next."""
    status: HealthStatus = HealthStatus.UNKNOWN
    failures: int = 0
    """In a row, up to now."""

    @classmethod
    def of_run(cls, check: HealthCheck, now: float, age: float) -> "Health":
        """Nothing is known yet of a run that has lasted for `age` seconds."""
        return cls(check, grace_until=now - age + check.start_period, due=now + check.interval)

    def after(self, began: float, ended: float, *, passed: bool) -> "Health":
        """What is known after a check; the next one is due an interval after its end."""
        due = ended + self.check.interval
        if passed:
            return replace(self, due=due, status=HealthStatus.HEALTHY, failures=0)
        if self.status is HealthStatus.UNKNOWN and began < self.grace_until:
            return replace(self, due=due)
        failures = self.failures + 1
        status = HealthStatus.UNHEALTHY if failures >= self.check.retries else self.status
        return replace(self, due=due, status=status, failures=failures)
