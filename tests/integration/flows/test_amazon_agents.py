"""What Amazon's own agent asks for, as it was seen on the wire, and what its key cannot do."""

import json
from contextlib import suppress
from typing import Any

import pytest
from functions.api_ecs.app import carry_out
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.domain.authorization import AGENT_OPERATIONS, AgentOf, Caller
from control_plane.domain.errors import (
    AccessDeniedException,
    ClientException,
    ClusterNotFoundException,
    InvalidParameterException,
    UnsupportedFeatureException,
)
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task, start_task
from control_plane.flows.tasks import describe_tasks
from control_plane.store import keys, tasks
from control_plane.store.table import Write
from ecs_protocol.statuses import TaskStatus
from world import ADMINISTRATOR, EVERY_CAPABILITY, World

VALUED = {"ecs.os-type": "linux", "ecs.os-family": "LINUX", "ecs.cpu-architecture": "x86_64", "site": "roof"}
REGISTRATION: dict[str, Any] = {
    "cluster": "default",
    "instanceIdentityDocument": "",
    "instanceIdentityDocumentSignature": "",
    "totalResources": [
        {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 24105},
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2375", "51678"]},
        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
    ],
    "attributes": [
        *({"name": name} for name in EVERY_CAPABILITY),
        *({"name": name, "value": value} for name, value in VALUED.items()),
    ],
}
"""Of Amazon's agent 1.105.1 with ECS_EXTERNAL=true, but for its capabilities."""
BINDINGS = [{"bindIP": "0.0.0.0", "containerPort": 8080, "hostPort": 32768, "protocol": "tcp"}]


class Agent:
    """Amazon's agent on one machine, with a key that was made for it."""

    def __init__(self, world: World, cluster: str = "default") -> None:
        self.world = world
        made = operate(world.cp, {"operation": "CreateAgentKey", "cluster": cluster})
        self.arn: str = made["containerInstanceArn"]
        self.own = AgentOf(cluster=cluster, instance_id=self.arn.rpartition("/")[2])
        self.caller = Caller(principal=made["principal"], agent_of=self.own)

    def ask(self, operation: str, **request: Any) -> Any:
        return json.loads(carry_out(self.world.cp, operation, json.dumps(request).encode(), caller=self.caller))

    def register(self, **members: Any) -> Any:
        return self.ask("RegisterContainerInstance", **{**REGISTRATION, "cluster": self.own.cluster, **members})

    def submit(self, task: str, status: str, *containers: dict[str, Any], **members: Any) -> Any:
        request = {"cluster": self.own.cluster, "task": task, "status": status, "reason": "", **members}
        return self.ask("SubmitTaskStateChange", **request, containers=list(containers))


@pytest.fixture
def agent(world: World) -> Agent:
    world.cluster()
    return Agent(world)


@pytest.fixture
def task(world: World, agent: Agent) -> str:
    """A task on the agent's instance, as if something could speak to it already."""
    agent.register()
    world.task_definition("web")
    key = keys.instance("default", agent.own.instance_id)
    write = Write("Update", key, KeyError(), update="SET #agentConnected = :true", values={":true": True})  # type: ignore[arg-type]
    world.table.commit([write])
    world.cp.fleet.forget("default")
    [made] = run_task(world.cp, {"taskDefinition": "web"})["tasks"]
    arn: str = made["taskArn"]
    return arn


def refused(error: type[Exception], agent: Agent, operation: str, **request: Any) -> str:
    with pytest.raises(error) as raised:
        agent.ask(operation, **request)
    return str(raised.value)


# --- RegisterContainerInstance


def test_the_first_registration_makes_the_instance_and_repeats_what_has_a_value(world: World, agent: Agent) -> None:
    assert world.instance(agent.own.instance_id) is None
    answer = agent.register()["containerInstance"]
    assert answer["containerInstanceArn"] == agent.arn
    valued = {each["name"]: each["value"] for each in answer["attributes"] if "value" in each}
    assert valued == VALUED
    assert {each["name"] for each in answer["attributes"]} == {*VALUED, *EVERY_CAPABILITY}
    assert (answer["status"], answer["agentConnected"]) == ("ACTIVE", False)
    totals = {each["name"]: each for each in answer["registeredResources"]}
    assert (totals["CPU"]["integerValue"], totals["MEMORY"]["integerValue"]) == (2048, 24105)
    assert totals["PORTS"]["stringSetValue"] == ["22", "2375", "51678"]
    assert world.instance(agent.own.instance_id).transport == "acs"


def test_a_registration_that_is_there_is_answered_and_not_written(world: World, agent: Agent) -> None:
    first = agent.register()
    version = world.instance(agent.own.instance_id).version
    assert agent.register(containerInstanceArn=agent.arn) == first
    assert world.instance(agent.own.instance_id).version == version


def test_tags_are_of_the_first_registration(world: World, agent: Agent) -> None:
    tags = [{"key": "team", "value": "dev"}]
    assert agent.register(tags=tags)["containerInstance"]["tags"] == tags
    again = agent.register(tags=[{"key": "team", "value": "ops"}])["containerInstance"]
    assert (again["tags"], world.instance(agent.own.instance_id).registration) == (tags, 2)


def test_a_machine_with_other_resources_is_registered_anew(world: World, agent: Agent) -> None:
    agent.register()
    _, *others = REGISTRATION["totalResources"]
    less = [{"name": "CPU", "type": "INTEGER", "integerValue": 1024}, *others]
    answer = agent.register(totalResources=less)["containerInstance"]
    assert [each["integerValue"] for each in answer["remainingResources"] if each["name"] == "CPU"] == [1024]
    after = world.instance(agent.own.instance_id)
    assert (after.registration, after.agent_connected, after.cpu) == (2, False, 1024)


def test_what_the_api_says_of_an_attribute_is_not_what_the_agent_is_told(world: World, agent: Agent) -> None:
    agent.register()
    attribute = {"name": "site", "value": "cellar", "targetId": agent.arn}
    carry_out(world.cp, "PutAttributes", json.dumps({"attributes": [attribute]}).encode(), caller=ADMINISTRATOR)
    told = agent.register()["containerInstance"]["attributes"]
    assert {"name": "site", "value": "roof"} in told
    assert {"name": "site", "value": "cellar"} not in told


def test_nothing_is_placed_where_nothing_can_be_told(world: World, agent: Agent) -> None:
    agent.register()
    world.task_definition("web")
    [failure] = run_task(world.cp, {"taskDefinition": "web"})["failures"]
    assert (failure["arn"], failure["reason"]) == (agent.arn, "AGENT")
    [failure] = start_task(world.cp, {"taskDefinition": "web", "containerInstances": [agent.arn]})["failures"]
    assert failure["reason"] == "AGENT"


def test_it_is_not_looked_for_over_mqtt(world: World, agent: Agent) -> None:
    agent.register()
    world.minutes(24 * 60, sweeps_each=60)
    assert world.agents.sent == []
    assert not world.instance(agent.own.instance_id).agent_connected


def test_a_deregistered_one_ends_for_good(world: World, agent: Agent) -> None:
    agent.register()
    deregister_container_instance(world.cp, {"containerInstance": agent.arn})
    assert "was deregistered" in refused(ClientException, agent, "RegisterContainerInstance", **REGISTRATION)
    world.minutes(24 * 60, sweeps_each=60)
    assert (world.registry.retired, world.agents.sent) == (set(), [])
    assert "was deregistered" in refused(ClientException, agent, "DiscoverPollEndpoint", cluster="default")


def test_of_a_deregistered_one_only_the_end_of_a_task_is_believed(world: World, agent: Agent, task: str) -> None:
    deregister_container_instance(world.cp, {"containerInstance": agent.arn, "force": True})
    request = {"cluster": "default", "task": task}
    assert "was deregistered" in refused(
        InvalidParameterException, agent, "SubmitTaskStateChange", **request, status="RUNNING"
    )
    assert agent.submit(task, "STOPPED") == {"acknowledgment": "ACK"}
    assert status(world, task)["stopCode"] == "TerminationNotice"


def test_its_gpus_are_those_of_the_instance(agent: Agent) -> None:
    devices = [{"id": "GPU-1", "type": "GPU"}, {"id": "GPU-0", "type": "GPU"}]
    answer = agent.ask("RegisterContainerInstance", **{**REGISTRATION, "platformDevices": devices})
    for which in ("registeredResources", "remainingResources"):
        [found] = [each for each in answer["containerInstance"][which] if each["name"] == "GPU"]
        assert found["stringSetValue"] == ["GPU-0", "GPU-1"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"totalResources": []}, "CPU and MEMORY", id="no-resources"),
        pytest.param(
            {"totalResources": [*REGISTRATION["totalResources"][:2], {"name": "PORTS", "stringSetValue": ["x"]}]},
            "ports to 65535",
            id="no-port",
        ),
        pytest.param({"attributes": [{"name": "a" * 200_000}]}, "more attributes", id="too-much"),
        pytest.param({"platformDevices": [{"id": "0", "type": "NEURON_DEVICE"}]}, "NEURON_DEVICE", id="neuron"),
        pytest.param({"platformDevices": [{"id": "", "type": "GPU"}]}, "platformDevices", id="a-gpu-without-id"),
        pytest.param({"instanceIdentityDocument": "{}"}, "instanceIdentityDocument", id="an-ec2-instance"),
    ],
)
def test_what_is_no_registration(agent: Agent, members: dict[str, Any], words: str) -> None:
    request = {**REGISTRATION, **members}
    assert words in refused(InvalidParameterException, agent, "RegisterContainerInstance", **request)


def test_a_cluster_that_is_gone(world: World, agent: Agent) -> None:
    carry_out(world.cp, "DeleteCluster", b'{"cluster": "default"}', caller=ADMINISTRATOR)
    assert refused(ClusterNotFoundException, agent, "RegisterContainerInstance", **REGISTRATION) == "Cluster not found."


# --- DiscoverPollEndpoint


def test_the_endpoint_is_the_stacks_parameter_and_never_nothing(world: World, agent: Agent) -> None:
    agent.register()
    asked = {"cluster": "default", "containerInstance": agent.arn}
    assert "AgentPollEndpoint" in refused(UnsupportedFeatureException, agent, "DiscoverPollEndpoint", **asked)
    world.cp.agent_poll_endpoint = "https://acs.example.com"
    assert agent.ask("DiscoverPollEndpoint", **asked) == {"endpoint": "https://acs.example.com"}


# --- reports


def status(world: World, task: str) -> dict[str, Any]:
    described: dict[str, Any] = describe_tasks(world.cp, {"tasks": [task]})["tasks"][0]
    return described


def test_a_task_runs_and_stops(world: World, agent: Agent, task: str) -> None:
    main = {"containerName": "main", "runtimeId": "c0f0", "networkBindings": BINDINGS}
    assert agent.submit(task, "RUNNING", {**main, "status": "RUNNING"}) == {"acknowledgment": "ACK"}
    running = status(world, task)
    assert (running["lastStatus"], running["containers"][0]["networkBindings"]) == ("RUNNING", BINDINGS)
    assert world.instance(agent.own.instance_id).tasks == 1
    for _ in range(2):  # its answer was lost
        agent.submit(task, "STOPPED", {**main, "status": "STOPPED", "exitCode": 137}, executionStoppedAt=1767225700.249)
    agent.submit(task, "RUNNING", {**main, "status": "RUNNING"})  # a copy that was long on its way
    ended = status(world, task)
    assert (ended["lastStatus"], ended["stopCode"], ended["containers"][0]["exitCode"]) == (
        "STOPPED",
        "EssentialContainerExited",
        137,
    )
    assert (world.instance(agent.own.instance_id).tasks, world.instance(agent.own.instance_id).memory) == (0, 24105)


def test_a_container_is_reported_by_itself(world: World, agent: Agent, task: str) -> None:
    agent.submit(task.rpartition("/")[2], "RUNNING")
    request = {"cluster": "default", "task": task, "containerName": "main", "status": "RUNNING", "runtimeId": "c1"}
    assert agent.ask("SubmitContainerStateChange", **request) == {"acknowledgment": "ACK"}
    assert status(world, task)["containers"][0]["runtimeId"] == "c1"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"task": "0" * 32}, "not found on this container instance", id="no-such-task"),
        pytest.param({"task": "x"}, "not found on this container instance", id="no-task-id"),
        pytest.param({"status": "FLYING"}, "FLYING", id="no-such-status"),
        pytest.param({"containers": [{"containerName": "x", "status": "RUNNING"}]}, "no container x", id="container"),
        pytest.param({"attachments": [{"attachmentArn": "a", "status": "s"}]}, "attachments", id="attachments"),
    ],
)
def test_what_is_no_report_of_its_own_is_dropped_by_the_agent(
    world: World, agent: Agent, task: str, members: dict[str, Any], words: str
) -> None:
    request = {"cluster": "default", "task": task, "status": "RUNNING", **members}
    assert words in refused(InvalidParameterException, agent, "SubmitTaskStateChange", **request)
    assert status(world, task)["lastStatus"] == "PENDING"


def test_nothing_is_attached_to_an_external_instance(agent: Agent) -> None:
    request = {"attachments": [{"attachmentArn": "arn:a", "status": "ATTACHED"}]}
    assert "arn:a" in refused(InvalidParameterException, agent, "SubmitAttachmentStateChanges", **request)


# --- keys


def test_another_key_for_the_same_instance_takes_the_place_of_the_first(world: World, agent: Agent) -> None:
    agent.register()
    request = {"operation": "CreateAgentKey", "cluster": "default", "containerInstance": agent.arn}
    made = operate(world.cp, request)
    assert (made["containerInstanceArn"], made["principal"]) == (agent.arn, agent.caller.principal)
    deregister_container_instance(world.cp, {"containerInstance": agent.arn})
    assert operate(world.cp, request)["error"] == "InvalidParameterException"


@pytest.mark.parametrize("named", ["0" * 32, "x", "arn:aws:ecs:eu-west-1:123456789012:container-instance/prod/1"])
def test_no_other_key_for_an_instance_that_is_not_there(world: World, agent: Agent, named: str) -> None:
    request = {"operation": "CreateAgentKey", "cluster": agent.own.cluster, "containerInstance": named}
    assert operate(world.cp, request)["error"] == "InvalidParameterException"


def test_no_key_signs_for_a_machine_that_has_a_certificate(world: World, agent: Agent) -> None:
    request = {"operation": "CreateAgentKey", "cluster": agent.own.cluster, "containerInstance": world.machine()}
    assert operate(world.cp, request)["error"] == "InvalidParameterException"


# --- what a key for one instance cannot do


def test_the_task_of_another_instance_is_not_its_to_report(world: World, agent: Agent, task: str) -> None:
    other = Agent(world)
    other.register()
    request = {"cluster": "default", "task": task, "status": "STOPPED"}
    assert "not found on this" in refused(InvalidParameterException, other, "SubmitTaskStateChange", **request)
    found = tasks.load(world.table, "default", task.rpartition("/")[2])
    assert found is not None
    assert found.last_status is TaskStatus.PENDING


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("RegisterContainerInstance", {**REGISTRATION, "cluster": "prod"}),
        ("RegisterContainerInstance", {**REGISTRATION, "containerInstanceArn": "1" * 32}),
        ("DiscoverPollEndpoint", {"cluster": "prod"}),
        ("DiscoverPollEndpoint", {"containerInstance": "1" * 32}),
        ("SubmitTaskStateChange", {"cluster": "prod", "task": "0" * 32, "status": "STOPPED"}),
    ],
)
def test_another_cluster_or_instance_is_denied(
    world: World, agent: Agent, operation: str, request_: dict[str, Any]
) -> None:
    world.cluster("prod")
    assert "another container instance" in refused(AccessDeniedException, agent, operation, **request_)
    assert world.instance(agent.own.instance_id) is None


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("ListClusters", {}),
        ("RunTask", {"taskDefinition": "web"}),
        ("DescribeTasks", {"tasks": ["0" * 32]}),
        ("DeregisterContainerInstance", {"containerInstance": "1" * 32}),
        ("UpdateContainerInstancesState", {"containerInstances": ["1" * 32], "status": "DRAINING"}),
        ("CreateCluster", {"clusterName": "mine"}),
    ],
)
def test_an_agents_key_is_for_nothing_else(
    world: World, agent: Agent, operation: str, request_: dict[str, Any]
) -> None:
    world.allow(agent.caller.principal, "*")
    assert "for nothing else" in refused(AccessDeniedException, agent, operation, **request_)


@pytest.mark.parametrize("caller", [ADMINISTRATOR, Caller(principal="ci")], ids=["administrator", "everything-allowed"])
@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("RegisterContainerInstance", REGISTRATION),
        ("DiscoverPollEndpoint", {}),
        ("SubmitTaskStateChange", {"task": "0" * 32, "status": "STOPPED"}),
        ("SubmitContainerStateChange", {"task": "0" * 32, "status": "STOPPED", "containerName": "main"}),
        ("SubmitAttachmentStateChanges", {"attachments": []}),
    ],
)
def test_no_other_key_speaks_for_a_machine(
    world: World, caller: Caller, operation: str, request_: dict[str, Any]
) -> None:
    world.cluster()
    world.allow("ci", "*")
    with pytest.raises(AccessDeniedException, match="sign with a key that was made for one"):
        carry_out(world.cp, operation, json.dumps(request_).encode(), caller=caller)


ASKED = st.fixed_dictionaries(
    {},
    optional={
        "cluster": st.sampled_from(["default", "prod", "", "arn:aws:ecs:eu-west-1:123456789012:cluster/default"]),
        "task": st.sampled_from(["0" * 32, "x", "", "arn:aws:ecs:eu-west-1:123456789012:task/prod/1"]),
        "status": st.sampled_from([*TaskStatus, "UP", ""]),
        "containerName": st.text(max_size=3),
        "containers": st.lists(
            st.fixed_dictionaries({}, optional={"containerName": st.text(max_size=3), "status": st.text(max_size=3)}),
            max_size=2,
        ),
        "attachments": st.lists(st.just({"attachmentArn": "a", "status": "s"}), max_size=1),
        "totalResources": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["CPU", "MEMORY", "PORTS", "PORTS_UDP"])},
                optional={
                    "integerValue": st.integers(-(2**31), 2**31 - 1),
                    "stringSetValue": st.lists(st.sampled_from(["1", "65536", "", "²", "x"]), max_size=2),
                },
            ),
            max_size=4,
        ),
        "attributes": st.lists(
            st.fixed_dictionaries({"name": st.text(max_size=3)}, optional={"value": st.text(max_size=3)}), max_size=3
        ),
        "versionInfo": st.fixed_dictionaries({}, optional={"agentVersion": st.text(max_size=3)}),
        "containerInstance": st.sampled_from(["", "1" * 32]),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=st.sampled_from(sorted(AGENT_OPERATIONS)), request=ASKED)
def test_whatever_an_agent_sends_is_answered_or_refused(agent: Agent, operation: str, request: dict[str, Any]) -> None:
    with suppress(AccessDeniedException, ClientException, InvalidParameterException, UnsupportedFeatureException):
        agent.ask(operation, **request)
