"""What a capacity provider of one's own may be called, and which Auto Scaling groups it may name."""

from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.own_capacity_provider import checked_group, checked_provider_name

ARN = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:8d5a6f30-1:autoScalingGroupName/my group/1"


@pytest.mark.parametrize("name", ["a", "x" * 255, "My-1_provider", "external", "my-aws"])
def test_names(name: str) -> None:
    assert checked_provider_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 256, "a b", "a\n", "é", "aws", "ECS-mine", "Fargate", "FARGATE_SPOT"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InvalidParameterException, match="The specified capacity provider name is invalid"):
        checked_provider_name(name)


def test_the_name_of_ones_own_machines_is_taken() -> None:
    with pytest.raises(InvalidParameterException, match="EXTERNAL is reserved"):
        checked_provider_name("EXTERNAL")


@pytest.mark.parametrize("group", ["g", "my group/1", ARN, ARN.replace("arn:aws:", "arn:aws-us-gov:")])
def test_groups(group: str) -> None:
    assert checked_group({"autoScalingGroupArn": group})["autoScalingGroupArn"] == group


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(None, "An Auto Scaling group provider must be specified", id="none"),
        pytest.param({"autoScalingGroupArn": ""}, "ARN is invalid", id="an-empty-text"),
        pytest.param({"autoScalingGroupArn": "x" * 256}, "ARN is invalid", id="too-long-a-name"),
        pytest.param({"autoScalingGroupArn": "a\n"}, "ARN is invalid", id="a-line-break"),
        pytest.param({"autoScalingGroupArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/a"}, "ARN", id="another-arn"),
        pytest.param({"autoScalingGroupArn": ARN.partition("/")[0] + "/"}, "ARN is invalid", id="an-arn-without-name"),
    ],
)
def test_what_is_no_group(given: dict[str, Any] | None, words: str) -> None:
    with pytest.raises(InvalidParameterException, match=words):
        checked_group(given)
