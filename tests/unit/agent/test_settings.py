"""The settings of Amazon's agent: from a file and the environment, with its meaning of values that are none."""

import logging
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.machine import describe_machine
from ecs_anywhere_agent.registry_auth import registry_auth
from ecs_anywhere_agent.running import require_cluster, reserved_ports, rules_of
from ecs_anywhere_agent.runtime.interface import RuntimeFacts
from ecs_anywhere_agent.settings import DEFAULTS, Settings, SettingsError, export, find_settings, read_settings
from ecs_anywhere_agent.settings.owner import withheld_attributes, withheld_features
from ecs_protocol.capabilities import DOCKER_FEATURES, DOCKER_FEATURES_OF_SOME
from ecs_protocol.messages import HostPort


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        pytest.param("ECS_CLUSTER=prod", "cluster", "prod", id="a-word"),
        pytest.param('ECS_CLUSTER="prod"', "cluster", "prod", id="in-quotes"),
        pytest.param("  export ECS_CLUSTER='prod'  ", "cluster", "prod", id="as-a-shell-has-it"),
        pytest.param('ECS_INSTANCE_ATTRIBUTES={"a": "1"}', "instance_attributes", (("a", "1"),), id="attributes"),
        pytest.param(
            r'ECS_INSTANCE_ATTRIBUTES="{\"a\": \"1\"}"', "instance_attributes", (("a", "1"),), id="json-in-quotes"
        ),
        pytest.param("ECS_RESERVED_PORTS=[80, 443]", "reserved_ports", (80, 443), id="ports"),
        pytest.param("ECS_RESERVED_MEMORY=0", "reserved_memory", 0, id="no-memory-is-a-value"),
        pytest.param("ECS_DISABLE_PRIVILEGED=T", "privileged_disabled", True, id="gos-boolean"),
        pytest.param("ECS_CONTAINER_STOP_TIMEOUT=1h30m", "container_stop_timeout", 5400.0, id="gos-duration"),
        pytest.param("ECS_CONTAINER_STOP_TIMEOUT=1m30.5s", "container_stop_timeout", 90.5, id="with-a-fraction"),
        pytest.param("ECS_CONTAINER_STOP_TIMEOUT=300ms", "container_stop_timeout", 1.0, id="raised-to-the-minimum"),
        pytest.param("ECS_CONTAINER_START_TIMEOUT=1s", "container_start_timeout", 45.0, id="raised-for-a-start"),
        pytest.param("ECS_CONTAINER_CREATE_TIMEOUT=1s", "container_create_timeout", 60.0, id="raised-for-a-create"),
        pytest.param("ECS_IMAGE_PULL_INACTIVITY_TIMEOUT=1s", "pull_inactivity_timeout", 60.0, id="raised-for-a-pull"),
        pytest.param("ECS_TASK_METADATA_RPS_LIMIT=100, 150", "metadata_rates", (100, 150), id="rates"),
        pytest.param("ECS_EXCLUDE_UNTRACKED_IMAGE=a:1, b:2", "excluded_images", ("a:1", "b:2"), id="with-commas"),
        pytest.param("ECS_CLUSTER=", "cluster", None, id="empty-is-not-set"),
        pytest.param("# ECS_CLUSTER=prod", "cluster", None, id="a-comment"),
    ],
)
def test_what_a_line_says(line: str, field: str, value: object) -> None:
    found = read_settings(line, {})
    assert (getattr(found.settings, field), found.warnings) == (value, ())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ECS_RESERVED_MEMORY=-1", "'-1' is not a whole number from 0 to 65535"),
        ("ECS_RESERVED_MEMORY=70000", "'70000' is not a whole number from 0 to 65535"),
        ("ECS_RESERVED_PORTS=[1, 2", "'[1, 2' is not a JSON array of ports such as [22, 80]"),
        ("ECS_RESERVED_PORTS=[0]", "'[0]' is not a JSON array of ports such as [22, 80]"),
        ("ECS_RESERVED_PORTS=[]", "'[]' names none"),
        ("ECS_AVAILABLE_LOGGING_DRIVERS=[]", "'[]' names none"),
        ("ECS_DISABLE_PRIVILEGED=yes", "'yes' is neither true nor false"),
        ("ECS_CONTAINER_STOP_TIMEOUT=30", "'30' is not a duration such as 90s, 10m or 1h30m"),
        ("ECS_CONTAINER_STOP_TIMEOUT=0", "'0' is no time at all"),
        ("ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=500ms", "'500ms' is less than 1 seconds"),
        ("ECS_IMAGE_CLEANUP_INTERVAL=9m59s", "'9m59s' is less than 600 seconds"),
        ("ECS_NUM_IMAGES_DELETE_PER_CYCLE=0", "'0' is less than 1"),
        ("ECS_IMAGE_PULL_BEHAVIOR=never", "'never' is none of default, always, once, prefer-cached"),
        ("ECS_TASK_METADATA_RPS_LIMIT=40", "'40' is not of the form rateLimit,burst"),
        ("ECS_TASK_METADATA_RPS_LIMIT=0,60", "'0,60' has a rate that is not above 0"),
        ("ECS_ANYWHERE_MINIMUM_FREE_DISK=101", "'101' is not a percentage from 0 to 100"),
    ],
)
def test_an_invalid_value_is_warned_of_and_not_taken(line: str, why: str) -> None:
    name = line.partition("=")[0]
    found = read_settings(f"{line}\nECS_CLUSTER=prod", {})
    assert found.settings == Settings(cluster="prod")
    assert found.warnings == (f"{name}: {why}; taken as if it were not set",)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('ECS_INSTANCE_ATTRIBUTES={"a": 1}', "is not a JSON object of texts"),
        ('ECS_AVAILABLE_LOGGING_DRIVERS=["json-file", "paper"]', "Invalid logging drivers: paper"),
    ],
)
def test_with_some_values_no_agent_starts(line: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        read_settings(line, {})


def test_the_environment_wins_over_the_file_and_says_nothing_of_other_programs() -> None:
    found = read_settings(
        "ECS_CLUSTER=file\nECS_LOGLEVEL=debug", {"ECS_CLUSTER": "environment", "AWS_ACCESS_KEY_ID": "x", "ECS_X": "y"}
    )
    assert found == (Settings(cluster="environment", log_level="debug"), (), ())


def test_what_is_not_honoured_is_said() -> None:
    found = read_settings(
        "ECS_TASK_PIDS_LIMIT=100\nECS_ENABLE_CONTAINER_METADATA=false\nECS_DISABLE_METRICS=true\nECS_RESERVED_MEMROY=1\nx",
        {},
        "c",
    )
    assert found.warnings == (
        "c:5 is not of the form NAME=VALUE",
        "c: ECS_RESERVED_MEMROY is no setting of this agent",
        "ECS_TASK_PIDS_LIMIT is not honoured: limits of a task's processes: not there; use the ulimit nproc",
    )
    assert found.notes == ("ECS_DISABLE_METRICS has no meaning here: no metrics are sent",)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "ecs.config"
    with pytest.raises(SettingsError, match="which is not there"):
        find_settings({"ECS_ANYWHERE_AGENT_CONFIG": str(path)})
    path.write_text("ECS_CLUSTER=prod\n")
    assert find_settings({"ECS_ANYWHERE_AGENT_CONFIG": str(path)}).settings.cluster == "prod"


def test_what_libraries_read_themselves_is_put_into_the_environment() -> None:
    environment = {"NO_PROXY": "mine"}
    export(Settings(http_proxy="p:3128", no_proxy="file"), environment)
    assert environment == {"NO_PROXY": "mine", "HTTP_PROXY": "p:3128"}


def test_passwords_are_not_shown() -> None:
    data = '{"registry": {"username": "me", "password": "hush"}}'
    settings = read_settings(f"ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={data}", {}).settings
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("cluster", "starts"),
    [
        pytest.param(None, True, id="none-is-asked-for"),
        pytest.param("prod", True, id="its-own"),
        pytest.param("arn:aws:ecs:us-east-1:000000000000:cluster/prod", True, id="by-its-arn"),
        pytest.param("test", False, id="another"),
    ],
)
def test_the_cluster_is_that_of_the_activation(cluster: str | None, starts: bool) -> None:
    settings = Settings(cluster=cluster)
    if starts:
        require_cluster(settings, "prod")
    else:
        with pytest.raises(SettingsError, match="ECS_CLUSTER is test, but this machine was registered in cluster prod"):
            require_cluster(settings, "prod")


@pytest.mark.parametrize(
    ("settings", "withheld"),
    [
        pytest.param(DEFAULTS, set(), id="nothing-by-default"),
        pytest.param(
            Settings(privileged_disabled=True), {"com.amazonaws.ecs.capability.privileged-container"}, id="privileged"
        ),
        pytest.param(Settings(apparmor=False), {"com.amazonaws.ecs.capability.apparmor"}, id="apparmor"),
        pytest.param(
            Settings(task_roles=False),
            {
                "com.amazonaws.ecs.capability.task-iam-role",
                "com.amazonaws.ecs.capability.task-iam-role-network-host",
            },
            id="task-roles-in-any-network",
        ),
        pytest.param(Settings(task_limits=False), {"ecs.capability.task-cpu-mem-limit"}, id="limits-of-tasks"),
    ],
)
def test_what_the_owner_keeps_from_tasks(settings: Settings, withheld: set[str]) -> None:
    assert withheld_attributes(withheld_features(settings)) == withheld


def test_log_drivers_are_those_that_are_named() -> None:
    withheld = withheld_features(Settings(log_drivers=("json-file", "none")))
    assert "log-driver-json-file" not in withheld
    assert {"log-driver-syslog", "log-driver-awslogs"} <= withheld


def test_what_is_withheld_is_not_announced_and_reserved_ports_are_in_use() -> None:
    settings = Settings(privileged_disabled=True, reserved_ports=(2222,), reserved_ports_udp=(53,))
    registration = describe_machine(
        RuntimeFacts(DOCKER_FEATURES | DOCKER_FEATURES_OF_SOME),
        (),
        own_ports=frozenset(),
        owns_process=lambda _: False,
        reserved_memory=None,
        reserved_ports=reserved_ports(settings),
        withheld=withheld_features(settings),
    )
    names = {attribute.name for attribute in registration.attributes}
    assert "com.amazonaws.ecs.capability.privileged-container" not in names
    assert "ecs.capability.external" in names
    assert {HostPort(port=2222, protocol="tcp"), HostPort(port=53, protocol="udp")} <= set(registration.ports_in_use)


def test_the_cores_rules() -> None:
    rules = rules_of(Settings(task_cleanup_wait=60.0, task_cleanup_jitter=30.0, container_stop_timeout=1.4))
    assert (rules.keep_stopped, rules.keep_stopped_jitter, rules.stop_timeout) == (60.0, 30.0, 1)


HUB, OWN = {"username": "hub", "password": "1"}, {"username": "own", "password": "2:3"}


@pytest.mark.parametrize(
    ("image", "user"),
    [
        pytest.param("nginx", "hub", id="the-hub"),
        pytest.param("me/app:1", "hub", id="the-hub-for-somebodys"),
        pytest.param("docker.io/me/app", "hub", id="the-hub-by-its-name"),
        pytest.param("127.0.0.1:5000/app:1", "own", id="a-registry"),
        pytest.param("127.0.0.1:50001/app:1", None, id="another-port"),
        pytest.param("localhost/app", None, id="another-registry"),
    ],
)
@pytest.mark.parametrize("kind", ["docker", "dockercfg"])
def test_credentials_of_registries(kind: str, image: str, user: str | None) -> None:
    data = {
        "docker": '{"https://index.docker.io/v1/": {"username": "hub", "password": "1", "email": "x"},'
        '"127.0.0.1:5000": {"username": "own", "password": "2:3"}}',
        "dockercfg": '{"https://index.docker.io/v1/": {"auth": "aHViOjE="}, "http://127.0.0.1:5000": '
        '{"auth": "b3duOjI6Mw=="}}',
    }[kind]
    settings = read_settings(f"ECS_ENGINE_AUTH_TYPE={kind}\nECS_ENGINE_AUTH_DATA={data}", {}).settings
    found: Any = registry_auth(settings).credentials(image)
    expected = {"hub": HUB, "own": OWN, None: None}[user]
    assert expected is None or (found["username"], found["password"]) == tuple(expected.values())
    assert (found is None) == (expected is None)


@pytest.mark.parametrize(
    "data", ["hush", '{"r": "hush"}', '{"r": {"auth": "hush!"}}', "[]", '{"r": {"auth": "aHVzaA=="}}']
)
def test_credentials_that_cannot_be_read_are_none_and_not_shown(data: str, caplog: pytest.LogCaptureFixture) -> None:
    settings = read_settings(f"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={data}", {}).settings
    with caplog.at_level(logging.WARNING):
        assert registry_auth(settings).credentials("r/app") is None
    assert "hush" not in caplog.text
    assert "ECS_ENGINE_AUTH_DATA is not what ECS_ENGINE_AUTH_TYPE dockercfg means" in caplog.text
