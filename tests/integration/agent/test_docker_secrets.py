"""What a container on the real Engine gets by its task's execution role."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from ecs_anywhere_agent.core.actions import CreateContainer, PullImage, StartContainer
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, ImagePulled
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_images import PullBehavior
from integration.agent import registry
from integration.agent.conftest import Broker
from integration.agent.docker_containers import Containers, closing
from integration.agent.execution import roles
from integration.agent.runtimes import REF
from shows import shows

pytestmark = pytest.mark.docker


@pytest.fixture
def containers(engine: Engine, aws: Broker, tmp_path: Path) -> Iterator[Containers]:
    del aws
    with closing(Containers(engine, tmp_path, roles=roles(), family="secrets")) as made:
        yield made


@shows("secrets.name", "secrets.valueFrom", "environmentFiles.value", "environmentFiles.type")
def test_a_process_sees_its_secrets_and_the_variables_of_its_files(
    containers: Containers, secret: str, bucket: str
) -> None:
    started = containers.start(
        {
            "command": ["sh", "-c", "env"],
            "secrets": [{"name": "PASSWORD", "valueFrom": f"{secret}:password::"}],
            "environmentFiles": [{"type": "s3", "value": f"{bucket}/{key}"} for key in ("a/app.env", "more.env")],
            "environment": [{"name": "PLAIN", "value": "of the definition"}],
        }
    )["main"]
    seen = dict(line.split("=", 1) for line in containers.output(started).splitlines())
    expected = {"PASSWORD": "new", "COLOUR": "blue", "SIZE": "1", "SHAPE": "round", "PLAIN": "of the definition"}
    assert {name: seen.get(name) for name in expected} == expected
    env = containers.inspect(started)["Config"]["Env"]
    assert {f"{name}={value}" for name, value in expected.items()} <= set(env)
    written = b"".join(path.read_bytes() for path in containers.data_dir.rglob("*") if path.is_file())
    assert b"new" not in written


@shows("logConfiguration.secretOptions.name", "logConfiguration.secretOptions.valueFrom")
def test_a_log_driver_gets_its_secret_options(containers: Containers, secret: str) -> None:
    """Made, not started: there is no Splunk here."""
    (spec,) = containers.specs(
        {
            "command": ["true"],
            "logConfiguration": {
                "logDriver": "splunk",
                "options": {"splunk-url": "https://127.0.0.1:1"},
                "secretOptions": [{"name": "splunk-token", "valueFrom": f"{secret}:password::"}],
            },
        }
    ).values()
    made = containers.inspect(containers.driver.create(spec))
    assert made["HostConfig"]["LogConfig"] == {
        "Type": "splunk",
        "Config": {
            "mode": "non-blocking",
            "max-buffer-size": "10m",
            "splunk-url": "https://127.0.0.1:1",
            "splunk-token": "new",
        },
    }
    assert made["Config"]["Labels"]["ecs-anywhere.secret-log-options"] == "splunk-token"


def test_a_secret_that_is_not_there_keeps_the_container_from_being_made(containers: Containers, engine: Engine) -> None:
    (spec,) = containers.specs({"secrets": [{"name": "A", "valueFrom": "/absent"}]}).values()
    assert containers.driver.do(CreateContainer(REF, spec)) == ActionFailed(
        REF,
        Attempt.RESOURCES,
        "unable to pull secrets or registry auth: fetching secret data from SSM Parameter Store in us-east-1: invalid "
        "parameters: /absent",
    )
    assert engine.containers(f"ecs-anywhere.data-dir={containers.data_dir.resolve()}") == []


@pytest.mark.parametrize(
    ("option", "attempt", "says"),
    [
        pytest.param("no-such-option", Attempt.CREATE, "no-such-option", id="that-docker-does-not-know"),
        pytest.param("gelf-compression-level", Attempt.CREATE, '"***"', id="that-is-checked-when-it-is-made"),
        pytest.param("splunk-url", Attempt.START, "splunk-url", id="that-is-used-when-it-starts"),
    ],
)
def test_dockers_words_about_an_option_do_not_show_its_secret(
    containers: Containers, aws: Broker, option: str, attempt: Attempt, says: str
) -> None:
    aws.client("ssm").put_parameter(Name="/option", Value="hunter2", Type="SecureString", Overwrite=True)
    driver, plain = (
        ("splunk", {"splunk-token": "t"}) if option == "splunk-url" else ("gelf", {"gelf-address": "udp://127.0.0.1:9"})
    )
    (spec,) = containers.specs(
        {
            "command": ["true"],
            "logConfiguration": {
                "logDriver": driver,
                "options": plain,
                "secretOptions": [{"name": option, "valueFrom": "/option"}],
            },
        }
    ).values()
    failed = containers.driver.do(CreateContainer(REF, spec))
    if attempt is Attempt.START:
        failed = containers.driver.do(StartContainer(REF))
    assert isinstance(failed, ActionFailed), failed
    assert failed.attempt is attempt, failed
    assert says in failed.reason
    assert "hunter2" not in failed.reason
    aws.client("ssm").delete_parameter(Name="/option")


@pytest.fixture
def login(aws: Broker) -> Iterator[str]:
    """The ARN of the secret with which the registry lets one in."""
    client = aws.client("secretsmanager")
    given = json.dumps({"username": registry.USERNAME, "password": registry.PASSWORD})
    arn = client.create_secret(Name="registry", SecretString=given)["ARN"]
    yield arn
    client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def private_image(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """An image that is in a registry with a password, and not on the machine."""
    del engine
    with registry.private(tmp_path / "registry") as address:
        name = f"{address}/private"
        client = docker.from_env()
        client.images.get("busybox:test").tag(name, "1")
        client.login(registry.USERNAME, registry.PASSWORD, registry=address)
        client.images.push(name, "1")
        client.images.remove(f"{name}:1")
        yield f"{name}:1"
        if client.images.list(name):
            client.images.remove(f"{name}:1")
        client.close()


def pull(containers: Containers, image: str, **members: Any) -> object:
    (spec,) = containers.specs({"image": image, **members}).values()
    return containers.driver.do(PullImage(REF, spec.image, spec.registry))


@shows("repositoryCredentials.credentialsParameter")
def test_an_image_of_a_private_registry_is_pulled_with_the_secret_and_by_nobody_else(
    containers: Containers, private_image: str, login: str
) -> None:
    refused = pull(containers, private_image)
    assert isinstance(refused, ActionFailed)
    assert (refused.attempt, "no basic auth credentials" in refused.reason) == (Attempt.PULL, True)
    pulled = pull(containers, private_image, repositoryCredentials={"credentialsParameter": login})
    assert isinstance(pulled, ImagePulled)
    assert pulled.image_digest is not None
    started = containers.start(
        {
            "image": private_image,
            "command": ["sh", "-c", "echo runs"],
            "repositoryCredentials": {"credentialsParameter": login},
        }
    )["main"]
    assert containers.output(started) == "runs\n"


def test_who_always_pulls_lets_nobody_have_what_another_has_pulled(
    engine: Engine, aws: Broker, private_image: str, login: str, tmp_path: Path
) -> None:
    del aws
    with closing(Containers(engine, tmp_path, PullBehavior.ALWAYS, roles=roles(), family="secrets")) as containers:
        assert isinstance(
            pull(containers, private_image, repositoryCredentials={"credentialsParameter": login}), ImagePulled
        )
        refused = pull(containers, private_image)
        assert isinstance(refused, ActionFailed)
        assert refused.attempt is Attempt.PULL


def test_a_wrong_password_is_the_registrys_no(containers: Containers, private_image: str, secret: str) -> None:
    refused = pull(containers, private_image, repositoryCredentials={"credentialsParameter": secret})
    assert isinstance(refused, ActionFailed)
    assert (refused.attempt, "unauthorized" in refused.reason) == (Attempt.PULL, True)
