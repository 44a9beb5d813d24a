"""What is fetched by the execution role, from MiniStack's services, by a child as the agent runs it."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from ecs_anywhere_agent.aws import Answer, Aws, AwsCall, AwsError
from ecs_anywhere_agent.container_secrets import EcrRegistry, SecretRegistry
from ecs_anywhere_agent.execution_role import CannotFetchError, ExecutionRoles, Fetched, NoEcrTokenError, RegistryLogin
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_protocol.messages import RoleCredentials
from integration.agent.conftest import Broker
from integration.agent.execution import NoNetwork, credentials, held, roles
from integration.agent.runtimes import TASK_ID, spec

PULLED = "unable to pull secrets or registry auth: "
SSM = f"{PULLED}fetching secret data from SSM Parameter Store in us-east-1: "
ASM = f"{PULLED}fetching secret data from AWS Secrets Manager in region us-east-1: "
UNREADABLE = "authorization data: unable to unmarshal secret value, invalid schema"
EMPTY = "AuthorizationData is malformed, empty field"
ABSENT = "arn:aws:secretsmanager:us-east-1:000000000000:secret:absent-AbCdEf"


@pytest.fixture
def parameters(aws: Broker) -> Iterator[list[str]]:
    """The names of twelve."""
    client = aws.client("ssm")
    names = [f"/app/{number}" for number in range(12)]
    for number, name in enumerate(names):
        client.put_parameter(Name=name, Value=f"value {number}", Type="SecureString")
    yield names
    client.delete_parameters(Names=names[:10])
    client.delete_parameters(Names=names[10:])


def fetch(**members: Any) -> Fetched:
    return roles().fetch(TASK_ID, spec("true", **members))


def test_secrets_and_files_become_variables_and_options_of_the_log_driver(
    secret: str, parameters: list[str], bucket: str
) -> None:
    arn = f"arn:aws:ssm:us-east-1:000000000000:parameter{parameters[11]}"
    fetched = fetch(
        secrets=[
            *({"name": f"P{number}", "valueFrom": name} for number, name in enumerate(parameters)),
            {"name": "BY_ARN", "valueFrom": arn},
            {"name": "WHOLE", "valueFrom": secret},
            {"name": "PASSWORD", "valueFrom": f"{secret}:password::"},
            {"name": "BEFORE", "valueFrom": f"{secret}:password:AWSPREVIOUS:"},
            {"name": "PORT", "valueFrom": f"{secret}:port::"},
            {"name": "TLS", "valueFrom": f"{secret}:tls::"},
        ],
        environmentFiles=[{"type": "s3", "value": f"{bucket}/{key}"} for key in ("a/app.env", "more.env")],
        environment=[{"name": "PLAIN", "value": "of the definition"}],
        logConfiguration={
            "logDriver": "splunk",
            "options": {"splunk-url": "https://127.0.0.1"},
            "secretOptions": [{"name": "splunk-token", "valueFrom": f"{secret}:password::"}],
        },
    )
    assert fetched == Fetched(
        environment={
            **{f"P{number}": f"value {number}" for number in range(12)},
            "BY_ARN": "value 11",
            "WHOLE": '{"username": "app", "password": "new", "port": 5432, "tls": {"on": true}}',
            "PASSWORD": "new",
            "BEFORE": "old",
            "PORT": "5432",
            "TLS": '{"on": true}',
            "COLOUR": "blue",
            "SIZE": "1",
            "SHAPE": "round",
        },
        log_options={"splunk-token": "new"},
    )
    assert "value 1" not in repr(fetched)


def test_nothing_is_asked_for_what_needs_nothing() -> None:
    assert ExecutionRoles(HeldCredentials(), NoNetwork()).fetch(TASK_ID, spec("true")) == Fetched()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        pytest.param(
            {"secrets": [{"name": "A", "valueFrom": "/absent"}, {"name": "B", "valueFrom": "/gone"}]},
            f"{SSM}invalid parameters: /absent,/gone",
            id="parameters-that-are-not-there",
        ),
        pytest.param(
            {"secrets": [{"name": "A", "valueFrom": f"{ABSENT}:a"}]},
            f"{PULLED}{ABSENT}:a: an invalid ARN format for the AWS Secrets Manager secret was specified. Specify a "
            "valid ARN and try again.",
            id="an-arn-that-is-none",
        ),
        pytest.param(
            {"secrets": [{"name": "A", "valueFrom": "arn:aws:ssm:no where:1:parameter/a"}]},
            f"{PULLED}fetching secret data from SSM Parameter Store in no where: InvalidRegionError: Provided "
            "region_name 'no where' doesn't match a supported format.",
            id="a-region-that-is-none",
        ),
        pytest.param(
            {"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::nobodys/a.env"}]},
            f"{PULLED}unable to download env file with key a.env from bucket nobodys, error: NoSuchBucket: The "
            "specified bucket does not exist",
            id="a-bucket-that-is-not-there",
        ),
    ],
)
def test_what_cannot_be_had_is_said(aws: Broker, members: dict[str, Any], why: str) -> None:
    del aws
    with pytest.raises(CannotFetchError) as failed:
        fetch(**members)
    assert str(failed.value) == why


def test_a_secret_that_is_not_there_is_said_as_amazons_agent_does(aws: Broker) -> None:
    del aws
    with pytest.raises(CannotFetchError) as failed:
        fetch(secrets=[{"name": "A", "valueFrom": ABSENT}])
    assert str(failed.value).startswith(
        f"{ASM}secret {ABSENT}: The task can't retrieve the secret with ARN '{ABSENT}' from AWS Secrets Manager. Check "
        "that the secret ARN is correct: ResourceNotFoundException: "
    )


def test_all_that_is_wrong_is_said_at_once_and_no_value(aws: Broker, secret: str, bucket: str) -> None:
    client = aws.client("secretsmanager")
    text = client.create_secret(Name="text", SecretString="hunter2")["ARN"]
    binary = client.create_secret(Name="binary", SecretBinary=b"hunter2")["ARN"]
    nul = client.create_secret(Name="nul", SecretString="hunter2\0")["ARN"]
    try:
        with pytest.raises(CannotFetchError) as failed:
            fetch(
                secrets=[
                    {"name": "A", "valueFrom": f"{secret}:absent::"},
                    {"name": "B", "valueFrom": f"{text}:member::"},
                    {"name": "C", "valueFrom": binary},
                    {"name": "D", "valueFrom": nul},
                ],
                environmentFiles=[{"type": "s3", "value": f"{bucket}/large.env"}],
            )
    finally:
        for arn in (text, binary, nul):
            client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    about = "fetching secret data from AWS Secrets Manager in region us-east-1: secret"
    assert str(failed.value) == PULLED + ";".join(
        (
            f"{about} {secret}:absent::: retrieved secret from Secrets Manager did not contain json key absent",
            f"{about} {text}:member::: retrieved secret from Secrets Manager is no JSON object",
            f"{about} {binary}: it holds binary data, which no environment variable can hold",
            f"{about} {nul}: it has a NUL character, which no environment variable can have",
            "unable to download env file with key large.env from bucket variables, error: it is larger than 1048576 "
            "bytes",
        )
    )
    assert failed.value.__cause__ is None


def test_without_credentials_nobody_is_asked() -> None:
    asking = ExecutionRoles(HeldCredentials(), NoNetwork())
    with pytest.raises(CannotFetchError) as failed:
        asking.fetch(TASK_ID, spec("true", secrets=[{"name": "A", "valueFrom": "/a"}]))
    assert str(failed.value) == f"{PULLED}unable to find execution role credentials"


class Counting:
    """How often a real child was asked."""

    def __init__(self) -> None:
        self.aws = Aws()
        self.calls: list[AwsCall] = []

    def __call__(self, credentials: RoleCredentials, calls: Sequence[AwsCall]) -> list[Answer]:
        self.calls.extend(calls)
        return self.aws(credentials, calls)

    def close(self) -> None:
        self.aws.close()


def test_ecr_gives_a_token_which_is_used_till_near_its_end(aws: Broker) -> None:
    del aws
    counting = Counting()
    now = credentials().expiration - timedelta(hours=1)
    asking = ExecutionRoles(held(credentials(ends_in=timedelta(hours=24))), counting, lambda: now)
    registry = EcrRegistry("us-east-1")
    first = asking.login(TASK_ID, registry)
    assert (first.username, len(first.password) > 0, repr(first)) == ("AWS", True, "RegistryLogin(...)")
    assert asking.login(TASK_ID, registry) == first
    assert [call.operation for call in counting.calls] == ["get_authorization_token"]
    now += timedelta(hours=11, minutes=45)
    asking.login(TASK_ID, registry)
    assert [call.operation for call in counting.calls] == ["get_authorization_token"] * 2


def test_a_private_registrys_login_is_a_secret(aws: Broker, secret: str) -> None:
    del aws
    assert roles().login(TASK_ID, SecretRegistry(secret, "us-east-1")) == RegistryLogin("app", "new")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("hunter2", "authorization data: unable to unmarshal secret value, invalid schema", id="no-json"),
        pytest.param(
            '["hunter2"]', "authorization data: unable to unmarshal secret value, invalid schema", id="a-list"
        ),
        pytest.param('{"password": "hunter2"}', "username: AuthorizationData is malformed, empty field", id="half"),
        pytest.param(
            '{"username": "a", "password": 2}', "password: AuthorizationData is malformed, empty field", id="2"
        ),
    ],
)
def test_a_login_that_is_none_is_said_and_not_shown(aws: Broker, text: str, why: str) -> None:
    client = aws.client("secretsmanager")
    arn = client.create_secret(Name="login", SecretString=text)["ARN"]
    try:
        with pytest.raises(CannotFetchError) as failed:
            roles().login(TASK_ID, SecretRegistry(arn, "us-east-1"))
    finally:
        client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    assert str(failed.value) == f"{PULLED}asm fetching {why}"


class Throttling(BaseHTTPRequestHandler):
    """Of what no emulator does: the first requests are too many."""

    refusals = 2
    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.seen.append(dict(self.headers))
        self.rfile.read(int(self.headers["Content-Length"]))
        throttled = len(self.seen) <= self.refusals
        body = {"__type": "ThrottlingException", "message": "Rate exceeded"}
        answer = body if throttled else {"Parameters": [{"Name": "/a", "Value": "1"}], "InvalidParameters": []}
        content = json.dumps(answer).encode()
        self.send_response(400 if throttled else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that the base gives it
        pass


def test_what_is_throttled_is_asked_for_again_with_the_roles_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Throttling,), {"seen": seen}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-elses")
    try:
        assert fetch(secrets=[{"name": "A", "valueFrom": "/a"}]) == Fetched({"A": "1"})
    finally:
        server.shutdown()
        server.server_close()
    assert [each["X-Amz-Security-Token"] for each in seen] == ["the-session-token"] * 3
    assert all("Credential=test/" in each["Authorization"] for each in seen)


def test_an_agent_that_ends_does_not_wait_for_a_network_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        aws = Aws()
        answers: list[Answer] = []
        call = AwsCall("ssm", "get_parameters", "us-east-1", {"Names": ["/a"]})
        asking = threading.Thread(target=lambda: answers.extend(aws(credentials(), [call])))
        asking.start()
        silent.settimeout(30)
        connection, _ = silent.accept()
        began = time.monotonic()
        aws.close()
        asking.join(10)
        connection.close()
    assert answers == [AwsError("ChildProcessError", "it ended with -9")]
    assert time.monotonic() - began < 10
    assert aws(credentials(), [call]) == [AwsError("Closed", "the agent ends")]


def test_ecrs_refusal_is_an_error_of_its_own() -> None:
    class Refusing(NoNetwork):
        def __call__(self, credentials: RoleCredentials, calls: Sequence[AwsCall]) -> list[Answer]:
            return [AwsError("AccessDeniedException", "not authorized to perform: ecr:GetAuthorizationToken")]

    with pytest.raises(NoEcrTokenError) as failed:
        ExecutionRoles(held(), Refusing()).login(TASK_ID, EcrRegistry("us-east-1"))
    assert str(failed.value) == "ecr auth: AccessDeniedException: not authorized to perform: ecr:GetAuthorizationToken"
