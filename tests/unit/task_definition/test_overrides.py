"""RunTask and StartTask: what may be overridden, and what a task then takes of its instance."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.errors import ClientException, EcsError, InvalidParameterException
from control_plane.domain.resources import Resources
from control_plane.domain.task_overrides import task_requirements, task_resources, validate_overrides
from unit.task_definition.builders import container, definition, port


def of_main(**members: Any) -> dict[str, Any]:
    return {"containerOverrides": [{"name": "main", **members}]}


TWO = definition(
    container(cpu=100, memory=64, memoryReservation=32, portMappings=[port(80, 8080), port(81)]),
    container(name="side", memory=16, portMappings=[port(53, 53, protocol="udp"), port(82, 0)]),
)
PORTS = frozenset({(8080, "tcp"), (53, "udp")})
ROLE = "arn:aws:iam::123456789012:role/role"
FILE = {"type": "s3", "value": "arn:aws:s3:::bucket/key.env"}
GPU = {"type": "GPU", "value": "1"}
EIA = {"type": "InferenceAccelerator", "value": "eia"}
SECRET = {"name": "TOKEN", "valueFrom": "parameter"}
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"


@pytest.mark.parametrize(
    ("overrides", "taken"),
    [
        pytest.param({}, Resources(100, 48, PORTS), id="the-sum-of-the-containers"),
        pytest.param({"cpu": "0.5 vCPU", "memory": "1 GB"}, Resources(512, 1024, PORTS), id="the-tasks-own"),
        pytest.param(of_main(cpu=300), Resources(300, 48, PORTS), id="a-containers-cpu"),
        pytest.param(of_main(cpu=0), Resources(100, 48, PORTS), id="no-cpu-is-no-override"),
        pytest.param(of_main(memoryReservation=64), Resources(100, 80, PORTS), id="a-containers-reservation"),
        pytest.param(of_main(memory=128), Resources(100, 48, PORTS), id="a-limit-is-not-what-is-reserved"),
        pytest.param(
            {"containerOverrides": [{"name": "side", "memory": 20}]}, Resources(100, 52, PORTS), id="a-limit-that-is"
        ),
        pytest.param(of_main(command=["true"], environment=[{"name": "A"}]), Resources(100, 48, PORTS), id="no-size"),
        pytest.param(of_main(command=[], environment=[]), Resources(100, 48, PORTS), id="nothing"),
    ],
)
def test_what_a_task_takes(overrides: dict[str, Any], taken: Resources) -> None:
    validate_overrides(TWO, overrides)
    assert task_resources(TWO, overrides) == taken


def test_a_task_takes_what_its_definition_says_as_a_whole() -> None:
    whole = definition(container(cpu=100), cpu="256", memory="512", networkMode="host")
    assert task_resources(whole, {}) == Resources(256, 512)
    assert task_resources(whole, {"cpu": "1024"}) == Resources(1024, 512)


def test_in_host_mode_a_containers_port_is_the_machines() -> None:
    assert task_resources(definition(container(portMappings=[port(80)]), networkMode="host"), {}).ports == {(80, "tcp")}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param(
            {"containerOverrides": [{"name": "other"}]},
            "Override for container named other is not a container in the TaskDefinition.",
            id="no-such-container",
        ),
        pytest.param({"containerOverrides": [{}]}, "named None", id="no-name"),
        pytest.param({"containerOverrides": [{"name": "main"}, {"name": "main"}]}, "more than one", id="twice"),
        pytest.param(
            of_main(command=["x" * 8192]),
            "Container Overrides length must be at most 8192",
            id="longer-than-amazon-takes",
        ),
        pytest.param({"ephemeralStorage": {"sizeInGiB": 21}}, "only supported for Fargate", id="ephemeral-storage"),
        pytest.param(
            {"inferenceAcceleratorOverrides": [{"deviceName": "eia", "deviceType": "eia1.medium"}]},
            "Override for inference accelerator named eia is not a device in the TaskDefinition.",
            id="no-such-accelerator",
        ),
    ],
)
def test_overrides_that_name_the_wrong_thing(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        validate_overrides(TWO, overrides)
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param({"new": 1}, "Overrides: 'new' is not supported yet", id="a-member-that-is-new"),
        pytest.param(of_main(new=1), "container 'main': 'new' is not supported", id="one-of-a-container"),
        pytest.param(of_main(resourceRequirements=[{"type": "GPU", "value": "0"}]), "GPU: '0'", id="no-gpu"),
        pytest.param(of_main(resourceRequirements=[EIA]), "'eia' is not declared", id="accelerator"),
        pytest.param(of_main(environmentFiles=[{"type": "s3", "value": "x"}]), "Invalid arn syntax.", id="file"),
        pytest.param(of_main(environmentFiles=[FILE] * 11), "environment files was exceeded", id="too-many-files"),
        pytest.param(of_main(environment=[{"value": "x"}]), "has no name", id="environment"),
        pytest.param(of_main(command=["\0"]), "NUL", id="nul"),
        pytest.param(of_main(cpu=-1), "Invalid 'cpu' setting for container 'main'.", id="cpu"),
        pytest.param(of_main(memory=0), "Invalid 'memory' setting for container 'main'.", id="memory"),
        pytest.param(of_main(memory=16), "'memory' must be greater than", id="hard-under-the-definitions-soft"),
        pytest.param({"cpu": "1"}, "Invalid 'cpu' setting for task.", id="task-cpu"),
        pytest.param({"memory": "x"}, "Invalid 'memory' setting for task.", id="task-memory"),
        pytest.param(
            {"memory": "48"}, "The 'memory' setting for container 'main' is greater than for the task.", id="fit"
        ),
        pytest.param({"cpu": "128", **of_main(cpu=129)}, "need 129 CPU units, but the task has 128", id="cpu-fits-not"),
    ],
)
def test_overrides_that_no_task_can_have(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        validate_overrides(TWO, overrides)
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("overrides", "required"),
    [
        pytest.param({}, set(), id="nothing"),
        pytest.param(of_main(command=["true"], cpu=1, environment=[{"name": "A"}]), set(), id="what-any-machine-can"),
        pytest.param({"taskRoleArn": ROLE}, {"com.amazonaws.ecs.capability.task-iam-role"}, id="role"),
        pytest.param({"executionRoleArn": ROLE}, set(), id="an-execution-role-that-nothing-uses"),
        pytest.param(of_main(environmentFiles=[FILE]), {"ecs.capability.env-files.s3"}, id="files-of-variables"),
        pytest.param(of_main(resourceRequirements=[GPU]), {"ecs-anywhere.capability.gpu"}, id="gpu"),
        pytest.param(of_main(resourceRequirements=[], environmentFiles=[]), set(), id="empty-lists"),
    ],
)
def test_what_a_task_needs_of_its_machine_besides_what_its_definition_does(
    overrides: dict[str, Any], required: set[str]
) -> None:
    validate_overrides(TWO, overrides)
    mapping = {"ecs-anywhere.capability.port-mapping"}
    assert task_requirements(TWO, overrides) == mapping | required


def test_an_execution_role_is_what_pulls_from_ecr() -> None:
    """The definition had none: it said that the image is on the machine."""
    local = definition(container(image=ECR))
    pulling = {"com.amazonaws.ecs.capability.ecr-auth", "ecs.capability.execution-role-ecr-pull"}
    assert task_requirements(local, {}) == set()
    assert task_requirements(local, {"executionRoleArn": ROLE}) == pulling


def test_a_secret_is_not_overridden_by_a_plain_value() -> None:
    secret = definition(container(secrets=[SECRET]), executionRoleArn=ROLE)
    with pytest.raises(ClientException, match="must be unique and not shared with any new or existing environment"):
        validate_overrides(secret, of_main(environment=[{"name": "TOKEN", "value": "x"}]))


SIZES = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.integers(-1, 2000),
        "memory": st.integers(-1, 300),
        "memoryReservation": st.integers(-1, 300),
    },
)


@given(
    main=SIZES,
    side=SIZES,
    whole=st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.integers(100, 3000).map(str),
            "memory": st.integers(0, 500).map(str),
        },
    ),
)
def test_no_container_is_promised_more_than_its_task_takes(
    main: dict[str, Any], side: dict[str, Any], whole: dict[str, Any]
) -> None:
    overrides = {**whole, "containerOverrides": [{"name": "main", **main}, {"name": "side", **side}]}
    try:
        validate_overrides(TWO, overrides)
    except EcsError:
        return
    taken = task_resources(TWO, overrides)
    promised = [
        {**one, **{k: v for k, v in two.items() if v}}
        for one, two in zip(TWO["containerDefinitions"], (main, side), strict=True)
    ]
    assert taken.cpu >= sum(each["cpu"] for each in promised)
    assert taken.memory >= sum(each.get("memoryReservation") or each["memory"] for each in promised)
