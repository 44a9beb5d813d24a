"""docs/placement.md: what it shows can be done as it is shown."""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from awscli.shorthand import ShorthandParser

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.query import parse_query
from control_plane.flows.attributes import put_attributes
from control_plane.flows.list_container_instances import list_container_instances
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service
from control_plane.store import tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import TaskStatus
from world import World

PAGE = (Path(__file__).parents[3] / "docs/placement.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^aws ecs .*?(?<!\\)$", PAGE, re.MULTILINE | re.DOTALL)
[TABLE] = re.findall(r"\| instances \| expression \|\n\|---\|---\|\n(.*?)\n\n", PAGE, re.DOTALL)
EXAMPLES = [found.replace("\\|", "|") for found in re.findall(r"\| `(.*)` \|$", TABLE, re.MULTILINE)]

SELECTED = {
    "attribute:site in [berlin, oslo]": "abc",
    "not(attribute:maintenance exists)": "abd",
    "attribute:cores >= 4": "ab",
    "attribute:name =~ 'press-(a|b).*'": "ab",
    "task:group == service:cache": "a",
    "task:group !in [family:batch, service:web]": "acd",
    "runningTasksCount == 0": "bcd",
    "registeredAt >= 2026-01-01 and agentVersion >= 1.0": "abcd",
}
"""Of the fleet below."""


def options(operation: str) -> dict[str, list[str]]:
    """What the page's command of that name says, as the AWS CLI reads it."""
    [command] = [each for each in COMMANDS if each.startswith(f"aws ecs {operation} ")]
    found: dict[str, list[str]] = {}
    for word in shlex.split(command.replace("\\\n", ""), comments=True)[3:]:
        if word.startswith("--"):
            found[word] = values = []
        else:
            values.append(word)
    return found


def shorthand(words: list[str]) -> list[dict[str, Any]]:
    return [ShorthandParser().parse(word) for word in words]


@pytest.fixture
def machines(world: World) -> dict[str, str]:
    """On a runs a task of the service `cache`; on b one of the family `batch` starts."""
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    fleet = {
        name: world.machine(memory=1000, cpu=1000, attributes={"name": f"press-{name}1", **attributes})
        for name, attributes in (
            ("a", {"site": "berlin", "cores": "16"}),
            ("b", {"site": "berlin", "cores": "4"}),
            ("c", {"site": "oslo", "cores": "2", "maintenance": "true"}),
            ("d", {"site": "rome"}),
        )
    }
    for name, group in (("a", "service:cache"), ("b", "family:batch")):
        there = {"type": "memberOf", "expression": f"attribute:name == press-{name}1"}
        run_task(world.cp, {"taskDefinition": "web", "group": group, "placementConstraints": [there]})
    [task] = tasks.of_instance(world.table, "default", fleet["a"])
    container = ContainerReport(name="main", last_status=TaskStatus.RUNNING)
    report = world.report_of(task.task_id, TaskStatus.RUNNING, 1, containers=(container,))
    world.report(report, instance_id=fleet["a"])
    return fleet


def listed(world: World, machines: dict[str, str], expression: str) -> str:
    arns = list_container_instances(world.cp, {"filter": expression})["containerInstanceArns"]
    names = {instance_id: name for name, instance_id in machines.items()}
    return "".join(sorted(names[arn.rpartition("/")[2]] for arn in arns))


def test_the_examples_select_what_they_say(world: World, machines: dict[str, str]) -> None:
    assert {each: listed(world, machines, each) for each in EXAMPLES} == SELECTED


def test_the_commands(world: World, machines: dict[str, str]) -> None:
    [put] = shorthand(options("put-attributes")["--attributes"])
    put_attributes(world.cp, {"attributes": [{**put, "targetId": machines["c"]}]})
    assert listed(world, machines, "attribute:rack == r1") == "c"
    assert listed(world, machines, *options("list-container-instances")["--filter"]) == "ab"
    create = options("create-service")
    create_service(
        world.cp,
        {
            "serviceName": "web",
            "taskDefinition": "web",
            "desiredCount": int(create["--desired-count"][0]),
            "placementConstraints": shorthand(create["--placement-constraints"]),
            "placementStrategy": shorthand(create["--placement-strategy"]),
        },
    )
    world.deliver()
    where = Counter(
        name
        for name, instance_id in machines.items()
        for task in tasks.of_instance(world.table, "default", instance_id)
        if task.service == "web"
    )
    assert where == {"a": 1, "b": 1, "c": 1}, "the fourth has no machine of its own there"


def test_what_is_wrong_is_pointed_at_in_these_words() -> None:
    [shown] = re.findall(r"`(Invalid expression: .*)…`", PAGE)
    with pytest.raises(InvalidParameterException) as raised:
        parse_query("attribute:site = oslo")
    assert raised.value.message.startswith(shown)


def test_what_it_says_needs_no_blanks_needs_none() -> None:
    [compact] = re.findall(r"without blanks: `(.*?)`", PAGE)
    assert parse_query(compact).meaning == parse_query("attribute:site == oslo and agentConnected == true").meaning
