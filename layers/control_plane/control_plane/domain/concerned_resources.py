"""Which resources each operation of Amazon ECS concerns, read from its request. Pure.

A template names members of the request in braces; one that is a list stands for each of its members, and what is not
named is all of them, `*`. A contract test compares the tables with botocore's model, so that no operation is forgotten;
one that is not here is nobody's but the administrator's.

Resources are Amazon's, https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
but that operations for which Amazon has the condition key ecs:cluster concern the cluster itself.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from control_plane.domain.arns import Arns, cluster_of, resource_name
from control_plane.domain.authorization import Need, Resource
from control_plane.domain.cluster import DEFAULT_CLUSTER

_ANY = ("*",)
_CLUSTER = ("cluster/{cluster}",)
_SERVICE = ("service/{cluster}/{service}",)
_TASK_SET = ("task-set/{cluster}/{service}/ecs-svc/{taskSet}",)
_TASKS = ("task/{cluster}/{tasks}",)
_INSTANCES = ("container-instance/{cluster}/{containerInstances}",)
_INSTANCE = ("container-instance/{cluster}/{containerInstance}",)
_ATTRIBUTES = ("container-instance/{cluster}/{attributes.targetId}",)
_DEFINITION = ("task-definition/{taskDefinition}",)
_NEW_DEFINITION = ("task-definition/{family}:*",)
_DAEMON_DEFINITION = ("daemon-task-definition/{daemonTaskDefinition}",)
_RESOURCE = ("{resourceArn}",)
_DAEMON = ("{daemonArn}",)
_EXPRESS = ("{serviceArn}",)
_SERVICE_DEPLOYMENT = ("{serviceDeploymentArn}",)

CONCERNED: Mapping[str, tuple[str, ...]] = {
    "ContinueServiceDeployment": _SERVICE_DEPLOYMENT,
    "CreateCapacityProvider": ("capacity-provider/{name}",),
    "CreateCluster": ("cluster/{clusterName}",),
    "CreateDaemon": ("daemon/{clusterArn}/{daemonName}",),
    "CreateExpressGatewayService": ("service/{cluster}/{serviceName}",),
    "CreateService": ("service/{cluster}/{serviceName}",),
    "CreateTaskSet": _SERVICE,
    "DeleteAccountSetting": _ANY,
    "DeleteAttributes": _ATTRIBUTES,
    "DeleteCapacityProvider": ("capacity-provider/{capacityProvider}",),
    "DeleteCluster": _CLUSTER,
    "DeleteDaemon": _DAEMON,
    "DeleteDaemonTaskDefinition": _DAEMON_DEFINITION,
    "DeleteExpressGatewayService": _EXPRESS,
    "DeleteService": _SERVICE,
    "DeleteTaskDefinitions": ("task-definition/{taskDefinitions}",),
    "DeleteTaskSet": _TASK_SET,
    "DeregisterContainerInstance": _INSTANCE,
    "DeregisterTaskDefinition": _DEFINITION,
    "DescribeCapacityProviders": ("capacity-provider/{capacityProviders}",),
    "DescribeClusters": ("cluster/{clusters}",),
    "DescribeContainerInstances": _INSTANCES,
    "DescribeDaemon": _DAEMON,
    "DescribeDaemonDeployments": ("{daemonDeploymentArns}",),
    "DescribeDaemonRevisions": ("{daemonRevisionArns}",),
    "DescribeDaemonTaskDefinition": _DAEMON_DEFINITION,
    "DescribeExpressGatewayService": _EXPRESS,
    "DescribeServiceDeployments": ("{serviceDeploymentArns}",),
    "DescribeServiceRevisions": ("{serviceRevisionArns}",),
    "DescribeServices": ("service/{cluster}/{services}",),
    "DescribeTaskDefinition": _DEFINITION,
    "DescribeTaskSets": ("task-set/{cluster}/{service}/ecs-svc/{taskSets}",),
    "DescribeTasks": _TASKS,
    "DiscoverPollEndpoint": _CLUSTER,
    "ExecuteCommand": ("task/{cluster}/{task}",),
    "GetTaskProtection": _TASKS,
    "ListAccountSettings": _ANY,
    "ListAttributes": _CLUSTER,
    "ListClusters": _ANY,
    "ListContainerInstances": _CLUSTER,
    "ListDaemonDeployments": _DAEMON,
    "ListDaemonTaskDefinitions": _ANY,
    "ListDaemons": ("cluster/{clusterArn}",),
    "ListServiceDeployments": _SERVICE,
    "ListServices": _CLUSTER,
    "ListServicesByNamespace": _ANY,
    "ListTagsForResource": _RESOURCE,
    "ListTaskDefinitionFamilies": _ANY,
    "ListTaskDefinitions": _ANY,
    "ListTasks": _CLUSTER,
    "PutAccountSetting": _ANY,
    "PutAccountSettingDefault": _ANY,
    "PutAttributes": _ATTRIBUTES,
    "PutClusterCapacityProviders": _CLUSTER,
    "RegisterContainerInstance": _CLUSTER,
    "RegisterDaemonTaskDefinition": ("daemon-task-definition/{family}:*",),
    "RegisterTaskDefinition": _NEW_DEFINITION,
    "RunTask": (*_CLUSTER, *_DEFINITION),
    "StartTask": (*_INSTANCES, *_DEFINITION),
    "StopServiceDeployment": _SERVICE_DEPLOYMENT,
    "StopTask": ("task/{cluster}/{task}",),
    "SubmitAttachmentStateChanges": _CLUSTER,
    "SubmitContainerStateChange": _CLUSTER,
    "SubmitTaskStateChange": _CLUSTER,
    "TagResource": _RESOURCE,
    "UntagResource": _RESOURCE,
    "UpdateCapacityProvider": ("capacity-provider/{name}",),
    "UpdateCluster": _CLUSTER,
    "UpdateClusterSettings": _CLUSTER,
    "UpdateContainerAgent": _INSTANCE,
    "UpdateContainerInstancesState": _INSTANCES,
    "UpdateDaemon": _DAEMON,
    "UpdateExpressGatewayService": _EXPRESS,
    "UpdateService": _SERVICE,
    "UpdateServicePrimaryTaskSet": ("task-set/{cluster}/{service}/ecs-svc/{primaryTaskSet}",),
    "UpdateTaskProtection": _TASKS,
    "UpdateTaskSet": _TASK_SET,
}

TAGGED: Mapping[str, str] = {
    "CreateCapacityProvider": "capacity-provider/{name}",
    "CreateCluster": "cluster/{clusterName}",
    "CreateDaemon": "daemon/{clusterArn}/{daemonName}",
    "CreateExpressGatewayService": "service/{cluster}/{serviceName}",
    "CreateService": "service/{cluster}/{serviceName}",
    "CreateTaskSet": "task-set/{cluster}/{service}/*",
    "RegisterDaemonTaskDefinition": "daemon-task-definition/{family}:*",
    "RegisterTaskDefinition": "task-definition/{family}:*",
    "RunTask": "task/{cluster}/*",
    "StartTask": "task/{cluster}/*",
}
"""What gets the tags of a request that creates something: whoever gives them needs ecs:TagResource on it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
"""

RUNS_A_DEFINITION = frozenset({"RunTask", "StartTask", "CreateService", "UpdateService", "CreateTaskSet"})
"""Whoever runs a definition gives its tasks the definition's roles."""

ACTIONS = frozenset({*(f"ecs:{operation}" for operation in CONCERNED), "iam:PassRole"})

_IN_CLUSTERS = frozenset(
    {
        *("task", "service", "container-instance", "container", "task-set", "service-deployment", "service-revision"),
        *("daemon", "daemon-deployment", "daemon-revision"),
    }
)
_CLUSTERS = frozenset({"cluster", "clusters", "clusterName", "clusterArn"})
_PLACEHOLDER = re.compile(r"\{([\w.]+)\}")
_RESOURCE_PART = re.compile(r"[a-z-]+(/([\w-]+|\*))+(:([0-9]+|\*))?", re.ASCII)
_ROLE = re.compile(r"role|.*[rR]oleArn")


def needs_of(
    operation: str, request: Mapping[str, Any], arns: Arns, definition: Mapping[str, Any] | None = None
) -> list[Need]:
    """All that a request needs to be allowed. `definition`: the one that it runs, if it runs one."""
    needs = [
        Need(f"ecs:{operation}", resource)
        for template in CONCERNED[operation]
        for resource in _resources(template, request, arns)
    ]
    if operation in TAGGED and request.get("tags"):
        needs += [Need("ecs:TagResource", resource) for resource in _resources(TAGGED[operation], request, arns)]
    roles = [*_roles(request), *_roles(definition or {})]
    return needs + [Need("iam:PassRole", Resource(arns.role(role))) for role in dict.fromkeys(roles)]


def _resources(template: str, request: Mapping[str, Any], arns: Arns) -> Iterator[Resource]:
    if template == "*":
        yield Resource("*")
        return
    if template.startswith("{"):
        for arn in _named(request, template[1:-1]):
            yield resource_of(arn, arns)
        return
    kind, *parts = template.split("/")
    # What is named by an ARN of another cluster than the request's concerns both: no flow is trusted to refuse it.
    elsewhere = {
        cluster
        for member in _PLACEHOLDER.findall(template)
        for value in _named(request, member)
        if member not in _CLUSTERS and (cluster := cluster_of(value))
    }
    for names in product(*(_filled(part, request) for part in parts)):
        yield resource_of(arns.prefix + "/".join((kind, *names)), arns)
        if kind in _IN_CLUSTERS:
            for cluster in sorted(elsewhere - {names[0]}):
                yield resource_of(arns.prefix + "/".join((kind, cluster, *names[1:])), arns)


def _filled(part: str, request: Mapping[str, Any]) -> list[str]:
    """A part of a template, for each value that its member has."""
    placeholder = _PLACEHOLDER.search(part)
    if placeholder is None:
        return [part]
    values = [resource_name(value) for value in _named(request, placeholder[1])]
    return [part.replace(placeholder[0], value) for value in dict.fromkeys(values)]


def _named(request: Mapping[str, Any], path: str) -> list[str]:
    """The texts at a path; without any, the default cluster, or all that there are."""
    found: list[Any] = [request]
    for member in path.split("."):
        values = [each.get(member) for each in found]
        found = [one for value in values for one in (value if isinstance(value, list) else [value])]
    texts = [str(value) for value in found if value]
    return texts or [DEFAULT_CLUSTER if path in _CLUSTERS else "*"]


def resource_of(arn: str, arns: Arns) -> Resource:
    """With the cluster that it is or is in. What is no ARN of this account and region is allowed with `*` only."""
    if not arn.startswith(arns.prefix) or not _RESOURCE_PART.fullmatch(arn, len(arns.prefix)):
        return Resource("*")
    kind, *names = arn.removeprefix(arns.prefix).split("/")
    if kind == "cluster" or kind in _IN_CLUSTERS:
        return Resource(arn, arns.cluster(names[0]), names[0])
    return Resource(arn)


def _roles(value: Any) -> Iterator[str]:
    """Every role that a request or a definition names, at whatever depth: no list of them can be out of date."""
    if isinstance(value, Mapping):
        for member, each in value.items():
            if isinstance(each, str) and each and _ROLE.fullmatch(member):
                yield each
            else:
                yield from _roles(each)
    elif isinstance(value, list):
        for each in value:
            yield from _roles(each)
