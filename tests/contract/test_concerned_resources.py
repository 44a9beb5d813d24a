"""Which resource each operation concerns: no operation and no name of a request is forgotten."""

import re
from typing import Any

import pytest
from botocore.model import ListShape, Shape, StructureShape

from control_plane.domain.arns import Arns
from control_plane.domain.authorization import AGENT_OPERATIONS
from control_plane.domain.concerned_resources import CONCERNED, RUNS_A_DEFINITION, TAGGED, needs_of
from control_plane.gateways.ecs_model import service_model

ARNS = Arns(region="eu-west-1", account="123456789012")
OPERATIONS = sorted(service_model().operation_names)

NAMES_A_RESOURCE = re.compile(
    r"(cluster|service|task|containerInstance|taskDefinition|taskSet|capacityProvider|resource|daemon\w*"
    r"|service(Deployment|Revision)|primaryTaskSet)s?(Arns?)?"
)
ONLY_SELECTS: dict[str, set[str]] = {
    "CreateCluster": {"capacityProviders"},
    "CreateDaemon": {"daemonTaskDefinitionArn", "capacityProviderArns"},
    "CreateExpressGatewayService": {"taskDefinitionArn"},
    "CreateCapacityProvider": {"cluster"},
    "UpdateCapacityProvider": {"cluster"},
    "DeleteCapacityProvider": {"cluster"},
    "DescribeCapacityProviders": {"cluster"},
    "CreateService": {"taskDefinition"},
    "CreateTaskSet": {"taskDefinition"},
    "UpdateService": {"taskDefinition"},
    "UpdateDaemon": {"daemonTaskDefinitionArn", "capacityProviderArns"},
    "UpdateExpressGatewayService": {"taskDefinitionArn"},
    "ListDaemons": {"capacityProviderArns"},
    "ListTasks": {"containerInstance", "daemonName"},
    "PutClusterCapacityProviders": {"capacityProviders"},
    "DiscoverPollEndpoint": {"containerInstance"},
    "RegisterContainerInstance": {"containerInstanceArn"},
    "SubmitContainerStateChange": {"task"},
    "SubmitTaskStateChange": {"task"},
}
"""Names within what is concerned, or that Amazon authorizes otherwise. What an agent names, flows check."""


def members(operation: str) -> dict[str, Shape]:
    shape = service_model().operation_model(operation).input_shape
    return dict(shape.members) if shape else {}


def placeholders(template: str) -> set[str]:
    return set(re.findall(r"\{([\w.]+)\}", template))


def test_every_operation_of_the_model_is_there() -> None:
    assert sorted(CONCERNED) == OPERATIONS
    assert set(OPERATIONS) >= AGENT_OPERATIONS


@pytest.mark.parametrize("operation", OPERATIONS)
def test_templates_name_members_of_the_request_and_leave_none_out(operation: str) -> None:
    used = {path.partition(".")[0] for template in CONCERNED[operation] for path in placeholders(template)}
    naming = {name for name in members(operation) if NAMES_A_RESOURCE.fullmatch(name)}
    assert used <= set(members(operation))
    assert naming - used == ONLY_SELECTS.get(operation, set())


def test_what_is_created_with_tags_is_there() -> None:
    creating = {operation for operation in OPERATIONS if "tags" in members(operation)}
    assert set(TAGGED) == creating - {"TagResource", "RegisterContainerInstance"}
    for operation, template in TAGGED.items():
        assert placeholders(template) <= set(members(operation))


def test_every_operation_that_runs_a_definition_is_there() -> None:
    assert {operation for operation in OPERATIONS if "taskDefinition" in members(operation)} - RUNS_A_DEFINITION == {
        "DescribeTaskDefinition",
        "DeregisterTaskDefinition",
    }


def roles_in(shape: Shape, *, within: tuple[str, ...] = ()) -> list[Any]:
    """A request for each place of a shape where Amazon's model has a role."""
    if shape.name in within:
        return []
    if isinstance(shape, StructureShape):
        return [
            {name: value}
            for name, member in shape.members.items()
            for value in (
                ["arn:aws:iam::123456789012:role/r"]
                if member.type_name == "string" and name.lower().endswith(("role", "rolearn"))
                else roles_in(member, within=(*within, shape.name))
            )
        ]
    if isinstance(shape, ListShape):
        return [[value] for value in roles_in(shape.member, within=within)]
    return []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_role_that_a_request_can_name_is_to_be_passed(operation: str) -> None:
    shape = service_model().operation_model(operation).input_shape
    for request in roles_in(shape) if shape else []:
        passed = [need.resource.arn for need in needs_of(operation, request, ARNS) if need.action == "iam:PassRole"]
        assert passed == ["arn:aws:iam::123456789012:role/r"], request


@pytest.mark.parametrize(
    ("operation", "request_", "needs"),
    [
        pytest.param("ListClusters", {}, ["ecs:ListClusters *"], id="of-no-resource"),
        pytest.param("ListTasks", {}, ["ecs:ListTasks cluster/default"], id="the-default-cluster"),
        pytest.param(
            "ListTasks", {"cluster": ARNS.cluster("prod")}, ["ecs:ListTasks cluster/prod"], id="a-cluster-by-its-arn"
        ),
        pytest.param(
            "DescribeTasks",
            {"cluster": "prod", "tasks": ["a", ARNS.task("prod", "b")]},
            ["ecs:DescribeTasks task/prod/a", "ecs:DescribeTasks task/prod/b"],
            id="each-of-a-list",
        ),
        pytest.param(
            "StopTask",
            {"cluster": "mine", "task": ARNS.task("prod", "a")},
            ["ecs:StopTask task/mine/a", "ecs:StopTask task/prod/a"],
            id="an-arn-of-another-cluster",
        ),
        pytest.param(
            "DescribeTaskSets", {"service": "s"}, ["ecs:DescribeTaskSets task-set/default/s/ecs-svc/*"], id="all"
        ),
        pytest.param(
            "DescribeTaskSets",
            {"service": "s", "taskSets": ["ecs-svc/1", "2", ARNS.task_set("default", "s", "ecs-svc/3")]},
            [f"ecs:DescribeTaskSets task-set/default/s/ecs-svc/{number}" for number in (1, 2, 3)],
            id="task-sets-by-id-and-arn",
        ),
        pytest.param(
            "PutAttributes",
            {"attributes": [{"name": "a", "targetId": "i1"}, {"name": "b", "targetId": "i2"}, {"name": "c"}]},
            ["ecs:PutAttributes container-instance/default/i1", "ecs:PutAttributes container-instance/default/i2"],
            id="a-member-of-a-member",
        ),
        pytest.param(
            "RunTask",
            {"cluster": "prod", "taskDefinition": "web:3", "tags": [{"key": "a"}]},
            ["ecs:RunTask cluster/prod", "ecs:RunTask task-definition/web:3", "ecs:TagResource task/prod/*"],
            id="with-tags",
        ),
        pytest.param(
            "RegisterTaskDefinition",
            {"family": "web", "taskRoleArn": "reader", "executionRoleArn": "arn:aws:iam::1:role/puller"},
            [
                "ecs:RegisterTaskDefinition task-definition/web:*",
                "iam:PassRole arn:aws:iam::123456789012:role/reader",
                "iam:PassRole arn:aws:iam::1:role/puller",
            ],
            id="roles-by-name-and-by-arn",
        ),
        pytest.param(
            "TagResource",
            {"resourceArn": ARNS.service("prod", "web")},
            ["ecs:TagResource service/prod/web"],
            id="any-resource",
        ),
    ],
)
def test_what_a_request_needs(operation: str, request_: dict[str, Any], needs: list[str]) -> None:
    found = needs_of(operation, request_, ARNS)
    assert [f"{need.action} {need.resource.arn.removeprefix(ARNS.prefix)}" for need in found] == needs


def test_the_roles_of_a_definition_are_passed_by_who_runs_it() -> None:
    definition = {"taskRoleArn": "a", "executionRoleArn": "b", "containerDefinitions": [{"name": "main"}]}
    request = {"taskDefinition": "web:1", "overrides": {"taskRoleArn": "c", "executionRoleArn": "b"}}
    needs = needs_of("RunTask", request, ARNS, definition)
    passed = [need.resource.arn.rpartition("/")[2] for need in needs if need.action == "iam:PassRole"]
    assert passed == ["c", "b", "a"]
