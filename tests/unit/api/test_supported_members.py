"""What is not supported is refused by name; what says nothing passes."""

from typing import Any

import pytest

from control_plane.domain.errors import ClientException, InvalidParameterException, UnsupportedFeatureException
from control_plane.domain.request_checks import check_limits, check_names, refuse_unsupported


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("RunTask", {"enableECSManagedTags": False, "enableExecuteCommand": True, "propagateTags": "NONE"}),
        ("RunTask", {"tags": [], "placementConstraints": [], "volumeConfigurations": [], "networkConfiguration": {}}),
        ("RunTask", {"networkConfiguration": {"awsvpcConfiguration": {"subnets": []}}}),
        ("RunTask", {"count": 10, "launchType": "EXTERNAL", "overrides": {"cpu": "256"}}),
        ("CreateService", {"deploymentController": {"type": "ECS"}, "schedulingStrategy": "REPLICA"}),
        ("CreateService", {"deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 100}}),
        ("CreateService", {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": False}}}),
        ("DescribeClusters", {"include": ["TAGS", "STATISTICS"]}),
        ("CreateCluster", {"serviceConnectDefaults": {"namespace": ""}}),
        ("RegisterTaskDefinition", {"volumes": [{"name": "the flow judges"}]}),
    ],
)
def test_supported(operation: str, request_: dict[str, Any]) -> None:
    refuse_unsupported(operation, request_)


@pytest.mark.parametrize(
    ("operation", "request_", "words"),
    [
        ("RunTask", {"launchType": "EC2"}, "launchType EC2 is not supported yet: use EXTERNAL"),
        ("StartTask", {"capacityProviderStrategy": [{"capacityProvider": "x"}]}, "capacityProviderStrategy"),
        ("StartTask", {"clientToken": "x"}, "clientToken"),
        (
            "CreateService",
            {"deploymentConfiguration": {"strategy": "BLUE_GREEN"}},
            "deploymentConfiguration.strategy BLUE_GREEN",
        ),
        ("CreateService", {"deploymentConfiguration": {"alarms": {"enable": True}}}, "deploymentConfiguration.alarms"),
        ("CreateService", {"loadBalancers": [{"containerName": "web"}]}, "loadBalancers"),
        ("UpdateService", {"deploymentController": {"type": "CODE_DEPLOY"}}, "deploymentController.type CODE_DEPLOY"),
        ("CreateTaskSet", {"loadBalancers": [{"containerName": "web"}]}, "loadBalancers is not supported yet"),
        ("CreateTaskSet", {"serviceRegistries": [{"port": 1}]}, "serviceRegistries is not supported yet"),
        (
            "CreateTaskSet",
            {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"]}}},
            "networkConfiguration",
        ),
        ("CreateTaskSet", {"launchType": "FARGATE"}, "launchType FARGATE"),
        ("StopServiceDeployment", {"stopType": "ABORT"}, "stopType ABORT is not supported yet: use ROLLBACK"),
    ],
)
def test_unsupported_feature(operation: str, request_: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedFeatureException) as raised:
        refuse_unsupported(operation, request_)
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("operation", "request_", "words"),
    [
        ("ListServices", {"resourceManagementType": "ECS"}, "resourceManagementType"),
        (
            "CreateCluster",
            {"serviceConnectDefaults": {"namespace": "n"}},
            "serviceConnectDefaults is not supported yet",
        ),
        (
            "UpdateCluster",
            {"serviceConnectDefaults": {"namespace": "n"}},
            "serviceConnectDefaults is not supported yet",
        ),
        ("DescribeTasks", {"include": ["TAGS", "STATISTICS"]}, "include STATISTICS"),
    ],
)
def test_where_amazon_has_no_such_error_it_is_a_parameters(
    operation: str, request_: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        refuse_unsupported(operation, request_)
    assert words in raised.value.message


VPC = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}
VOLUME = {"volumeConfigurations": [{"name": "data"}]}


@pytest.mark.parametrize("operation", ["RunTask", "StartTask"])
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (VPC, "Network Configuration is not valid for the given networkMode of this task definition."),
        (VOLUME, "Volume configuration provided but no matching configuredAtLaunch volume found in task definition."),
        (
            {"propagateTags": "SERVICE"},
            "propagateTags SERVICE is for tasks that a service starts: use TASK_DEFINITION or NONE.",
        ),
    ],
    ids=["network", "volume", "tags-of-no-service"],
)
def test_what_amazon_refuses_for_tasks_on_external(operation: str, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        refuse_unsupported(operation, request_)
    assert raised.value.message == message


def test_a_platform_version_is_fargates() -> None:
    with pytest.raises(InvalidParameterException, match="The platform version must be null when"):
        refuse_unsupported("RunTask", {"platformVersion": "LATEST"})


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("RunTask", {"startedBy": "AWS Step Functions", "group": "grüße:x/1", "clientToken": "!" * 64}),
        ("RunTask", {"startedBy": "x" * 128, "group": "x" * 255, "referenceId": "x" * 1024}),
        ("StartTask", {"startedBy": "x" * 36, "referenceId": "order 7"}),
    ],
)
def test_texts(operation: str, request_: dict[str, Any]) -> None:
    refuse_unsupported(operation, request_)
    check_limits(operation, request_)


@pytest.mark.parametrize(
    ("operation", "request_", "message"),
    [
        ("RunTask", {"startedBy": "x" * 129}, "startedBy longer than 128."),
        ("StartTask", {"startedBy": "x" * 37}, "startedBy longer than 36."),
        ("RunTask", {"group": "x" * 256}, "group longer than 255."),
        ("RunTask", {"referenceId": "x" * 1025}, "referenceId longer than 1024."),
        ("RunTask", {"clientToken": "x" * 65}, "clientToken longer than 64."),
        ("RunTask", {"clientToken": "a b"}, "clientToken contains invalid characters."),
        ("RunTask", {"group": "a\n"}, "group contains invalid characters."),
        ("StartTask", {"startedBy": "\0"}, "startedBy contains invalid characters."),
    ],
)
def test_texts_that_are_none(operation: str, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        check_limits(operation, request_)
    assert raised.value.message == message


@pytest.mark.parametrize(
    ("operation", "request_", "message"),
    [
        ("RunTask", {"count": 11}, "count should be between 1 and 10, but is 11."),
        ("RunTask", {"count": 0}, "count should be between 1 and 10, but is 0."),
        ("CreateService", {"desiredCount": -1}, "desiredCount should be between 0 and 5000, but is -1."),
        ("DescribeTasks", {"tasks": ["a"] * 101}, "The length of tasks should be between 1 and 100, but is 101."),
    ],
)
def test_limits(operation: str, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        check_limits(operation, request_)
    assert raised.value.message == message


TASK = "arn:aws:ecs:eu-west-1:123456789012:task/default/0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("DescribeTasks", {"cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/c-1_A", "tasks": [TASK, "a" * 32]}),
        ("DescribeServices", {"cluster": "", "services": ["default/web"]}),
        ("ListTasks", {"serviceName": "", "containerInstance": "", "family": ""}),
        ("RunTask", {"taskDefinition": f"{'f' * 255}:12", "group": "any:thing/at all"}),
        ("RegisterTaskDefinition", {"family": "has words of its own for this"}),
    ],
)
def test_names(operation: str, request_: dict[str, Any]) -> None:
    check_names(operation, request_)


@pytest.mark.parametrize(
    ("operation", "request_", "message"),
    [
        ("StopTask", {"cluster": "a b"}, "Cluster must match ^[a-zA-Z0-9\\-_]{1,255}$, but was a b"),
        ("StopTask", {"task": ""}, "Task must match ^[a-zA-Z0-9\\-_]{1,255}$, but was empty"),
        (
            "ListServiceDeployments",
            {"service": ""},
            "Service must match ^[a-zA-Z0-9\\-_]{1,255}$, but was empty",
        ),
        ("UpdateService", {"service": "default/"}, "Service must match ^[a-zA-Z0-9\\-_]{1,255}$, but was default/"),
        (
            "DescribeClusters",
            {"clusters": ["default", ""]},
            "Cluster must match ^[a-zA-Z0-9\\-_]{1,255}$, but was empty",
        ),
        ("ListTasks", {"family": "a\n"}, "Family must match ^[a-zA-Z0-9\\-_]{1,255}$, but was a\n"),
        (
            "DeregisterContainerInstance",
            {"containerInstance": "x" * 3000},
            f"Container instance must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {'x' * 300}",
        ),
    ],
)
def test_what_is_no_name(operation: str, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        check_names(operation, request_)
    assert raised.value.message == message


def test_no_task_definition_has_such_a_name() -> None:
    with pytest.raises(ClientException, match="Unable to describe task definition"):
        check_names("RunTask", {"taskDefinition": "x" * 301})
