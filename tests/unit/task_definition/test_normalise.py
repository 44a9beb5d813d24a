"""RegisterTaskDefinition: what is taken, how it is completed, and what is refused in which words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.errors import ClientException, InvalidParameterException
from control_plane.domain.task_definition import normalise
from unit.task_definition.builders import container, definition, port, request


def test_the_least_that_can_be_registered_is_completed_as_amazon_does() -> None:
    assert normalise(request()) == {
        "family": "web",
        "containerDefinitions": [
            {
                "name": "main",
                "image": "busybox",
                "cpu": 0,
                "memory": 64,
                "essential": True,
                "environment": [],
                "portMappings": [],
                "mountPoints": [],
                "systemControls": [],
                "volumesFrom": [],
            }
        ],
        "volumes": [],
        "placementConstraints": [],
        "compatibilities": ["EXTERNAL", "EC2"],
        "requiresAttributes": [],
    }


def test_all_that_can_be_said_is_kept() -> None:
    everything = container(
        cpu=256,
        memoryReservation=32,
        essential=True,
        command=["-c", "true"],
        entryPoint=["/bin/sh"],
        environment=[{"name": "A", "value": "b"}],
        portMappings=[port(80, 8080, protocol="udp", name="web")],
        workingDirectory="/srv",
        user="app:app",
        stopTimeout=0,
        dockerLabels={"empty": ""},
        healthCheck={"command": ["CMD", "true"], "interval": 5, "timeout": 2, "retries": 1, "startPeriod": 0},
        restartPolicy={"enabled": True, "ignoredExitCodes": [0, 143], "restartAttemptPeriod": 60},
    )
    members = {"networkMode": "bridge", "requiresCompatibilities": ["EXTERNAL"], "cpu": "512", "memory": "128"}
    normalised = definition(everything, **members)
    assert normalised["containerDefinitions"] == [
        {**everything, "mountPoints": [], "systemControls": [], "volumesFrom": []}
    ]
    assert {name: normalised[name] for name in members} == members


def test_what_describing_answers_can_be_registered_again() -> None:
    watched = {"healthCheck": {"command": ["CMD-SHELL", "exit 0"]}, "restartPolicy": {"enabled": True}}
    side = container(name="side", essential=False, **watched)
    once = definition(container(portMappings=[port(80)]), side, networkMode="host")
    computed = {"compatibilities", "requiresAttributes"}
    assert normalise({name: value for name, value in once.items() if name not in computed}) == once


@pytest.mark.parametrize(
    ("mode", "given_", "stored"),
    [
        pytest.param("bridge", port(80), {"containerPort": 80}, id="bridge-dynamic"),
        pytest.param("bridge", port(80, 0), {"containerPort": 80, "hostPort": 0}, id="bridge-dynamic-in-so-many-words"),
        pytest.param("bridge", port(80, 8080), {"containerPort": 80, "hostPort": 8080}, id="bridge-static"),
        pytest.param("host", port(80), {"containerPort": 80, "hostPort": 80}, id="host"),
        pytest.param("host", port(80, 0), {"containerPort": 80, "hostPort": 80}, id="host-dynamic"),
        pytest.param("host", port(80, 80), {"containerPort": 80, "hostPort": 80}, id="host-equal"),
    ],
)
def test_host_ports(mode: str, given_: dict[str, Any], stored: dict[str, Any]) -> None:
    [made] = definition(container(portMappings=[given_]), networkMode=mode)["containerDefinitions"]
    assert made["portMappings"] == [{**stored, "protocol": "tcp"}]


@pytest.mark.parametrize(
    ("member", "given_", "stored"),
    [
        pytest.param(
            "healthCheck",
            {"command": ["CMD-SHELL", "exit 0"]},
            {"command": ["CMD-SHELL", "exit 0"], "interval": 30, "timeout": 5, "retries": 3},
            id="health-check",
        ),
        pytest.param(
            "healthCheck",
            {"command": ["NONE"], "startPeriod": 300},
            {"command": ["NONE"], "interval": 30, "timeout": 5, "retries": 3, "startPeriod": 300},
            id="no-health-check",
        ),
        pytest.param(
            "restartPolicy", {"enabled": True}, {"enabled": True, "restartAttemptPeriod": 300}, id="restart-policy"
        ),
        pytest.param(
            "restartPolicy",
            {"enabled": False, "ignoredExitCodes": []},
            {"enabled": False},
            id="a-restart-policy-that-is-not-enabled",
        ),
    ],
)
def test_how_a_container_is_watched_over(member: str, given_: dict[str, Any], stored: dict[str, Any]) -> None:
    [made] = definition(container(**{member: given_}))["containerDefinitions"]
    assert made[member] == stored


@pytest.mark.parametrize(
    ("member", "text", "stored"),
    [
        ("cpu", "512", "512"),
        ("cpu", "0.5 vCPU", "512"),
        ("cpu", ".5vcpu", "512"),
        ("cpu", "192 VCPU", "196608"),
        ("cpu", "0128", "128"),
        ("memory", "1024", "1024"),
        ("memory", "1 GB", "1024"),
        ("memory", "0.5gb", "512"),
    ],
)
def test_units_of_a_task(member: str, text: str, stored: str) -> None:
    assert definition(**{member: text})[member] == stored


BAD_CPU = "Invalid 'cpu' setting for task."
BAD_MEMORY = "Invalid 'memory' setting for task."


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"family": ""}, "Family should match pattern [a-zA-Z0-9_-]{1,255}", id="family-empty"),
        pytest.param({"family": "a b"}, "Family should match pattern", id="family-space"),
        pytest.param({"family": "web\n"}, "Family should match pattern", id="family-newline"),
        pytest.param({"family": "a" * 256}, "Family should match pattern", id="family-long"),
        pytest.param({"containerDefinitions": []}, "Container list cannot be empty.", id="no-container"),
        pytest.param(
            {"requiresCompatibilities": ["FARGATE"]}, "Fargate only supports network mode 'awsvpc'.", id="fargate"
        ),
        pytest.param({"taskRole": "x"}, "Task definition: 'taskRole' is not supported yet", id="unknown"),
        pytest.param({"gpus": 0}, "'gpus' is not supported yet", id="zero-says-something"),
        pytest.param({"taskRoleArn": "a\0"}, "Task definition: a text has the character NUL", id="nul"),
        pytest.param({"cpu": "127"}, BAD_CPU, id="cpu-little"),
        pytest.param({"cpu": "196609"}, BAD_CPU, id="cpu-much"),
        pytest.param({"cpu": "-1"}, BAD_CPU, id="cpu-negative"),
        pytest.param({"cpu": "much"}, BAD_CPU, id="cpu-word"),
        pytest.param({"cpu": ". vCPU"}, BAD_CPU, id="cpu-no-digit"),
        pytest.param({"cpu": "٥١٢"}, BAD_CPU, id="cpu-other-digits"),
        pytest.param({"cpu": "9" * 5000}, BAD_CPU, id="cpu-endless"),
        pytest.param({"memory": "0"}, BAD_MEMORY, id="memory-none"),
        pytest.param({"memory": "1 TB"}, BAD_MEMORY, id="memory-unit"),
        pytest.param(
            {"memory": "32"}, "The 'memory' setting for container 'main' is greater than for the task.", id="l"
        ),
    ],
)
def test_a_task_definition_that_is_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        normalise({**request(), **members})
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"name": ""}, "Container.name should not be null or empty.", id="no-name"),
        pytest.param({"name": "a.b"}, "Container.name contains invalid characters.", id="name"),
        pytest.param({"image": ""}, "Container.image should not be null or empty.", id="no-image"),
        pytest.param({"image": "my image"}, "Container.image contains invalid characters.", id="image"),
        pytest.param({"image": "a" * 256}, "Container.image should be 255 characters or less", id="long-image"),
        pytest.param({"cpu": -1}, "Invalid 'cpu' setting for container 'main'.", id="cpu"),
        pytest.param({"memory": 0}, "Invalid 'memory' setting for container 'main'.", id="no-memory"),
        pytest.param({"memory": 5}, "Invalid 'memory' setting for container 'main'.", id="little-memory"),
        pytest.param(
            {"memoryReservation": 5}, "Invalid 'memoryReservation' setting for container 'main'.", id="reservation"
        ),
        pytest.param(
            {"memory": None},
            "Invalid setting for container 'main'. At least one of 'memory' or 'memoryReservation' must be specified.",
            id="no-size",
        ),
        pytest.param(
            {"memoryReservation": 65},
            "'memory' must be greater than or equal to 'memoryReservation'",
            id="soft-over-hard",
        ),
        pytest.param(
            {"essential": False}, "Task definition doesn't have any essential container.", id="nothing-essential"
        ),
        pytest.param({"stopTimeout": -1}, "Invalid 'stopTimeout' setting for container 'main'.", id="stop-timeout"),
        pytest.param({"environment": [{"value": "b"}]}, "has no name", id="environment"),
        pytest.param({"environment": [{"name": "A=B"}]}, "'='", id="environment-equals"),
        pytest.param({"command": ["a\0b"]}, "NUL", id="nul-in-command"),
        pytest.param({"environment": [{"name": "A", "value": "\0"}]}, "NUL", id="nul-in-environment"),
        pytest.param({"dockerLabels": {"\0": "x"}}, "NUL", id="nul-in-label"),
        pytest.param({"healthCheck": {"command": ["true"]}}, "Write CMD, CMD-SHELL or NONE first.", id="health"),
        pytest.param({"healthCheck": {"interval": 30}}, "Invalid 'healthCheck.command'", id="health-of-nothing"),
        pytest.param({"healthCheck": {"command": ["CMD"]}}, "Write what to run after CMD.", id="health-no-command"),
        pytest.param(
            {"healthCheck": {"command": ["CMD-SHELL", " "]}}, "what to run after CMD-SHELL", id="health-blank"
        ),
        pytest.param({"healthCheck": {"command": ["CMD", "a\0"]}}, "NUL", id="health-nul"),
        pytest.param(
            {"healthCheck": {"command": ["CMD", "true"], "startInterval": 5}},
            "Health check of container 'main': 'startInterval' is not supported yet",
            id="health-unknown",
        ),
        pytest.param(
            {"restartPolicy": {"enabled": True, "ignoredExitCodes": list(range(51))}},
            "Invalid 'restartPolicy.ignoredExitCodes' setting for container 'main'. Write at most 50.",
            id="exit-codes",
        ),
        pytest.param(
            {"restartPolicy": {"enabled": True, "maximumAttempts": 5}},
            "Restart policy of container 'main': 'maximumAttempts' is not supported yet",
            id="restart-unknown",
        ),
        pytest.param({"startTimeout": 0}, "must be at least 2 seconds", id="start-timeout"),
        pytest.param({"gpus": 0}, "Container 'main': 'gpus' is not supported yet", id="zero-says-something"),
        pytest.param({"portMappings": [{}]}, "Invalid 'containerPort' setting for container 'main'.", id="no-port"),
        pytest.param({"portMappings": [port(65536)]}, "Invalid 'containerPort' setting", id="port"),
        pytest.param({"portMappings": [port(80, -1)]}, "Invalid 'hostPort' setting", id="host-port"),
        pytest.param({"portMappings": [port(80, name="-a")]}, "Invalid port mapping name", id="port-name"),
        pytest.param(
            {"portMappings": [port(80, hostIp="::")]},
            "Port mapping of container 'main': 'hostIp' is not supported yet",
            id="port-unknown",
        ),
        pytest.param(
            {"portMappings": [port(80, 9), port(81, 9)]},
            "TCP host port '9' is mapped multiple times in task.",
            id="port-twice",
        ),
        pytest.param(
            {"portMappings": [port(80, name="a"), port(81, name="a")]},
            "port mapping name is already used",
            id="port-name-twice",
        ),
    ],
)
def test_a_container_that_is_refused(members: dict[str, Any], words: str) -> None:
    given_ = {name: value for name, value in container(**members).items() if value is not None}
    with pytest.raises(ClientException) as raised:
        normalise(request(given_))
    assert words in raised.value.message


@pytest.mark.parametrize(
    ("member", "least", "most"),
    [
        ("healthCheck.interval", 5, 300),
        ("healthCheck.timeout", 2, 60),
        ("healthCheck.retries", 1, 10),
        ("healthCheck.startPeriod", 0, 300),
        ("restartPolicy.restartAttemptPeriod", 60, 1800),
    ],
)
def test_the_bounds_of_what_a_container_is_watched_over_with(member: str, least: int, most: int) -> None:
    whole, _, part = member.partition(".")
    rest: dict[str, Any] = {"command": ["CMD", "true"]} if whole == "healthCheck" else {"enabled": True}
    for number in (least, most):
        [made] = definition(container(**{whole: {**rest, part: number}}))["containerDefinitions"]
        assert made[whole][part] == number
    for number in (least - 1, most + 1):
        with pytest.raises(ClientException) as raised:
            definition(container(**{whole: {**rest, part: number}}))
        assert raised.value.message == f"Invalid '{member}' setting for container 'main'. Write {least} to {most}."


@pytest.mark.parametrize(
    ("mode", "mapping", "words"),
    [
        pytest.param(
            "host",
            port(80, 8080),
            "When networkMode=host, the host ports and container ports in port mappings must match.",
            id="host",
        ),
        pytest.param("none", port(80), "Port mappings are not supported when networkMode=none.", id="none"),
    ],
)
def test_ports_that_a_network_mode_has_not(mode: str, mapping: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientException) as raised:
        definition(container(portMappings=[mapping]), networkMode=mode)
    assert raised.value.message == words


def test_the_same_port_of_two_protocols_is_two_ports() -> None:
    assert definition(container(portMappings=[port(53, 53), port(53, 53, protocol="udp")]))


SIDE = container(name="side")


@pytest.mark.parametrize(
    ("containers", "members", "words"),
    [
        pytest.param([SIDE, SIDE], {}, "must be unique", id="one-name"),
        pytest.param([container(name=f"c{number}") for number in range(11)], {}, "Too many containers.", id="eleven"),
        pytest.param([container(), SIDE], {"memory": "100"}, "reserve 128 MiB, but the task has 100", id="memory"),
        pytest.param(
            [container(cpu=200), container(name="side", cpu=100)], {"cpu": "256"}, "need 300 CPU units", id="cpu"
        ),
    ],
)
def test_containers_that_do_not_go_together(
    containers: list[dict[str, Any]], members: dict[str, str], words: str
) -> None:
    with pytest.raises(ClientException) as raised:
        definition(*containers, **members)
    assert words in raised.value.message


def test_containers_that_only_burst_beyond_the_task_together() -> None:
    soft = {"memory": 100, "memoryReservation": 50}
    assert definition(container(**soft), container(name="side", **soft), memory="100")


def test_nothing_of_its_own_is_needed_where_the_task_has_memory() -> None:
    [made] = definition({"name": "main", "image": "busybox"}, memory="100")["containerDefinitions"]
    assert "memory" not in made


def test_members_that_say_nothing_pass() -> None:
    nothing = {
        "links": [],
        "healthCheck": {},
        "restartPolicy": {},
        "hostname": "",
        "linuxParameters": {"devices": []},
    }
    members: dict[str, Any] = {
        "volumes": [],
        "taskRoleArn": "",
        "proxyConfiguration": None,
    }
    assert definition(container(**nothing), **members) == definition()


def test_a_digest_does_not_count_towards_an_images_length() -> None:
    assert definition(container(image="a" * 255 + "@sha256:" + "0" * 64))


def test_a_definition_has_a_size() -> None:
    with pytest.raises(ClientException, match=r"Actual length: '\d{6}'. Max allowed length is '65536' bytes."):
        definition(container(command=["é" * 60_000]))
    assert definition(container(command=["é" * 30_000]))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ([{"value": "v"}], "no key"),
        ([{"key": "a"}, {"key": "a"}], "unique"),
        ([{"key": "AWS:x"}], "reserved"),
        ([{"key": "a", "value": "aws:x"}], "reserved"),
        ([{"key": "a", "value": "<"}], "'a' has a character"),
        ([{"key": "a\tb"}], "has a character"),
    ],
)
def test_tags_that_are_refused(tags: list[dict[str, str]], words: str) -> None:
    with pytest.raises(InvalidParameterException, match=words):
        normalise({**request(), "tags": tags})


def test_tags_are_no_part_of_the_definition() -> None:
    assert definition(tags=[{"key": "Größe 1/2", "value": "a b_c.d:e/f=g+h-i@j"}, {"key": "b"}]) == definition()


TEXT = st.text(max_size=8)
PORTS = st.fixed_dictionaries({}, optional={"containerPort": st.integers(), "hostPort": st.integers()})
CONTAINER = st.fixed_dictionaries(
    {"name": TEXT | st.just("main")},
    optional={
        "image": TEXT | st.just("busybox"),
        "cpu": st.integers(-1, 2000),
        "memory": st.integers(0, 500),
        "memoryReservation": st.integers(0, 500),
        "essential": st.booleans(),
        "environment": st.lists(st.fixed_dictionaries({}, optional={"name": TEXT, "value": TEXT}), max_size=2),
        "portMappings": st.lists(PORTS, max_size=2),
        "user": TEXT,
        "healthCheck": st.fixed_dictionaries(
            {}, optional={"command": st.lists(TEXT | st.just("CMD"), max_size=2), "retries": st.integers(0, 11)}
        ),
        "restartPolicy": st.fixed_dictionaries(
            {}, optional={"enabled": st.booleans(), "restartAttemptPeriod": st.integers(0, 2000)}
        ),
    },
)


@given(
    containers=st.lists(CONTAINER, max_size=3),
    mode=st.sampled_from(["bridge", "host", "none"]),
    cpu=TEXT | st.sampled_from(["512", "1 vCPU"]),
    memory=TEXT | st.sampled_from(["512", "1 GB"]),
)
def test_whatever_the_model_lets_through_is_taken_or_refused(
    containers: list[dict[str, Any]], mode: str, cpu: str, memory: str
) -> None:
    asked = {"family": "web", "containerDefinitions": containers, "networkMode": mode, "cpu": cpu, "memory": memory}
    try:
        made = normalise(asked)
    except ClientException:
        return
    computed = {"compatibilities", "requiresAttributes"}
    assert normalise({name: value for name, value in made.items() if name not in computed}) == made
