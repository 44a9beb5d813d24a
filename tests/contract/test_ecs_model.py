"""What the front door says agrees with Amazon's model of ECS, as the installed botocore has it."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.model import StructureShape
from botocore.validate import ParamValidator
from functions.api_ecs.app import AGENT_OPERATIONS, OPERATIONS

from control_plane.domain import authorization, errors, request_checks
from control_plane.domain.authorization import AgentOf
from control_plane.domain.errors import EcsError
from control_plane.domain.supported_members import (
    LIMITS,
    ONLY,
    REFUSED,
    STORED_ONLY,
    SUPPORTED,
    WHY_NOT,
    WHY_NOT_MEMBER,
)
from control_plane.gateways.ecs_model import service_model
from world import World

DOCS = Path(__file__).parents[2] / "docs"

OF_EVERY_API = {
    "UnknownOperationException",
    "SerializationException",
    "RequestEntityTooLargeException",
    "ThrottlingException",
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
}
"""The errors of the protocol and of signatures, which no service's model lists.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html
"""


IMPLEMENTED = {*OPERATIONS, *AGENT_OPERATIONS}


def input_of(operation: str) -> StructureShape:
    shape = service_model().operation_model(operation).input_shape
    assert shape is not None
    return shape


def error_classes() -> list[type[EcsError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, EcsError)]


def test_there_is_a_reason_for_each_of_amazons_operations_that_is_not_there() -> None:
    assert set(WHY_NOT) == set(service_model().operation_names) - IMPLEMENTED


@pytest.mark.parametrize("operation", sorted(set(service_model().operation_names) - IMPLEMENTED))
def test_any_other_operation_says_what_it_is_that_is_not_supported_and_why(operation: str) -> None:
    refusal = request_checks.refusal_of_operation(operation)
    assert (refusal.code, refusal.status) == ("UnsupportedFeatureException", 400)
    assert refusal.message.startswith(f"{operation} is not supported yet")
    assert WHY_NOT[operation] in refusal.message


def test_each_operation_is_one_of_amazons_and_says_what_it_supports() -> None:
    assert set(SUPPORTED) == IMPLEMENTED
    assert set(service_model().operation_names) >= IMPLEMENTED
    assert set(AGENT_OPERATIONS) == authorization.AGENT_OPERATIONS
    assert not set(AGENT_OPERATIONS) & set(OPERATIONS)


@pytest.mark.parametrize("operation", sorted(SUPPORTED))
def test_each_member_that_is_spoken_of_is_amazons(operation: str) -> None:
    shape = input_of(operation)
    members = set(shape.members)
    supported = members if "*" in SUPPORTED[operation] else SUPPORTED[operation]
    assert set(shape.required_members) <= supported <= members
    assert set(ONLY.get(operation, {})) <= SUPPORTED[operation]
    assert set(LIMITS.get(operation, {})) <= SUPPORTED[operation]
    assert set(STORED_ONLY.get(operation, ())) <= SUPPORTED[operation]
    assert {each.partition(" ")[0] for each in REFUSED.get(operation, ())} <= members
    assert set(WHY_NOT_MEMBER.get(operation, ())) <= members - supported


def test_the_operations_that_declare_unsupported_features_are_amazons() -> None:
    declare = {
        name
        for name in SUPPORTED
        for shape in service_model().operation_model(name).error_shapes
        if shape.name == "UnsupportedFeatureException"
    }
    assert declare == request_checks._DECLARE_UNSUPPORTED_FEATURE


def test_errors_have_amazons_names_statuses_and_members() -> None:
    shapes: dict[str, Any] = {shape.name: shape for shape in service_model().error_shapes}
    for error in error_classes():
        if error is EcsError:
            continue
        raised = error("what to do")
        assert raised.code in shapes or raised.code in OF_EVERY_API
        assert raised.status == {"ServerException": 500, "RequestEntityTooLargeException": 413}.get(raised.code, 400)
        if raised.code in shapes:
            assert set(raised.body()) == set(shapes[raised.code].members)


def test_the_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_api_table", DOCS / "generate_api_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "api.md").read_text(encoding="utf-8") == module.page(), "run: python docs/generate_api_table.py"


TAGS = [{"key": "ecs-anywhere:external-network-mode", "value": "host"}]
CONTAINER = {"name": "main", "image": "busybox", "portMappings": [{"containerPort": 80}]}
BOTH_SIDES = {"networkMode": "awsvpc", "cpu": "256", "memory": "512", "volumes": [{"name": "data"}]}


def answers(world: World) -> dict[str, dict[str, Any]]:
    """The answer of every operation, as a life from cluster to deregistration brings it about."""
    given: dict[str, dict[str, Any]] = {}

    def do(operation: str, **request: Any) -> dict[str, Any]:
        given[operation] = OPERATIONS[operation](world.cp, request)
        return given[operation]

    do("PutAccountSetting", name="containerInsights", value="enabled")
    do("PutAccountSettingDefault", name="containerInsights", value="enhanced")
    do("ListAccountSettings", effectiveSettings=True)
    do("DeleteAccountSetting", name="containerInsights")
    insights = [{"name": "containerInsights", "value": "enabled"}]
    execute = {"executeCommandConfiguration": {"logging": "NONE"}}
    external = {
        "capacityProviders": ["EXTERNAL", "FARGATE"],
        "defaultCapacityProviderStrategy": [{"capacityProvider": "EXTERNAL"}],
    }
    tags = [{"key": "team", "value": "dev"}]
    do("CreateCluster", clusterName="spare", tags=tags, settings=insights, configuration=execute, **external)
    do("UpdateCluster", cluster="spare", configuration=execute)
    do("UpdateClusterSettings", cluster="spare", settings=insights)
    do("PutClusterCapacityProviders", cluster="spare", **external)
    everything = ["ATTACHMENTS", "CONFIGURATIONS", "SETTINGS", "STATISTICS", "TAGS"]
    do("DescribeClusters", clusters=["spare", "missing"], include=everything)
    group = {"autoScalingGroupArn": "group", "managedScaling": {"status": "ENABLED"}}
    do("CreateCapacityProvider", name="mine", autoScalingGroupProvider=group, tags=tags)
    do("UpdateCapacityProvider", name="mine", autoScalingGroupProvider={"managedDraining": "DISABLED"})
    do("DescribeCapacityProviders", cluster="spare", capacityProviders=["EXTERNAL", "FARGATE", "mine"])
    do("DeleteCapacityProvider", capacityProvider="mine")
    do("DeleteCluster", cluster="spare")
    do("CreateCluster", clusterName="default")
    instance = world.machine(ports=(22,))
    container = {
        "name": "main",
        "image": "busybox",
        "memory": 64,
        "portMappings": [{"containerPort": 80, "hostPort": 8080}],
    }
    do("RegisterTaskDefinition", family="web", containerDefinitions=[container], tags=[{"key": "k", "value": "v"}])
    do("DescribeTaskDefinition", taskDefinition="web", include=["TAGS"])
    do("ListTaskDefinitions", maxResults=1)
    do("ListTaskDefinitionFamilies", maxResults=1)
    do("RegisterTaskDefinition", family="old", containerDefinitions=[container])
    do("DeregisterTaskDefinition", taskDefinition="old:1")
    do("DeleteTaskDefinitions", taskDefinitions=["old:1", "web:1"])
    do("RegisterTaskDefinition", family="both", containerDefinitions=[CONTAINER], tags=TAGS, **BOTH_SIDES)
    overrides = {"containerOverrides": [{"name": "main", "environment": [{"name": "A", "value": "b"}]}]}
    task = do("RunTask", taskDefinition="web", startedBy="me", overrides=overrides)["tasks"][0]["taskArn"]
    do("StartTask", taskDefinition="web", containerInstances=[instance, "missing"])
    world.deliver()
    do("CreateService", serviceName="idle", taskDefinition="web")
    world.deliver()
    idle = do("UpdateService", service="idle", forceNewDeployment=True)["service"]
    do("StopServiceDeployment", serviceDeploymentArn=idle["currentServiceDeployment"])
    do("DeleteService", service="idle")
    do("CreateService", serviceName="svc", taskDefinition="web", desiredCount=2)
    world.deliver()
    do("UpdateService", service="svc", desiredCount=3, capacityProviderStrategy=[{"capacityProvider": "EXTERNAL"}])
    world.deliver()
    service = world.cp.arns.service("default", "svc")
    do("TagResource", resourceArn=service, tags=tags)
    do("ListTagsForResource", resourceArn=service)
    do("UntagResource", resourceArn=service, tagKeys=["team"])
    do("ListServices")
    do("DescribeServices", services=["svc", "missing"])
    do("ListServiceDeployments", service="svc", maxResults=1)
    newest = given["DescribeServices"]["services"][0]
    deployment = newest["currentServiceDeployment"]
    do("DescribeServiceDeployments", serviceDeploymentArns=[deployment, f"{deployment}0"])
    revisions = [each["arn"] for each in newest["currentServiceRevisions"]]
    do("DescribeServiceRevisions", serviceRevisionArns=[*revisions, f"{revisions[0]}0"])
    do("CreateService", serviceName="sets", deploymentController={"type": "EXTERNAL"}, desiredCount=2)
    whose = {"cluster": "default", "service": "sets"}
    scale = {"value": 12.5, "unit": "PERCENT"}
    do("CreateTaskSet", **whose, taskDefinition="web", scale=scale, externalId="e", tags=tags, clientToken="t")
    world.deliver()
    blue = given["CreateTaskSet"]["taskSet"]["taskSetArn"]
    do("UpdateTaskSet", **whose, taskSet=blue, scale={"value": 50, "unit": "PERCENT"})
    do("UpdateServicePrimaryTaskSet", **whose, primaryTaskSet=blue)
    do("DescribeTaskSets", **whose, taskSets=[blue, "ecs-svc/1"], include=["TAGS"])
    do("DescribeServices", services=["svc", "sets", "missing"], include=["TAGS"])
    do("DeleteTaskSet", **whose, taskSet=blue, force=True)
    do("ListTasks", serviceName="svc")
    some = {"cluster": "default", "tasks": [*given["ListTasks"]["taskArns"][:1], task, "0" * 32]}
    do("UpdateTaskProtection", **some, protectionEnabled=True, expiresInMinutes=60)
    do("GetTaskProtection", **some)
    do("ListTasks", maxResults=1)
    do("StopTask", task=task, reason="enough")
    do("DescribeTasks", tasks=[task, "0" * 32], include=["TAGS"])
    do("ListContainerInstances")
    do("UpdateContainerInstancesState", containerInstances=[instance, "missing"], status="DRAINING")
    site = {"name": "site", "targetType": "container-instance", "targetId": instance}
    do("PutAttributes", attributes=[{**site, "value": "berlin"}])
    do("ListAttributes", targetType="container-instance", maxResults=1)
    do("DeleteAttributes", attributes=[site])
    include = ["TAGS", "CONTAINER_INSTANCE_HEALTH"]
    do("DescribeContainerInstances", containerInstances=[instance, "missing"], include=include)
    do("ListClusters")
    own = AgentOf(cluster="default", instance_id=instance.rpartition("/")[2])
    container = {"containerName": "main", "status": "STOPPED", "exitCode": 0}
    request = {"task": task, "status": "STOPPED", "containers": [container]}
    given["SubmitTaskStateChange"] = AGENT_OPERATIONS["SubmitTaskStateChange"](world.cp, own, request)
    request = {"task": task, **container}
    given["SubmitContainerStateChange"] = AGENT_OPERATIONS["SubmitContainerStateChange"](world.cp, own, request)
    world.cp.agent_poll_endpoint = "https://acs.example.com"
    given["DiscoverPollEndpoint"] = AGENT_OPERATIONS["DiscoverPollEndpoint"](world.cp, own, {})
    resources = [{"name": name, "type": "INTEGER", "integerValue": 1024} for name in ("CPU", "MEMORY")]
    given["RegisterContainerInstance"] = AGENT_OPERATIONS["RegisterContainerInstance"](
        world.cp, AgentOf(cluster="default", instance_id="f" * 32), {"totalResources": resources, "tags": tags}
    )
    do("DeleteService", service="svc", force=True)
    do("DeregisterContainerInstance", containerInstance=instance, force=True)
    return given


def test_answers_have_no_member_and_no_value_that_amazon_does_not_know(world: World) -> None:
    given = answers(world)
    never = {"UpdateContainerAgent", "ExecuteCommand", "ListServicesByNamespace", "SubmitAttachmentStateChanges"}
    assert set(given) == IMPLEMENTED - never, "which never answer"
    for operation, answer in given.items():
        shape: Any = service_model().operation_model(operation).output_shape
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), f"{operation}: {report.generate_report()}"
        strange = [*_strange_values(answer, shape, operation)]
        assert not strange


def _strange_values(value: Any, shape: Any, path: str) -> list[str]:
    """Enumerated members whose value is none of Amazon's, and datetimes without a zone."""
    if shape.type_name == "structure":
        pairs = [(value[name], shape.members[name], f"{path}.{name}") for name in value]
    elif shape.type_name == "list":
        pairs = [(each, shape.member, f"{path}[]") for each in value]
    elif shape.type_name == "map":
        pairs = [(each, shape.value, f"{path}{{}}") for each in value.values()]
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        return [f"{path}: {value}"]
    elif shape.type_name == "timestamp":
        return [] if isinstance(value, datetime) and value.astimezone(UTC) == value else [f"{path}: {value}"]
    else:
        return []
    return [strange for pair in pairs for strange in _strange_values(*pair)]
