"""What a definition requires, and which machines can therefore run it."""

from typing import Any

import pytest

from ecs_protocol.capabilities import (
    CAPABILITIES,
    DOCKER_FEATURES,
    DOCKER_FEATURES_OF_SOME,
    PROCESS_FEATURES,
    announced_attributes,
    required_attributes,
)
from unit.task_definition.builders import container, definition, port

PROCESS = PROCESS_FEATURES
PROCESS_AS_ROOT = PROCESS | {"other-user"}
DOCKER = DOCKER_FEATURES
OLD = frozenset({"docker", "external", "port-mapping", "other-user"})
"""The runtimes, by what they can do."""


def fits(made: dict[str, Any], features: frozenset[str]) -> bool:
    return set(required_attributes(made)) <= set(announced_attributes(features))


@pytest.mark.parametrize("mode", ["bridge", "host", "none"])
@pytest.mark.parametrize("runtime", [PROCESS, PROCESS_AS_ROOT, DOCKER])
def test_any_network_mode_runs_everywhere(runtime: frozenset[str], mode: str) -> None:
    assert fits(definition(networkMode=mode, requiresCompatibilities=["EXTERNAL"]), runtime)


@pytest.mark.parametrize(
    ("made", "runtimes"),
    [
        pytest.param(container(portMappings=[port(80, 80)]), {PROCESS, PROCESS_AS_ROOT, DOCKER}, id="equal-ports"),
        pytest.param(container(portMappings=[port(80)]), {PROCESS, PROCESS_AS_ROOT, DOCKER}, id="no-host-port"),
        pytest.param(container(portMappings=[port(80, 8080)]), {DOCKER}, id="another-port"),
        pytest.param(container(portMappings=[port(80, 0)]), {DOCKER}, id="a-port-of-the-machines-choice"),
        pytest.param(container(portMappings=[port(80, 80), port(81, 82)]), {DOCKER}, id="one-of-two"),
        pytest.param(container(user="app"), {PROCESS_AS_ROOT, DOCKER}, id="another-user"),
        pytest.param(container(dockerLabels={"a": "b"}), {DOCKER}, id="labels"),
        pytest.param(
            container(workingDirectory="/srv", command=["true"]), {PROCESS, PROCESS_AS_ROOT, DOCKER}, id="all"
        ),
    ],
)
def test_where_a_container_can_run(made: dict[str, Any], runtimes: set[frozenset[str]]) -> None:
    built = definition(made)
    assert {runtime for runtime in (PROCESS, PROCESS_AS_ROOT, DOCKER) if fits(built, runtime)} == runtimes


def test_a_port_of_a_host_mode_task_asks_nothing() -> None:
    assert required_attributes(definition(container(portMappings=[port(80, 0)]), networkMode="host")) == ()


@pytest.mark.parametrize(
    ("members", "required"),
    [
        pytest.param({"healthCheck": {"command": ["CMD", "true"]}}, {"container-health-check"}, id="health-check"),
        pytest.param({"healthCheck": {"command": ["NONE"]}}, set(), id="no-health-check-in-so-many-words"),
        pytest.param({"restartPolicy": {"enabled": True}}, {"container-restart-policy"}, id="restart-policy"),
        pytest.param({"restartPolicy": {"enabled": False}}, set(), id="restart-policy-that-is-not-enabled"),
    ],
)
def test_what_an_agent_of_an_earlier_version_cannot_do(members: dict[str, Any], required: set[str]) -> None:
    made = definition(container(), container(name="side", **members))
    assert set(required_attributes(made)) == {f"ecs.capability.{name}" for name in required}
    assert fits(made, OLD) == (not required)
    assert fits(made, PROCESS)
    assert fits(made, DOCKER)


@pytest.mark.parametrize(
    ("driver", "fits_on"),
    [
        pytest.param({}, DOCKER, id="dockers-own"),
        pytest.param({"driver": "rexray/ebs"}, DOCKER | {"volume-driver-rexray/ebs"}, id="a-plugin"),
        pytest.param({"driver": "vieux/sshfs:latest"}, DOCKER | {"volume-driver-vieux/sshfs:latest"}, id="a-tag"),
    ],
)
def test_a_volume_goes_to_machines_that_have_its_driver(driver: dict[str, str], fits_on: frozenset[str]) -> None:
    made = definition(volumes=[{"name": "data", "dockerVolumeConfiguration": driver}])
    assert fits(made, fits_on)
    assert fits(made, DOCKER) == (not driver)
    assert not any(":" in name for name in required_attributes(made))


def test_a_definition_says_what_it_requires() -> None:
    made = definition(container(user="app"), requiresCompatibilities=["EXTERNAL"])
    assert made["requiresAttributes"] == [
        {"name": "ecs-anywhere.capability.container-user"},
        {"name": "ecs.capability.external"},
    ]


def test_each_capability_has_a_name_of_its_own() -> None:
    names = [capability.name for capability in CAPABILITIES]
    assert len(set(names)) == len(names)


def test_what_a_machine_announces_today() -> None:
    """Whoever teaches a runtime a feature adds its capabilities here."""
    always = set(announced_attributes(DOCKER))
    assert sorted(name.removeprefix("com.amazonaws.ecs.capability.") for name in always) == [
        "docker-remote-api.1.18",
        "ecr-auth",
        "ecs-anywhere.capability.bind-mounts",
        "ecs-anywhere.capability.container-user",
        "ecs-anywhere.capability.devices",
        "ecs-anywhere.capability.disable-networking",
        "ecs-anywhere.capability.dns",
        "ecs-anywhere.capability.docker-volumes",
        "ecs-anywhere.capability.extra-hosts",
        "ecs-anywhere.capability.hostname",
        "ecs-anywhere.capability.interactive",
        "ecs-anywhere.capability.kernel-capabilities",
        "ecs-anywhere.capability.links",
        "ecs-anywhere.capability.port-mapping",
        "ecs-anywhere.capability.pseudo-terminal",
        "ecs-anywhere.capability.read-only-root-filesystem",
        "ecs-anywhere.capability.security-options",
        "ecs-anywhere.capability.shared-memory",
        "ecs-anywhere.capability.system-controls",
        "ecs-anywhere.capability.tmpfs",
        "ecs-anywhere.capability.ulimits",
        "ecs-anywhere.capability.volumes-from",
        "ecs.capability.container-health-check",
        "ecs.capability.container-ordering",
        "ecs.capability.container-restart-policy",
        "ecs.capability.docker-plugin.local",
        "ecs.capability.env-files.s3",
        "ecs.capability.execute-command",
        "ecs.capability.execution-role-ecr-pull",
        "ecs.capability.external",
        "ecs.capability.network.container-port-range",
        "ecs.capability.pid-ipc-namespace-sharing",
        "ecs.capability.private-registry-authentication.secretsmanager",
        "ecs.capability.secrets.asm.bootstrap.log-driver",
        "ecs.capability.secrets.asm.environment-variables",
        "ecs.capability.secrets.ssm.bootstrap.log-driver",
        "ecs.capability.secrets.ssm.environment-variables",
        "privileged-container",
    ]
    of_some = set(announced_attributes(DOCKER | DOCKER_FEATURES_OF_SOME)) - always
    assert sorted(name.removeprefix("com.amazonaws.ecs.capability.") for name in of_some) == [
        "apparmor",
        "docker-remote-api.1.25",
        "ecs-anywhere.capability.firelens-secrets",
        "ecs-anywhere.capability.gpu",
        "ecs-anywhere.capability.swap",
        "ecs-anywhere.capability.swappiness",
        "ecs-anywhere.capability.task-namespaces",
        "ecs.capability.execution-role-awslogs",
        "ecs.capability.firelens.fluentbit",
        "ecs.capability.firelens.fluentd",
        "ecs.capability.firelens.non-root-user",
        "ecs.capability.firelens.options.config.file",
        "ecs.capability.firelens.options.config.s3",
        "ecs.capability.logging-driver.awsfirelens.log-driver-buffer-limit",
        "ecs.capability.task-cpu-mem-limit",
        "logging-driver.awsfirelens",
        "logging-driver.awslogs",
        "logging-driver.fluentd",
        "logging-driver.gelf",
        "logging-driver.journald",
        "logging-driver.json-file",
        "logging-driver.splunk",
        "logging-driver.syslog",
        "selinux",
        "task-iam-role",
        "task-iam-role-network-host",
    ]
    assert announced_attributes(PROCESS_AS_ROOT) == (
        "com.amazonaws.ecs.capability.task-iam-role",
        "com.amazonaws.ecs.capability.task-iam-role-network-host",
        "ecs-anywhere.capability.container-user",
        "ecs.capability.container-health-check",
        "ecs.capability.container-ordering",
        "ecs.capability.container-restart-policy",
        "ecs.capability.env-files.s3",
        "ecs.capability.execute-command",
        "ecs.capability.external",
        "ecs.capability.secrets.asm.environment-variables",
        "ecs.capability.secrets.ssm.environment-variables",
    )


@pytest.mark.parametrize(("architecture", "feature"), [("X86_64", "cpu-x86_64"), ("ARM64", "cpu-arm64")])
def test_a_program_goes_to_processors_that_can_run_it(architecture: str, feature: str) -> None:
    made = definition(runtimePlatform={"cpuArchitecture": architecture, "operatingSystemFamily": "LINUX"})
    assert [each for each in ("cpu-x86_64", "cpu-arm64") if fits(made, DOCKER | {each})] == [feature]
