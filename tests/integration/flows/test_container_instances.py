"""What the API says of container instances: their state, their attributes, and which there are."""

import json
from typing import Any

import pytest

from control_plane.domain.errors import (
    AttributeLimitExceededException,
    InvalidParameterException,
    MissingVersionException,
    TargetNotFoundException,
)
from control_plane.flows.attributes import delete_attributes, put_attributes
from control_plane.flows.container_instances import (
    deregister_container_instance,
    describe_container_instances,
    update_container_agent,
    update_container_instances_state,
)
from control_plane.flows.list_container_instances import list_attributes, list_container_instances
from control_plane.flows.run_task import run_task
from world import EVERY_CAPABILITY, World


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    world.task_definition(memory=100, cpu=100)
    return world.machine(memory=1000, cpu=1000, attributes={"site": "berlin", "ecs.os-type": "linux"})


def target(instance_id: str, name: str, value: str | None = None) -> dict[str, str]:
    named = {"name": name, "targetType": "container-instance", "targetId": instance_id}
    return named if value is None else {**named, "value": value}


def custom(world: World, instance_id: str) -> dict[str, str | None]:
    """Its attributes as Describe shows them, without what its agent can do."""
    [found] = describe_container_instances(world.cp, {"containerInstances": [instance_id]})["containerInstances"]
    pairs = [(each["name"], each.get("value")) for each in found["attributes"]]
    return {name: value for name, value in pairs if name not in EVERY_CAPABILITY}


def events(world: World) -> list[dict[str, Any]]:
    world.deliver()
    entries, world.events.entries = world.events.entries, []
    kind = "ECS Container Instance State Change"
    return [json.loads(entry["Detail"]) for entry in entries if entry["DetailType"] == kind]


def listed(world: World, **request: Any) -> list[str]:
    arns = list_container_instances(world.cp, request)["containerInstanceArns"]
    return [arn.rsplit("/", 1)[1] for arn in arns]


# --- state ------------------------------------------------------------------------------------------------------


def set_status(world: World, status: str, *names: str) -> dict[str, Any]:
    return update_container_instances_state(world.cp, {"containerInstances": list(names), "status": status})


def test_draining_and_back(world: World, machine: str) -> None:
    version = world.instance(machine).version
    events(world)
    answer = set_status(world, "DRAINING", machine)
    assert [each["status"] for each in answer["containerInstances"]] == ["DRAINING"]
    [event] = events(world)
    assert (event["status"], event["version"]) == ("DRAINING", version + 1)
    failures = run_task(world.cp, {"taskDefinition": "web"})["failures"]
    assert [failure["reason"] for failure in failures] == ["DRAINING"]
    assert listed(world, status="DRAINING") == [machine]
    assert listed(world, status="ACTIVE") == []
    set_status(world, "DRAINING", machine)
    assert events(world) == []
    set_status(world, "ACTIVE", machine)
    assert len(run_task(world.cp, {"taskDefinition": "web"})["tasks"]) == 1


def test_a_function_that_remembers_the_fleet_places_nothing_on_what_drains(world: World, machine: str) -> None:
    """The condition of the commit holds it."""
    run_task(world.cp, {"taskDefinition": "web"})
    update_container_instances_state(world.function(), {"containerInstances": [machine], "status": "DRAINING"})
    assert run_task(world.cp, {"taskDefinition": "web"})["tasks"] == []
    assert world.instance(machine).tasks == 1


def test_what_cannot_change_its_state(world: World, machine: str) -> None:
    gone = world.machine()
    deregister_container_instance(world.cp, {"containerInstance": gone})
    answer = set_status(world, "DRAINING", "0" * 32, gone, machine)
    assert [each["containerInstanceArn"].rsplit("/", 1)[1] for each in answer["containerInstances"]] == [machine]
    arn = world.cp.arns.container_instance
    assert answer["failures"] == [
        {"arn": arn("default", "0" * 32), "reason": "MISSING"},
        {"arn": arn("default", gone), "reason": "INACTIVE"},
    ]
    with pytest.raises(InvalidParameterException, match="status should be ACTIVE or DRAINING"):
        set_status(world, "REGISTERING", machine)


def test_the_agent_is_not_one_that_amazon_could_update(world: World, machine: str) -> None:
    with pytest.raises(MissingVersionException):
        update_container_agent(world.cp, {"containerInstance": machine})
    with pytest.raises(InvalidParameterException, match="not found"):
        update_container_agent(world.cp, {"containerInstance": "0" * 32})


def test_health_is_described_when_asked_for(world: World, machine: str) -> None:
    def health() -> Any:
        request = {"containerInstances": [machine], "include": ["CONTAINER_INSTANCE_HEALTH"]}
        [found] = describe_container_instances(world.cp, request)["containerInstances"]
        return found["healthStatus"]

    assert health()["overallStatus"] == "OK"
    world.disconnects(machine)
    assert (health()["overallStatus"], health()["details"][0]["type"]) == ("IMPAIRED", "AGENT_CONNECTIVITY")
    [found] = describe_container_instances(world.cp, {"containerInstances": [machine]})["containerInstances"]
    assert "healthStatus" not in found


# --- attributes -------------------------------------------------------------------------------------------------


def test_put_list_and_delete(world: World, machine: str) -> None:
    version = world.instance(machine).version
    events(world)
    arn = world.cp.arns.container_instance("default", machine)
    request = {"attributes": [{"name": "rack", "value": "r 1", "targetId": arn}, target(machine, "spare")]}
    described = [target(arn, "rack", "r 1"), target(arn, "spare")]
    assert put_attributes(world.cp, request)["attributes"] == described
    [event] = events(world)
    assert event["version"] == version + 1
    assert {"name": "rack", "value": "r 1"} in event["attributes"]
    listing = {"targetType": "container-instance"}
    assert list_attributes(world.cp, {**listing, "attributeName": "rack"})["attributes"] == described[:1]
    assert list_attributes(world.cp, {**listing, "attributeName": "rack", "attributeValue": "x"})["attributes"] == []
    assert delete_attributes(world.cp, request)["attributes"] == described
    assert delete_attributes(world.cp, request)["attributes"] == []
    assert len(events(world)) == 1
    assert custom(world, machine) == {"site": "berlin", "ecs.os-type": "linux"}


def test_pages(world: World, machine: str) -> None:
    other = world.machine(attributes={"site": "oslo"})
    request = {"targetType": "container-instance", "maxResults": 1, "attributeName": "site"}
    first = list_attributes(world.cp, request)
    second = list_attributes(world.cp, {**request, "nextToken": first["nextToken"]})
    values = {each["targetId"][-32:]: each["value"] for each in (*first["attributes"], *second["attributes"])}
    assert (values, "nextToken" in second) == ({machine: "berlin", other: "oslo"}, False)
    every = list_attributes(world.cp, {"targetType": "container-instance"})["attributes"]
    assert {each["name"] for each in every} == {*EVERY_CAPABILITY, "site", "ecs.os-type"}


def test_what_the_api_says_of_a_name_stands_and_the_rest_is_the_agents(world: World, machine: str) -> None:
    put_attributes(world.cp, {"attributes": [target(machine, "site", "oslo"), target(machine, "rack", "r1")]})
    world.register(machine, memory=1000, cpu=1000, attributes={"site": "rome", "floor": "2", "row": "7"})
    assert custom(world, machine) == {"site": "oslo", "rack": "r1", "floor": "2", "row": "7"}
    delete_attributes(world.cp, {"attributes": [target(machine, "site"), target(machine, "floor")]})
    world.register(machine, memory=1000, cpu=1000, attributes={"site": "rome", "floor": "3"})
    assert custom(world, machine) == {"rack": "r1"}
    put_attributes(world.cp, {"attributes": [target(machine, "site", "kiel")]})
    assert custom(world, machine) == {"rack": "r1", "site": "kiel"}


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ({"name": "ecs.os-type", "value": "beos"}, "cannot be changed"),
        ({"name": "ecs.capability.external"}, "cannot be changed"),
        ({"name": "com.amazonaws.ecs.capability.x"}, "cannot be changed"),
        ({"name": "a b", "value": "x"}, "1 to 128 letters"),
        ({"name": "a" * 129, "value": "x"}, "1 to 128 letters"),
        ({"name": "a", "value": " x"}, "no space at its beginning or end"),
        ({"name": "a", "value": ""}, "1 to 128 letters"),
        ({"name": "a", "targetType": None}, "targetType must be specified"),
        ({"name": "a", "targetId": ""}, "needs the targetId"),
    ],
)
def test_attributes_that_are_refused(world: World, machine: str, attribute: dict[str, Any], words: str) -> None:
    given = {"targetType": "container-instance", "targetId": machine, **attribute}
    request = {"attributes": [{name: value for name, value in given.items() if value is not None}]}
    with pytest.raises(InvalidParameterException, match=words):
        put_attributes(world.cp, request)


def test_a_value_is_given_a_name(world: World, machine: str) -> None:
    with pytest.raises(InvalidParameterException, match="attributeName must be specified"):
        list_attributes(world.cp, {"targetType": "container-instance", "attributeValue": "x"})


def test_deleting_with_another_value(world: World, machine: str) -> None:
    with pytest.raises(InvalidParameterException, match="has another value"):
        delete_attributes(world.cp, {"attributes": [target(machine, "site", "oslo")]})


def test_ten_custom_attributes_and_no_more(world: World, machine: str) -> None:
    put_attributes(world.cp, {"attributes": [target(machine, f"n{number}", "x") for number in range(9)]})
    with pytest.raises(AttributeLimitExceededException):
        put_attributes(world.cp, {"attributes": [target(machine, "n0", "y"), target(machine, "more", "x")]})
    assert custom(world, machine)["n0"] == "x"
    put_attributes(world.cp, {"attributes": [target(machine, "n0", "y")]})
    assert custom(world, machine)["n0"] == "y"


@pytest.mark.parametrize("name", ["0" * 32, "no-id", "arn:aws:ecs:eu-west-1:123456789012:task/default/" + "0" * 32])
def test_a_target_that_is_none(world: World, machine: str, name: str) -> None:
    """Of several targets none is changed then."""
    with pytest.raises(TargetNotFoundException):
        put_attributes(world.cp, {"attributes": [target(machine, "rack", "r1"), target(name, "rack", "r1")]})
    assert "rack" not in custom(world, machine)


# --- the filter of a list ---------------------------------------------------------------------------------------


def test_listing_by_an_expression(world: World, machine: str) -> None:
    other = world.machine(attributes={"site": "oslo"})
    run_task(world.cp, {"taskDefinition": "web", "group": "database"})
    busy = next(each for each in (machine, other) if world.instance(each).tasks)
    assert listed(world, filter="attribute:site == oslo") == [other]
    assert listed(world, filter="attribute:site exists and agentVersion == 1.0.0") == sorted([machine, other])
    assert listed(world, filter="task:group == database") == [busy]
    assert listed(world, filter="not(task:group == database)") == [each for each in (machine, other) if each != busy]
    assert listed(world, filter="attribute:ecs.capability.external !exists or runningTasksCount > 0") == []
    with pytest.raises(InvalidParameterException, match="at character 1, expected"):
        listed(world, filter="site == oslo")
