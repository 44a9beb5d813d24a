"""What a container says of its secrets, logs, limits and rights, and how that is refused."""

from typing import Any

import pytest

from control_plane.domain.errors import ClientException
from unit.task_definition.builders import container, definition

ROLE = "arn:aws:iam::123456789012:role/role"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param(
            {"secrets": [{"name": "A", "valueFrom": "a"}], "environment": [{"name": "A"}]},
            "The secret name must be unique and not shared with any new or existing environment variables set on the "
            "container, such as 'A'.",
            id="a-secret-that-is-no-secret",
        ),
        pytest.param({"secrets": [{"name": "A", "valueFrom": "a"}] * 2}, "such as 'A'.", id="secret-twice"),
        pytest.param(
            {"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::bucket/key"}] * 11},
            "The maximum number of environment files was exceeded. Specify ten or less and try again.",
            id="files",
        ),
        pytest.param({"environmentFiles": [{"type": "s3", "value": "s3://b/k"}]}, "Invalid arn syntax.", id="file"),
        pytest.param({"credentialSpecs": ["arn:aws:s3:::b/k"]}, "Invalid 'credentialSpecs' setting", id="spec"),
        pytest.param(
            {"logConfiguration": {"logDriver": "awslogs"}},
            "Log driver awslogs requires options: awslogs-group, awslogs-region",
            id="awslogs",
        ),
        pytest.param(
            {"firelensConfiguration": {"type": "fluentd", "options": {"config-file-type": "file"}}},
            "Invalid 'firelensConfiguration.options'",
            id="firelens-options",
        ),
        pytest.param(
            {"ulimits": [{"name": "nofile", "softLimit": 2, "hardLimit": 1}]},
            "The soft limit of nofile is greater than the hard limit.",
            id="ulimit",
        ),
        pytest.param(
            {"ulimits": [{"name": "core", "softLimit": -1, "hardLimit": 1}]},
            "The soft limit of core",
            id="no-soft-limit",
        ),
        pytest.param(
            {"linuxParameters": {"capabilities": {"add": ["FLY"]}}},
            "Invalid 'linuxParameters.capabilities.add' setting for container 'main': FLY",
            id="kernel-capability",
        ),
        pytest.param(
            {"linuxParameters": {"swappiness": 101}},
            "Invalid 'linuxParameters.swappiness' setting for container 'main'. Write 0 to 100.",
            id="swappiness",
        ),
        pytest.param(
            {"linuxParameters": {"tmpfs": [{"containerPath": "tmp", "size": 1}]}},
            "an absolute containerPath",
            id="tmpfs",
        ),
        pytest.param(
            {"linuxParameters": {"tmpfs": [{"containerPath": "/tmp", "size": 1, "mountOptions": ["fast"]}]}},
            "tmpfs.mountOptions' setting for container 'main': fast",
            id="mount-option",
        ),
        pytest.param({"dockerSecurityOptions": ["seccomp:x"]}, "Invalid 'dockerSecurityOptions'", id="security-option"),
        pytest.param({"resourceRequirements": [{"type": "GPU", "value": "0"}]}, "GPU: '0'", id="no-gpu"),
        pytest.param({"resourceRequirements": [{"type": "NeuronDevice", "value": "1"}]}, "must be ALL", id="neuron"),
        pytest.param({"extraHosts": [{"hostname": "a", "ipAddress": "b"}]}, "'b' is no IP address.", id="extra-host"),
        pytest.param({"dnsServers": ["dns"]}, "'dns' is no IP address.", id="dns"),
        pytest.param({"systemControls": [{"namespace": "vm.swappiness", "value": "1"}]}, "vm.swappiness", id="control"),
        pytest.param({"portMappings": [{"containerPortRange": "9-8"}]}, "Invalid 'containerPortRange'", id="range"),
        pytest.param(
            {"portMappings": [{"containerPortRange": "8-9", "hostPort": 1}]},
            "cannot specify both single port and port range",
            id="range-and-port",
        ),
        pytest.param({"repositoryCredentials": {"credentialsParameter": "", "x": 1}}, "'x' is not supported", id="x"),
    ],
)
def test_a_part_of_a_container_that_is_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        definition(container(**members), executionRoleArn=ROLE)
    assert words in raised.value.message


@pytest.mark.parametrize(
    "members",
    [
        {"secrets": [{"name": "A", "valueFrom": "a"}]},
        {"logConfiguration": {"logDriver": "splunk", "secretOptions": [{"name": "A", "valueFrom": "a"}]}},
    ],
)
def test_somebody_must_read_the_secrets(members: dict[str, Any]) -> None:
    with pytest.raises(ClientException) as raised:
        definition(container(**members))
    assert raised.value.message == (
        "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
    )


def test_what_is_false_stays_said() -> None:
    said = {"privileged": False, "readonlyRootFilesystem": False, "interactive": False}
    made = definition(container(**said), enableFaultInjection=False)
    assert {name: made["containerDefinitions"][0][name] for name in said} == said
    assert made["enableFaultInjection"] is False
    assert made["requiresAttributes"] == []
