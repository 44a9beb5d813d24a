"""From how the checks of a run went to its health."""

import pytest

from ecs_anywhere_agent.container_spec import HealthCheck
from ecs_anywhere_agent.runtime.health import Health
from ecs_protocol.statuses import HealthStatus

H, U, N = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY, HealthStatus.UNKNOWN


def check(*, retries: int = 3, start_period: int = 0) -> HealthCheck:
    return HealthCheck(("CMD", "true"), interval=10, timeout=5, retries=retries, start_period=start_period)


@pytest.mark.parametrize(
    ("given", "results", "statuses"),
    [
        pytest.param(check(), "+", [H], id="one-success-is-health"),
        pytest.param(check(), "---", [N, N, U], id="as-many-failures-as-retries-are-none"),
        pytest.param(check(retries=1), "-", [U], id="or-the-first-failure"),
        pytest.param(check(), "+---", [H, H, H, U], id="health-lasts-until-then"),
        pytest.param(check(), "--+--", [N, N, H, H, H], id="a-success-forgives-the-failures-before"),
        pytest.param(check(), "---+", [N, N, U, H], id="one-success-is-recovery"),
        pytest.param(check(retries=1, start_period=25), "---", [N, N, U], id="failures-at-10-and-20-do-not-count"),
        pytest.param(check(retries=1, start_period=25), "+-", [H, U], id="a-success-ends-the-start-period"),
        pytest.param(check(retries=1, start_period=20), "--", [N, U], id="the-start-period-ends-at-its-end"),
    ],
)
def test_the_health_after_each_check(given: HealthCheck, results: str, statuses: list[HealthStatus]) -> None:
    health = Health.of_run(given, now=0.0, age=0.0)
    seen = []
    for number, result in enumerate(results, start=1):
        health = health.after(10.0 * number, 10.0 * number + 0.1, passed=result == "+")
        seen.append(health.status)
    assert seen == statuses


def test_the_first_check_is_an_interval_after_the_start_and_the_next_after_each_end() -> None:
    health = Health.of_run(check(), now=100.0, age=0.0)
    assert health.due == 110.0
    assert health.after(110.0, 114.0, passed=True).due == 124.0
    assert health.after(110.0, 115.0, passed=False).due == 125.0


def test_the_start_period_is_that_of_the_run_and_not_of_the_agent() -> None:
    young = Health.of_run(check(retries=1, start_period=60), now=100.0, age=40.0)
    old = Health.of_run(check(retries=1, start_period=60), now=100.0, age=55.0)
    assert young.after(110.0, 110.0, passed=False).status is N
    assert old.after(110.0, 110.0, passed=False).status is U
