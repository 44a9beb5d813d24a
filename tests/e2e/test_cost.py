"""What tasks cost in invocations of functions, counted where they happen. Request units: tests/integration/flows."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.conftest import Stack, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PROCESSED = re.compile(r"Lambda ecs-anywhere-([a-z-]+) processed \d+")


class Invocations:
    """Of functions that queues and streams have invoked, from the emulator's log, and of the API, which we call."""

    def __init__(self, stack: Stack) -> None:
        self._log = stack.state / "emulator.log"
        self._seen = 0
        self.called = 0

    def reset(self) -> None:
        until_quiet(self)
        self._seen, self.called = len(self.lines()), 0

    def lines(self) -> list[str]:
        return PROCESSED.findall(self._log.read_text(errors="replace"))

    def since_reset(self) -> list[str]:
        until_quiet(self)
        return [*self.lines()[self._seen :], *["api-ecs"] * self.called]


def until_quiet(invocations: Invocations, seconds: float = 4) -> None:
    """Until nothing has been invoked for some seconds."""
    before, quiet_since = -1, time.monotonic()
    while time.monotonic() < quiet_since + seconds:
        now = len(invocations.lines())
        if now != before:
            before, quiet_since = now, time.monotonic()
        time.sleep(0.2)


def test_a_task_alone_costs_at_most_ten_invocations_and_an_idle_instance_none(stack: Stack) -> None:
    """The least of some: the emulator now and then hands on a transaction's records one by one, in two batches."""
    cluster = "cost-alone"
    stack.agent(cluster)
    definition = stack.define("cost-alone", "exec sleep 1000")
    stack.until_task_is(cluster, stack.run(cluster, definition), "RUNNING")
    invocations = Invocations(stack)
    counted: list[list[str]] = []
    for number in range(5):
        invocations.reset()
        arn = stack.run(cluster, definition, clientToken=f"cost-{number}")
        stack.until_task_is(cluster, arn, "RUNNING")
        until_quiet(invocations, 1)
        stack.ecs.stop_task(cluster=cluster, task=arn)
        stack.until_task_is(cluster, arn, "STOPPED")
        invocations.called = 2
        counted.append(invocations.since_reset())
        if len(counted[-1]) <= 10:
            break
    assert len(counted[-1]) <= 10, counted

    invocations.reset()
    time.sleep(15)
    assert invocations.since_reset() == []


def test_a_hundred_tasks_at_once_cost_at_most_four_invocations_each(stack: Stack) -> None:
    cluster = "cost-hundred"
    agents = [stack.agent(cluster) for _ in range(10)]
    definition = stack.define("cost-hundred", "exec sleep 1000", cpu=1, memory=6)
    invocations = Invocations(stack)
    invocations.reset()
    with ThreadPoolExecutor(10) as callers:
        answers = callers.map(
            lambda _: stack.ecs.run_task(cluster=cluster, taskDefinition=definition, count=10), range(10)
        )
        tasks = [task["taskArn"] for answer in answers for task in answer["tasks"]]
        assert len(tasks) == 100
        until("all are RUNNING", lambda: statuses(stack, cluster, tasks) == {"RUNNING"}, 120)
        until_quiet(invocations)
        list(callers.map(lambda arn: stack.ecs.stop_task(cluster=cluster, task=arn), tasks))
        until("all are STOPPED", lambda: statuses(stack, cluster, tasks) == {"STOPPED"}, 120)
    invocations.called = 110
    counted = invocations.since_reset()
    assert len(counted) / 100 <= 4, {name: counted.count(name) for name in set(counted)}
    for agent in agents:
        agent.stop()


def statuses(stack: Stack, cluster: str, tasks: list[str]) -> set[str]:
    described = stack.ecs.describe_tasks(cluster=cluster, tasks=tasks)["tasks"]
    assert len(described) == len(tasks)
    return {task["lastStatus"] for task in described}
