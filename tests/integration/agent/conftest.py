"""MiniStack's IoT Core with MQTT over mutual TLS, a machine that is registered with it, and the process runtime."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import docker
import pytest

from ecs_anywhere_agent.identity import IdentityFiles, identity_files
from ecs_anywhere_agent.registering import signing_request
from ecs_anywhere_agent.runtime.cgroups import find_cgroups
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineUnreachableError, find_engine
from ecs_anywhere_agent.runtime.process import ProcessRuntime
from ecs_protocol.messages import Identity
from ecs_protocol.names import rule_name, topics
from integration.agent.own_docker import OwnDocker
from integration.agent.processes import Make
from integration.agent.runtimes import ARN, Driver

PREFIX = "test"
APPLETS = (
    "sh",
    "sleep",
    "env",
    "id",
    "httpd",
    "dd",
    "cat",
    "echo",
    "grep",
    "hostname",
    "ls",
    "mount",
    "nc",
    "stat",
    "tr",
    "wc",
)
THING = f"{PREFIX}-{'1' * 32}"


class Broker(NamedTuple):
    """MiniStack, as far as the agent's tests need it."""

    url: str
    mqtt_port: int
    ca_pem: str

    def client(self, service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Each call is a new agent with processes on the same data directory; what still runs at the end is removed."""
    drivers = []

    def make_driver() -> Driver:
        drivers.append(Driver(ProcessRuntime(tmp_path, find_cgroups())))
        return drivers[-1]

    yield make_driver
    for driver in drivers:
        driver.close()
    last = Driver(ProcessRuntime(tmp_path, find_cgroups()))
    for snapshot in last.inventory:
        last.remove(snapshot.ref)
    last.close()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    directory = tmp_path_factory.mktemp("ministack")
    port, mqtt_port = _free_port(), _free_port()
    environment = {
        **os.environ,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_PORT": str(mqtt_port),
        "AUTH": "true",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(directory),
    }
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ministack")], env=environment, stdout=log, stderr=log, cwd=directory
        )
    url = f"http://127.0.0.1:{port}"
    try:
        yield Broker(url, mqtt_port, _ca_pem(url, process))
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ca_pem(url: str, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_ministack/iot/ca.pem", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.2)
    raise AssertionError("MiniStack did not start")


def identify(broker: Broker, csr: str) -> Identity:
    """What the control plane does at registration."""
    iot = broker.client("iot")
    certificate = iot.create_certificate_from_csr(certificateSigningRequest=csr, setAsActive=True)
    iot.create_thing(thingName=THING)
    if not iot.list_policies()["policies"]:
        may = {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}
        iot.create_policy(policyName="agent", policyDocument=_policy(may))
    iot.attach_policy(policyName="agent", target=certificate["certificateArn"])
    iot.attach_thing_principal(thingName=THING, principal=certificate["certificateArn"])
    return Identity(
        container_instance_id="1" * 32,
        container_instance_arn=ARN,
        cluster="default",
        client_id=THING,
        certificate_pem=certificate["certificatePem"],
        mqtt_endpoint=f"localhost:{broker.mqtt_port}",
        mqtt_ca_pem=broker.ca_pem,
        topics=topics(PREFIX, THING),
    )


@pytest.fixture
def files(tmp_path: Path, broker: Broker) -> IdentityFiles:
    """A data directory with an identity in it."""
    files = identity_files(tmp_path)
    files.prepare()
    files.save(identify(broker, signing_request(files, "activation")))
    return files


def _role_for_rules(broker: Broker) -> str:
    iam = broker.client("iam")
    for role in iam.list_roles()["Roles"]:
        if role["RoleName"] == "rules":
            return str(role["Arn"])
    trust = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    made = iam.create_role(RoleName="rules", AssumeRolePolicyDocument=_policy(trust))
    iam.put_role_policy(RoleName="rules", PolicyName="send", PolicyDocument=_policy(may))
    return str(made["Role"]["Arn"])


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def inbox(broker: Broker) -> Iterator[Any]:
    """What agents publish, as rules with the design's SELECT put it into a queue."""
    sqs, iot = broker.client("sqs"), broker.client("iot")
    queue = sqs.create_queue(QueueName="agents")["QueueUrl"]
    select = "SELECT topic() AS topic, clientid() AS clientId, encode(*, 'base64') AS payload FROM"
    for what, topic in (("agent_request", "request"), ("task_state_change", "task-state-change")):
        iot.create_topic_rule(
            ruleName=rule_name(PREFIX, what),
            topicRulePayload={
                "sql": f"{select} '{PREFIX}/+/{topic}'",
                "awsIotSqlVersion": "2016-03-23",
                "actions": [{"sqs": {"roleArn": _role_for_rules(broker), "queueUrl": queue}}],
            },
        )
    yield lambda wait: sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait).get(
        "Messages", []
    )
    for what in ("agent_request", "task_state_change"):
        iot.delete_topic_rule(ruleName=rule_name(PREFIX, what))
    sqs.delete_queue(QueueUrl=queue)


def give_image(client: docker.DockerClient) -> None:
    """`busybox:test`, of one static busybox. Skips where there is none."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox to make an image of")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("bin", "tmp"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(directory)
        tar.add(busybox, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    client.api.import_image_from_data(archive.getvalue(), repository="busybox", tag="test")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """This machine's own Docker Engine."""
    try:
        found = find_engine()
        found.info()
    except EngineUnreachableError as error:
        pytest.skip(f"no Docker Engine: {error}")
    client = docker.from_env()
    give_image(client)
    client.close()
    yield found
    found.close()


@pytest.fixture
def own_docker(engine: Engine) -> Iterator[OwnDocker]:
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a second dockerd needs root")
    with tempfile.TemporaryDirectory() as directory:  # a socket's path has 107 characters, more than pytest leaves
        own = OwnDocker(Path(directory))
        own.start()
        client = own.client()
        give_image(client)
        client.close()
        yield own
        own.remove()


@pytest.fixture
def aws(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """What the agent takes for AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", broker.url)
    return broker


@pytest.fixture
def secret(aws: Broker) -> Iterator[str]:
    """Its ARN. What it was before is AWSPREVIOUS."""
    client = aws.client("secretsmanager")
    arn = client.create_secret(Name="app/database", SecretString='{"password": "old"}')["ARN"]
    now = {"username": "app", "password": "new", "port": 5432, "tls": {"on": True}}
    client.put_secret_value(SecretId=arn, SecretString=json.dumps(now))
    yield arn
    client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def bucket(aws: Broker) -> Iterator[str]:
    client = aws.client("s3")
    client.create_bucket(Bucket="variables")
    client.put_object(
        Bucket="variables", Key="a/app.env", Body=b"# of the app\nCOLOUR=blue\nSIZE=1\nPLAIN=of the file\n"
    )
    client.put_object(Bucket="variables", Key="more.env", Body=b"SIZE=2\nSHAPE=round\n")
    client.put_object(Bucket="variables", Key="large.env", Body=b"A=1\n" * 300_000)
    yield "arn:aws:s3:::variables"
    for key in ("a/app.env", "more.env", "large.env"):
        client.delete_object(Bucket="variables", Key=key)
    client.delete_bucket(Bucket="variables")
