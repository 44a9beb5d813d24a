"""What of each operation's request is supported. What is not is refused by name, never ignored (docs/api.md).

Members that say nothing (null, false, empty) pass: clients send them without meaning anything by it.
"""

from collections.abc import Mapping
from typing import Any

_PAGE = frozenset({"maxResults", "nextToken"})
_SERVICE = frozenset(
    {
        "availabilityZoneRebalancing",
        "cluster",
        "taskDefinition",
        "desiredCount",
        "deploymentController",
        "deploymentConfiguration",
        "healthCheckGracePeriodSeconds",
        "capacityProviderStrategy",
        "propagateTags",
        "enableECSManagedTags",
        "enableExecuteCommand",
        "placementConstraints",
        "placementStrategy",
    }
)

SUPPORTED: Mapping[str, frozenset[str]] = {
    "CreateCluster": frozenset(
        {"clusterName", "tags", "settings", "configuration", "capacityProviders", "defaultCapacityProviderStrategy"}
    ),
    "DescribeClusters": frozenset({"clusters", "include"}),
    "ListClusters": _PAGE,
    "UpdateCluster": frozenset({"cluster", "settings", "configuration"}),
    "UpdateClusterSettings": frozenset({"cluster", "settings"}),
    "PutClusterCapacityProviders": frozenset({"cluster", "capacityProviders", "defaultCapacityProviderStrategy"}),
    "DeleteCluster": frozenset({"cluster"}),
    "TagResource": frozenset({"resourceArn", "tags"}),
    "UntagResource": frozenset({"resourceArn", "tagKeys"}),
    "ListTagsForResource": frozenset({"resourceArn"}),
    "PutAccountSetting": frozenset({"name", "value", "principalArn"}),
    "PutAccountSettingDefault": frozenset({"name", "value"}),
    "DeleteAccountSetting": frozenset({"name", "principalArn"}),
    "ListAccountSettings": frozenset({"name", "value", "principalArn", "effectiveSettings"}) | _PAGE,
    "CreateCapacityProvider": frozenset({"name", "autoScalingGroupProvider", "tags"}),
    "DescribeCapacityProviders": frozenset({"capacityProviders", "cluster", "include"}) | _PAGE,
    "UpdateCapacityProvider": frozenset({"name", "autoScalingGroupProvider"}),
    "DeleteCapacityProvider": frozenset({"capacityProvider"}),
    "DiscoverPollEndpoint": frozenset({"cluster", "containerInstance"}),
    "RegisterContainerInstance": frozenset(
        {"cluster", "totalResources", "versionInfo", "containerInstanceArn", "attributes", "platformDevices", "tags"}
    ),
    "SubmitAttachmentStateChanges": frozenset({"cluster", "attachments"}),
    "SubmitContainerStateChange": frozenset(
        {"cluster", "task", "containerName", "runtimeId", "status", "exitCode", "reason", "networkBindings"}
    ),
    "SubmitTaskStateChange": frozenset(
        {"cluster", "task", "status", "reason", "containers", "pullStartedAt", "pullStoppedAt", "executionStoppedAt"}
    ),
    "RegisterTaskDefinition": frozenset({"*"}),
    "DescribeTaskDefinition": frozenset({"taskDefinition", "include"}),
    "DeregisterTaskDefinition": frozenset({"taskDefinition"}),
    "DeleteTaskDefinitions": frozenset({"taskDefinitions"}),
    "ListTaskDefinitions": frozenset({"familyPrefix", "status", "sort"}) | _PAGE,
    "ListTaskDefinitionFamilies": frozenset({"familyPrefix", "status"}) | _PAGE,
    "RunTask": frozenset(
        {
            "cluster",
            "taskDefinition",
            "count",
            "overrides",
            "group",
            "startedBy",
            "referenceId",
            "clientToken",
            "launchType",
            "capacityProviderStrategy",
            "propagateTags",
            "enableECSManagedTags",
            "enableExecuteCommand",
            "tags",
            "placementConstraints",
            "placementStrategy",
        }
    ),
    "StartTask": frozenset(
        {
            "cluster",
            "containerInstances",
            "taskDefinition",
            "overrides",
            "group",
            "startedBy",
            "referenceId",
            "propagateTags",
            "enableECSManagedTags",
            "enableExecuteCommand",
            "tags",
        }
    ),
    "StopTask": frozenset({"cluster", "task", "reason"}),
    "ExecuteCommand": frozenset({"cluster", "task", "container", "command", "interactive"}),
    "DescribeTasks": frozenset({"cluster", "tasks", "include"}),
    "ListTasks": frozenset(
        {"cluster", "containerInstance", "family", "startedBy", "serviceName", "desiredStatus", "launchType"}
    )
    | _PAGE,
    "UpdateTaskProtection": frozenset({"cluster", "tasks", "protectionEnabled", "expiresInMinutes"}),
    "GetTaskProtection": frozenset({"cluster", "tasks"}),
    "ListContainerInstances": frozenset({"cluster", "filter", "status"}) | _PAGE,
    "DescribeContainerInstances": frozenset({"cluster", "containerInstances", "include"}),
    "DeregisterContainerInstance": frozenset({"cluster", "containerInstance", "force"}),
    "UpdateContainerInstancesState": frozenset({"cluster", "containerInstances", "status"}),
    "UpdateContainerAgent": frozenset({"cluster", "containerInstance"}),
    "PutAttributes": frozenset({"cluster", "attributes"}),
    "DeleteAttributes": frozenset({"cluster", "attributes"}),
    "ListAttributes": frozenset({"cluster", "targetType", "attributeName", "attributeValue"}) | _PAGE,
    "CreateService": _SERVICE | {"serviceName", "clientToken", "launchType", "schedulingStrategy", "tags"},
    "UpdateService": _SERVICE | {"service", "forceNewDeployment"},
    "DescribeServices": frozenset({"cluster", "services", "include"}),
    "ListServices": frozenset({"cluster", "launchType", "schedulingStrategy"}) | _PAGE,
    "ListServicesByNamespace": frozenset({"namespace"}) | _PAGE,
    "DeleteService": frozenset({"cluster", "service", "force"}),
    "ListServiceDeployments": frozenset({"cluster", "service", "status", "createdAt"}) | _PAGE,
    "DescribeServiceDeployments": frozenset({"serviceDeploymentArns"}),
    "DescribeServiceRevisions": frozenset({"serviceRevisionArns"}),
    "StopServiceDeployment": frozenset({"serviceDeploymentArn", "stopType"}),
    "CreateTaskSet": frozenset(
        {
            "cluster",
            "service",
            "taskDefinition",
            "scale",
            "externalId",
            "clientToken",
            "launchType",
            "capacityProviderStrategy",
            "tags",
        }
    ),
    "UpdateTaskSet": frozenset({"cluster", "service", "taskSet", "scale"}),
    "UpdateServicePrimaryTaskSet": frozenset({"cluster", "service", "primaryTaskSet"}),
    "DeleteTaskSet": frozenset({"cluster", "service", "taskSet", "force"}),
    "DescribeTaskSets": frozenset({"cluster", "service", "taskSets", "include"}),
}
"""The members of each implemented operation. `*`: the flow judges them (domain/task_definition.py)."""

_DAEMONS = (
    "Amazon ECS Managed Daemons run on Amazon ECS Managed Instances only, which are not here. Use a service with "
    "schedulingStrategy DAEMON"
)
_EXPRESS = (
    "an Express Mode service is made of Fargate tasks and an Application Load Balancer, neither of which is here. Use "
    "CreateService"
)

WHY_NOT: Mapping[str, str] = {
    "ContinueServiceDeployment": "no deployment here pauses, for lifecycle hooks are refused",
    **dict.fromkeys(
        (
            "CreateDaemon",
            "DeleteDaemon",
            "DeleteDaemonTaskDefinition",
            "DescribeDaemon",
            "DescribeDaemonDeployments",
            "DescribeDaemonRevisions",
            "DescribeDaemonTaskDefinition",
            "ListDaemonDeployments",
            "ListDaemonTaskDefinitions",
            "ListDaemons",
            "RegisterDaemonTaskDefinition",
            "UpdateDaemon",
        ),
        _DAEMONS,
    ),
    **dict.fromkeys(
        (
            "CreateExpressGatewayService",
            "DeleteExpressGatewayService",
            "DescribeExpressGatewayService",
            "UpdateExpressGatewayService",
        ),
        _EXPRESS,
    ),
}
"""Why each of Amazon's operations that is not there is refused."""

_MANAGED_INSTANCES = (
    "such a capacity provider is a part of its cluster, and is there once AWS can launch its instances, which nobody "
    "here can do. Use autoScalingGroupProvider for one that is kept and shown only"
)
_ITS_CLUSTER = "it is for capacity providers of Amazon ECS Managed Instances, which are not here"

WHY_NOT_MEMBER: Mapping[str, Mapping[str, str]] = {
    "CreateCapacityProvider": {"managedInstancesProvider": _MANAGED_INSTANCES, "cluster": _ITS_CLUSTER},
    "UpdateCapacityProvider": {"managedInstancesProvider": _MANAGED_INSTANCES, "cluster": _ITS_CLUSTER},
    "DeleteCapacityProvider": {"cluster": _ITS_CLUSTER},
}
"""Why a member of an operation is refused, likewise."""

STORED_ONLY: Mapping[str, frozenset[str]] = {
    "CreateCluster": frozenset({"settings", "configuration"}),
    "UpdateCluster": frozenset({"settings", "configuration"}),
    "UpdateClusterSettings": frozenset({"settings"}),
    "CreateCapacityProvider": frozenset({"autoScalingGroupProvider"}),
    "UpdateCapacityProvider": frozenset({"autoScalingGroupProvider"}),
    "RunTask": frozenset({"referenceId"}),
    "StartTask": frozenset({"referenceId"}),
}
"""Of the supported members those that are kept, and change nothing that runs."""

_OF_TASKS_ELSEWHERE = {
    "networkConfiguration": "Network Configuration is not valid for the given networkMode of this task definition.",
    "volumeConfigurations": "Volume configuration provided but no matching configuredAtLaunch volume found in task "
    "definition.",
    "propagateTags SERVICE": "propagateTags SERVICE is for tasks that a service starts: use TASK_DEFINITION or NONE.",
}
"""No task on EXTERNAL has an interface of a VPC, or a volume that is attached when it starts (compatibilities)."""

REFUSED: Mapping[str, Mapping[str, str]] = {
    "RunTask": {
        **_OF_TASKS_ELSEWHERE,
        "platformVersion": "The platform version must be null when specifying an EXTERNAL launch type.",
    },
    "StartTask": _OF_TASKS_ELSEWHERE,
}
"""Members, and values of members, that Amazon ECS too refuses for tasks on EXTERNAL, and its words.

`propagateTags SERVICE` is documented as an error; its words are ours.
"""

_ROLLING = {
    "strategy": ("ROLLING",),
    "maximumPercent": None,
    "minimumHealthyPercent": None,
    "deploymentCircuitBreaker": None,
}

ONLY: Mapping[str, Mapping[str, Any]] = {
    "DescribeTaskDefinition": {"include": ("TAGS",)},
    "RunTask": {"launchType": ("EXTERNAL",), "propagateTags": ("TASK_DEFINITION", "NONE")},
    "StartTask": {"propagateTags": ("TASK_DEFINITION", "NONE")},
    "DescribeTasks": {"include": ("TAGS",)},
    "DescribeContainerInstances": {"include": ("TAGS", "CONTAINER_INSTANCE_HEALTH")},
    "CreateService": {
        "availabilityZoneRebalancing": ("DISABLED",),
        "launchType": ("EXTERNAL",),
        "deploymentController": {"type": ("ECS", "EXTERNAL")},
        "deploymentConfiguration": _ROLLING,
        "propagateTags": ("SERVICE", "TASK_DEFINITION", "NONE"),
    },
    "UpdateService": {
        "availabilityZoneRebalancing": ("DISABLED",),
        "deploymentController": {"type": ("ECS", "EXTERNAL")},
        "deploymentConfiguration": _ROLLING,
        "propagateTags": ("SERVICE", "TASK_DEFINITION", "NONE"),
    },
    "DescribeServices": {"include": ("TAGS",)},
    "StopServiceDeployment": {"stopType": ("ROLLBACK",)},
    "CreateTaskSet": {"launchType": ("EXTERNAL",)},
    "DescribeTaskSets": {"include": ("TAGS",)},
}
"""Where only some values of a member are supported; None: any."""

LIMITS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "DescribeClusters": {"clusters": (0, 100)},
    "DescribeCapacityProviders": {"capacityProviders": (0, 100), "maxResults": (1, 10)},
    "ListAccountSettings": {"maxResults": (1, 10)},
    "ListClusters": {"maxResults": (1, 100)},
    "DeleteTaskDefinitions": {"taskDefinitions": (1, 10)},
    "ListTaskDefinitions": {"maxResults": (1, 100)},
    "ListTaskDefinitionFamilies": {"maxResults": (1, 100)},
    "RunTask": {
        "count": (1, 10),
        "group": (0, 255),
        "startedBy": (0, 128),
        "referenceId": (0, 1024),
        "clientToken": (0, 64),
    },
    "StartTask": {"containerInstances": (1, 10), "group": (0, 255), "startedBy": (0, 36), "referenceId": (0, 1024)},
    "StopTask": {"reason": (0, 1024)},
    "DescribeTasks": {"tasks": (1, 100)},
    "ListTasks": {"maxResults": (1, 100)},
    "UpdateTaskProtection": {"tasks": (1, 10), "expiresInMinutes": (1, 2880)},
    "GetTaskProtection": {"tasks": (1, 100)},
    "ListContainerInstances": {"maxResults": (1, 100)},
    "DescribeContainerInstances": {"containerInstances": (1, 100)},
    "UpdateContainerInstancesState": {"containerInstances": (1, 10)},
    "PutAttributes": {"attributes": (1, 10)},
    "DeleteAttributes": {"attributes": (1, 10)},
    "ListAttributes": {"maxResults": (1, 100)},
    "CreateService": {
        "desiredCount": (0, 5000),
        "clientToken": (0, 36),
        "healthCheckGracePeriodSeconds": (0, 2_147_483_647),
    },
    "UpdateService": {"desiredCount": (0, 5000), "healthCheckGracePeriodSeconds": (0, 2_147_483_647)},
    "DescribeServices": {"services": (1, 10)},
    "ListServices": {"maxResults": (1, 100)},
    "ListServicesByNamespace": {"maxResults": (1, 100)},
    "ListServiceDeployments": {"maxResults": (1, 100)},
    "DescribeServiceDeployments": {"serviceDeploymentArns": (1, 20)},
    "DescribeServiceRevisions": {"serviceRevisionArns": (1, 20)},
    "CreateTaskSet": {"clientToken": (0, 36)},
}
"""Least and most of a number, or of the length of a list or text: Amazon's documentation has them, its model has not.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
"""
