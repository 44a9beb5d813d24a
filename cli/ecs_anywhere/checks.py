"""`check`: asks the control plane, key by key, whether what instances have left agrees with their tasks."""

from collections.abc import Callable, Iterator
from typing import Any

from ecs_anywhere.settings import Stack
from ecs_anywhere.stacks import operate

Result = dict[str, Any]


def check_cluster(stack: Stack, cluster: str, *, repair: bool, told: Callable[[int], None]) -> Result:
    """{checked, differences, busy, duplicates}. `told` is given how many have been checked so far."""
    result: Result = {"checked": 0, "differences": [], "busy": [], "duplicates": []}
    wanted: dict[str, Any] = {"cluster": cluster, "repair": repair}
    while True:
        answer = operate(stack, "Check", **wanted)
        for member in result:
            result[member] += answer.get(member, [])  # a control plane of an older release lacks the newest
        if answer["next"] is None:
            return result
        told(result["checked"])
        wanted["shard"] = answer["next"]


def lines(result: Result, *, repair: bool) -> Iterator[str]:
    """For people."""
    for each in result["differences"]:
        yield f"{each['containerInstanceArn']}: {'repaired' if repair else 'differs'}"
        for name, values in each["differences"].items():
            yield f"  {name}: has {values['stored']}, its tasks leave {values['expected']}"
    for arn in result["busy"]:
        yield f"{arn}: changes all the time, not checked"
    for arn in result["duplicates"]:
        yield f"{arn}: two machines use its identity (ecs-anywhere duplicates)"
    yield f"{result['checked']} container instances checked, {len(result['differences'])} differ"
    if result["differences"] and not repair:
        yield "Mend them: ecs-anywhere check --repair"
