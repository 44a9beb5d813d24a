"""What Terraform's AWS provider sends and reads back, as JSON: what was sent is what is there, so that a second plan is
empty.

https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service/ecs
"""

import json
from typing import Any

import pytest
from functions.api_ecs.app import carry_out

from control_plane.domain.errors import ClusterNotFoundException, UnsupportedFeatureException
from world import ADMINISTRATOR, World

TAGS = [{"key": "team", "value": "dev"}]
STRATEGY = [{"capacityProvider": "EXTERNAL", "base": 1, "weight": 100}]


@pytest.fixture
def ecs(world: World) -> Any:
    def call(operation: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            carry_out(world.cp, operation, json.dumps(request).encode(), caller=ADMINISTRATOR)
        )
        return answer

    return call


def sent_and_found(request: dict[str, Any], found: dict[str, Any]) -> None:
    assert {member: found.get(member) for member in request} == request


def test_a_cluster(ecs: Any) -> None:
    request = {
        "clusterName": "edge",
        "tags": TAGS,
        "settings": [{"name": "containerInsights", "value": "enabled"}],
        "configuration": {
            "executeCommandConfiguration": {
                "kmsKeyId": "key",
                "logging": "OVERRIDE",
                "logConfiguration": {"cloudWatchEncryptionEnabled": True, "cloudWatchLogGroupName": "sessions"},
            }
        },
    }
    arn = ecs("CreateCluster", **request)["cluster"]["clusterArn"]
    include = ["TAGS", "CONFIGURATIONS", "SETTINGS"]
    read = ecs("DescribeClusters", clusters=[arn], include=include)
    assert (read["failures"], read["clusters"][0]["status"]) == ([], "ACTIVE")
    sent_and_found(request, read["clusters"][0])

    changed = {"settings": [{"name": "containerInsights", "value": "disabled"}]}
    ecs("UpdateCluster", cluster=arn, configuration=request["configuration"], **changed)
    ecs("UntagResource", resourceArn=arn, tagKeys=["team"])
    ecs("TagResource", resourceArn=arn, tags=[{"key": "site", "value": "roof"}])
    [found] = ecs("DescribeClusters", clusters=[arn], include=include)["clusters"]
    sent_and_found({**request, **changed, "tags": [{"key": "site", "value": "roof"}]}, found)

    association = {"capacityProviders": ["EXTERNAL", "FARGATE"], "defaultCapacityProviderStrategy": STRATEGY}
    ecs("PutClusterCapacityProviders", cluster="edge", **association)
    sent_and_found(association, ecs("DescribeClusters", clusters=["edge"], include=include)["clusters"][0])
    none: dict[str, Any] = {"capacityProviders": [], "defaultCapacityProviderStrategy": []}
    ecs("PutClusterCapacityProviders", cluster="edge", **none)
    sent_and_found(none, ecs("DescribeClusters", clusters=["edge"], include=include)["clusters"][0])

    assert ecs("DeleteCluster", cluster=arn)["cluster"]["status"] == "INACTIVE"
    assert ecs("DescribeClusters", clusters=[arn], include=include)["clusters"][0]["status"] == "INACTIVE"


def test_a_cluster_that_is_gone(ecs: Any) -> None:
    assert ecs("DescribeClusters", clusters=["gone"])["failures"][0]["reason"] == "MISSING"
    with pytest.raises(ClusterNotFoundException):
        ecs("DeleteCluster", cluster="gone")


def test_a_capacity_provider(ecs: Any) -> None:
    """What its configuration leaves out is computed: it takes whatever is there."""
    group = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:8d5a-1:autoScalingGroupName/edge"
    scaling = {"instanceWarmupPeriod": 0, "minimumScalingStepSize": 2, "status": "ENABLED"}
    settings = {"managedDraining": "DISABLED", "managedScaling": scaling}
    request = {"name": "edge", "autoScalingGroupProvider": {"autoScalingGroupArn": group, **settings}, "tags": TAGS}
    arn = ecs("CreateCapacityProvider", **request)["capacityProvider"]["capacityProviderArn"]

    def read() -> dict[str, Any]:
        [found] = ecs("DescribeCapacityProviders", capacityProviders=[arn], include=["TAGS"])["capacityProviders"]
        assert isinstance(found, dict)
        return found

    computed = {"targetCapacity": 100, "maximumScalingStepSize": 10000}
    provider = {
        "autoScalingGroupArn": group,
        "managedDraining": "DISABLED",
        "managedScaling": {**scaling, **computed},
        "managedTerminationProtection": "DISABLED",
    }
    sent_and_found({**request, "autoScalingGroupProvider": provider, "status": "ACTIVE"}, read())

    changed = {key: value for key, value in provider.items() if key != "autoScalingGroupArn"}
    changed["managedScaling"] = {**scaling, **computed, "status": "DISABLED", "targetCapacity": 50}
    ecs("UpdateCapacityProvider", name="edge", autoScalingGroupProvider=changed)
    ecs("UntagResource", resourceArn=arn, tagKeys=["team"])
    ecs("TagResource", resourceArn=arn, tags=[{"key": "site", "value": "roof"}])
    after = {**provider, **changed}
    sent_and_found({"autoScalingGroupProvider": after, "tags": [{"key": "site", "value": "roof"}]}, read())
    assert read()["updateStatus"] == "UPDATE_COMPLETE", "it waits for that"

    ecs("DeleteCapacityProvider", capacityProvider=arn)
    assert read()["status"] == "INACTIVE", "which it takes for gone"


@pytest.mark.parametrize("operation", ["CreateCapacityProvider", "UpdateCapacityProvider"])
def test_a_capacity_provider_of_managed_instances_is_refused_with_the_reason(ecs: Any, operation: str) -> None:
    network = {"subnets": ["subnet-1"]}
    managed = {
        "infrastructureRoleArn": "arn:aws:iam::123456789012:role/ecs",
        "instanceLaunchTemplate": {"ec2InstanceProfileArn": "arn", "networkConfiguration": network},
    }
    with pytest.raises(UnsupportedFeatureException, match="managedInstancesProvider is not supported yet, as such a"):
        ecs(operation, name="edge", managedInstancesProvider=managed)
    with pytest.raises(UnsupportedFeatureException, match="cluster is not supported yet, as it is for"):
        ecs(operation, name="edge", cluster="edge", autoScalingGroupProvider={"autoScalingGroupArn": "group"})


def test_a_service(ecs: Any, world: World) -> None:
    world.cluster()
    world.task_definition()
    arn = world.cp.arns.cluster("default")
    request = {
        "serviceName": "web",
        "desiredCount": 2,
        "capacityProviderStrategy": STRATEGY,
        "enableECSManagedTags": True,
        "propagateTags": "SERVICE",
        "schedulingStrategy": "REPLICA",
        "availabilityZoneRebalancing": "DISABLED",
        "tags": TAGS,
    }
    definition = world.cp.arns.task_definition("web:1")
    created = ecs("CreateService", cluster=arn, taskDefinition=definition, clientToken="t", **request)["service"]
    [found] = ecs("DescribeServices", cluster=arn, services=[created["serviceArn"]], include=["TAGS"])["services"]
    sent_and_found({**request, "clusterArn": arn, "taskDefinition": definition}, found)
    assert "launchType" not in found


def test_an_account_setting(ecs: Any) -> None:
    request = {"name": "containerInsights", "value": "enabled"}
    made = ecs("PutAccountSettingDefault", **request)["setting"]
    assert ecs("ListAccountSettings", name="containerInsights", effectiveSettings=True)["settings"] == [made]
    sent_and_found(request, made)
    ecs("PutAccountSettingDefault", name="containerInsights", value="disabled")  # how it is destroyed
