"""ARNs that name what can have tags."""

import pytest

from control_plane.domain.arns import Arns, require_resource
from control_plane.domain.errors import InvalidParameterException

ARNS = Arns(region="eu-west-1", account="123456789012")
TASK = "0" * 32


@pytest.mark.parametrize(
    ("arn", "resource"),
    [
        (ARNS.cluster("c"), ("cluster", ("c",))),
        (ARNS.container_instance("c", TASK), ("container-instance", ("c", TASK))),
        (ARNS.task("c", TASK), ("task", ("c", TASK))),
        (ARNS.service("c", "web"), ("service", ("c", "web"))),
        (ARNS.task_definition("web:12"), ("task-definition", ("web:12",))),
        (ARNS.capacity_provider("FARGATE"), ("capacity-provider", ("FARGATE",))),
    ],
)
def test_what_an_arn_names(arn: str, resource: tuple[str, tuple[str, ...]]) -> None:
    assert require_resource(arn, ARNS) == resource


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "c",
        "cluster/c",
        ARNS.prefix,
        ARNS.cluster(""),
        ARNS.cluster("c/d"),
        ARNS.cluster("c\n"),
        ARNS.cluster("x" * 256),
        ARNS.task("c", ""),
        ARNS.service("c", "d/e"),
        ARNS.task_definition("web"),
        ARNS.task_definition("web:0"),
        ARNS.task_definition("web:²"),
        ARNS.cluster("c").replace("eu-west-1", "us-east-1"),
        ARNS.cluster("c").replace("123456789012", "210987654321"),
        ARNS.cluster("c").replace(":ecs:", ":eks:"),
    ],
)
def test_what_names_nothing(arn: str) -> None:
    with pytest.raises(InvalidParameterException, match="ARN is invalid"):
        require_resource(arn, ARNS)
