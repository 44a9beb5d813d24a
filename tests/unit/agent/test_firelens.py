"""What log routers are told, and how the containers of a task are wired to theirs.

The two whole configurations are those that Amazon shows for its own agent:
https://github.com/aws-samples/amazon-ecs-firelens-under-the-hood/tree/mainline/generated-configs
"""

from typing import Any

import pytest

from ecs_anywhere_agent.container_order import Dependency, DependencyCondition
from ecs_anywhere_agent.container_secrets import Secret
from ecs_anywhere_agent.container_spec import (
    ContainerSpec,
    LogConfiguration,
    UnusableTaskDefinitionError,
    container_specs,
)
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_config import container_config
from ecs_anywhere_agent.runtime.docker_features import features_of

TASK_ID = "737d73bf8c6e44f1aa867b3ae3922011"
TASK_ARN = f"arn:aws:ecs:ap-south-1:144718711470:task/furrlens/{TASK_ID}"
FIREHOSE = {"Name": "firehose", "region": "ap-south-1", "delivery_stream": "demo-stream"}

FLUENT_BIT = f"""\
[INPUT]
    Name forward
    unix_path /var/run/fluent.sock

[INPUT]
    Name forward
    Listen 0.0.0.0
    Port 24224

[INPUT]
    Name tcp
    Tag firelens-healthcheck
    Listen 127.0.0.1
    Port 8877

[FILTER]
    Name   grep
    Match app-firelens*
    Regex  log [Ee]rror

[FILTER]
    Name record_modifier
    Match *
    Record ecs_cluster furrlens
    Record ecs_task_arn {TASK_ARN}
    Record ecs_task_definition session:5

@INCLUDE /fluent-bit.conf

[OUTPUT]
    Name null
    Match firelens-healthcheck

[OUTPUT]
    Name firehose
    Match app-firelens*
    delivery_stream demo-stream
    region ap-south-1
"""
FLUENTD = f"""\
<source>
    @type unix
    path /var/run/fluent.sock
</source>

<source>
    @type forward
    bind 0.0.0.0
    port 24224
</source>

<filter **>
    @type record_transformer
    <record>
        ecs_cluster furrlens
        ecs_task_arn {TASK_ARN}
        ecs_task_definition session:5
    </record>
</filter>

@include /fluentd/etc/own.conf

<match app-firelens**>
    @type kinesis_firehose
    delivery_stream_name demo-stream
    region ap-south-1
</match>
"""


def an_app(options: dict[str, str] | None = None, name: str = "app", **members: Any) -> dict[str, Any]:
    logs = {"logDriver": "awsfirelens", "options": options or {}}
    return {"name": name, "image": "app", "logConfiguration": logs, **members}


def a_router(kind: str = "fluentbit", options: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    given = {"type": kind, "options": options or {}}
    return {"name": "log_router", "image": "router", "firelensConfiguration": given, **members}


def specs(*containers: dict[str, Any], network_mode: str = "bridge") -> dict[str, ContainerSpec]:
    definition = {
        "family": "session",
        "revision": 5,
        "networkMode": network_mode,
        "containerDefinitions": list(containers),
    }
    made = container_specs(
        definition,
        {},
        container_instance_arn="instance",
        cluster="arn:aws:ecs:ap-south-1:144718711470:cluster/furrlens",
        task_arn=TASK_ARN,
    )
    return {spec.name: spec for spec in made}


def told(*containers: dict[str, Any], network_mode: str = "bridge") -> str:
    router = specs(*containers, network_mode=network_mode)["log_router"].routes_logs
    assert router is not None
    return router.configuration


def test_fluent_bit_is_told_what_amazons_agent_tells_it() -> None:
    options = {"config-file-type": "file", "config-file-value": "/fluent-bit.conf"}
    app = an_app({**FIREHOSE, "include-pattern": "[Ee]rror"})
    assert told(a_router(options=options), app) == FLUENT_BIT


def test_fluentd_is_told_what_amazons_agent_tells_it() -> None:
    options = {"config-file-type": "file", "config-file-value": "/fluentd/etc/own.conf"}
    app = an_app({"@type": "kinesis_firehose", "delivery_stream_name": "demo-stream", "region": "ap-south-1"})
    assert told(a_router("fluentd", options), app) == FLUENTD


@pytest.mark.parametrize("network_mode", ["host", "none"])
def test_only_a_network_of_the_tasks_own_is_listened_on(network_mode: str) -> None:
    options = {"enable-ecs-log-metadata": "false"}
    assert told(a_router(options=options), an_app({"Name": "null"}), network_mode=network_mode) == (
        "[INPUT]\n    Name forward\n    unix_path /var/run/fluent.sock\n\n"
        "[OUTPUT]\n    Name null\n    Match app-firelens*\n"
    )


def test_each_container_has_its_own_filters_and_output() -> None:
    first = an_app({"@type": "file", "path": "/a", "exclude-pattern": "^debug", "include-pattern": "x"})
    second = an_app({"@type": "null", "log-driver-buffer-limit": "2097152"}, name="side")
    third = an_app(name="elsewhere")
    without_metadata = a_router("fluentd", {"enable-ecs-log-metadata": "false"})
    assert told(first, without_metadata, second, third, network_mode="host") == (
        "<source>\n    @type unix\n    path /var/run/fluent.sock\n</source>\n\n"
        "<filter app-firelens**>\n    @type  grep\n    <regexp>\n        key log\n        pattern x\n    </regexp>\n"
        "</filter>\n\n"
        "<filter app-firelens**>\n    @type  grep\n    <exclude>\n        key log\n        pattern ^debug\n"
        "    </exclude>\n</filter>\n\n"
        "<match app-firelens**>\n    @type file\n    path /a\n</match>\n\n"
        "<match side-firelens**>\n    @type null\n</match>\n"
    )


@pytest.mark.parametrize(
    ("value", "added"),
    [
        pytest.param(None, True, id="unless-said-otherwise"),
        pytest.param("true", True, id="true"),
        pytest.param("T", True, id="as-go-writes-it"),
        pytest.param("false", False, id="false"),
        pytest.param("yes", False, id="what-is-neither-is-false"),
    ],
)
def test_metadata_is_added(value: str | None, added: bool) -> None:
    options = {} if value is None else {"enable-ecs-log-metadata": value}
    assert ("ecs_task_arn" in told(a_router(options=options), an_app({"Name": "null"}))) is added


@pytest.mark.parametrize(("kind", "key"), [("fluentbit", "Name"), ("fluentd", "@type")])
def test_options_without_an_output_end_the_task(kind: str, key: str) -> None:
    with pytest.raises(UnusableTaskDefinitionError, match=f"of container app .* missing output key {key}"):
        specs(a_router(kind), an_app({"region": "ap-south-1"}))


@pytest.mark.parametrize(
    ("kind", "key", "written"),
    [
        pytest.param("fluentbit", "Name", "${splunk_token_1}", id="fluent-bit"),
        pytest.param("fluentd", "@type", "\"#{ENV['splunk_token_1']}\"", id="fluentd"),
    ],
)
def test_a_secret_option_is_a_variable_of_the_routers(kind: str, key: str, written: str) -> None:
    """Its number is that of the container. Neither the configuration nor Docker's own driver is told the secret."""
    app = an_app({key: "splunk"})
    app["logConfiguration"]["secretOptions"] = [{"name": "splunk_token", "valueFrom": "/token"}]
    own = {"name": "OWN", "valueFrom": "/own"}
    made = specs(a_router(kind, secrets=[own]), app, network_mode="host")
    router = made["log_router"]
    assert router.routes_logs is not None
    assert f"\n    splunk_token {written}\n" in router.routes_logs.configuration
    assert router.secrets == (Secret("OWN", "/own"), Secret("splunk_token_1", "/token"))
    assert made["app"].logs == LogConfiguration("awsfirelens", ((key, "splunk"),))
    assert (router.needs_execution_role, made["app"].needs_execution_role) == (True, False)


@pytest.mark.parametrize(
    ("kind", "path", "line"),
    [
        pytest.param("fluentbit", "/fluent-bit/etc/external.conf", "@INCLUDE", id="fluent-bit"),
        pytest.param("fluentd", "/fluentd/etc/external.conf", "@include", id="fluentd"),
    ],
)
def test_a_file_of_s3_is_included_from_where_it_is_put(kind: str, path: str, line: str) -> None:
    arn = "arn:aws:s3:::bucket/own.conf"
    made = specs(a_router(kind, {"config-file-type": "s3", "config-file-value": arn}), an_app())
    router = made["log_router"]
    assert router.routes_logs is not None
    assert router.routes_logs.external == arn
    assert router.needs_execution_role
    assert f"\n{line} {path}\n" in router.routes_logs.configuration
    binds = container_config(ContainerRef(TASK_ID, "log_router"), router, "/data")["HostConfig"]["Binds"]
    assert f"/data/firelens/{TASK_ID}/config/external.conf:{path}" in binds


ON_ROUTER = Dependency("log_router", DependencyCondition.START)


@pytest.mark.parametrize(
    ("router", "app", "dependencies"),
    [
        pytest.param(a_router(), an_app(), (ON_ROUTER,), id="after-the-router"),
        pytest.param(a_router(), {"name": "app", "image": "app"}, (), id="not-if-its-logs-go-elsewhere"),
        pytest.param(
            a_router(),
            an_app(dependsOn=[{"containerName": "log_router", "condition": "HEALTHY"}]),
            (Dependency("log_router", DependencyCondition.HEALTHY),),
            id="as-it-says-itself",
        ),
        pytest.param(
            a_router(),
            an_app(volumesFrom=[{"sourceContainer": "log_router"}]),
            (Dependency("log_router", DependencyCondition.CREATE), ON_ROUTER),
            id="also-if-it-has-its-volumes",
        ),
        pytest.param(
            a_router(dependsOn=[{"containerName": "app", "condition": "START"}]),
            an_app(),
            (),
            id="not-if-the-router-waits-for-others",
        ),
    ],
)
def test_who_sends_logs_starts_after_the_router(
    router: dict[str, Any], app: dict[str, Any], dependencies: tuple[Dependency, ...]
) -> None:
    sender = an_app(name="side")
    assert specs(router, app, sender)["app"].origin.depends_on == dependencies


def test_what_the_engine_is_told_of_both() -> None:
    made = specs(a_router(), an_app({"Name": "null", "log-driver-buffer-limit": "2097152"}))
    router = container_config(ContainerRef(TASK_ID, "log_router"), made["log_router"], "/data")
    assert router["HostConfig"]["Binds"] == [
        f"/data/firelens/{TASK_ID}/config/fluent.conf:/fluent-bit/etc/fluent-bit.conf",
        f"/data/firelens/{TASK_ID}/socket/:/var/run/",
    ]
    assert (router["Env"], router["HostConfig"].get("LogConfig")) == ([], None)
    app = container_config(ContainerRef(TASK_ID, "app"), made["app"], "/data", log_router_address="172.17.0.2")
    assert app["HostConfig"]["LogConfig"] == {
        "Type": "fluentd",
        "Config": {
            "tag": f"app-firelens-{TASK_ID}",
            "fluentd-address": f"unix:///data/firelens/{TASK_ID}/socket/fluent.sock",
            "fluentd-async": "true",
            "fluentd-sub-second-precision": "true",
            "fluentd-buffer-limit": "2097152",
        },
    }
    assert app["Env"] == ["FLUENT_HOST=172.17.0.2", "FLUENT_PORT=24224"]
    assert "Binds" not in app["HostConfig"]


def test_fluentd_stays_root_to_reach_the_socket() -> None:
    spec = specs(a_router("fluentd"), an_app())["log_router"]
    config = container_config(ContainerRef(TASK_ID, "log_router"), spec, "/data")
    assert config["Env"] == ["FLUENT_UID=0"]
    assert config["HostConfig"]["Binds"][0].endswith("/config/fluent.conf:/fluentd/etc/fluent.conf")


@pytest.mark.parametrize(
    ("drivers", "routes_logs", "announced"),
    [
        pytest.param(
            ["fluentd"],
            True,
            {"firelens", "firelens-s3", "firelens-secrets", "log-driver-awsfirelens"},
            id="where-both-are-there",
        ),
        pytest.param(["fluentd"], False, set(), id="the-path-of-a-socket-would-be-too-long"),
        pytest.param(["json-file"], True, set(), id="the-engine-has-no-driver-for-it"),
    ],
)
def test_where_it_is_announced(drivers: list[str], routes_logs: bool, announced: set[str]) -> None:
    features = features_of({"Plugins": {"Log": drivers}}, limits_tasks=False, routes_logs=routes_logs)
    assert {each for each in features if "firelens" in each} == announced
