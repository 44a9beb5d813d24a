"""What Terraform's AWS provider sends and reads back, as JSON: what was sent is what is there, so that a second plan is
empty.

https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service/ecs
"""

import json
from typing import Any

import pytest
from functions.api_ecs.app import carry_out

from control_plane.domain.errors import ClusterNotFoundException
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
