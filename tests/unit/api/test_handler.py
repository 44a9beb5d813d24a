"""The function behind `POST /`, through unmodified boto3 clients, over the real flows on moto."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from functions.api_ecs import app

from control_plane import runtime
from control_plane.domain.races import TaskChangedError
from unit.api.clients import ENDPOINT, KEY_ID, REGION, SECRET, captured, ecs_client
from world import World

LOCAL = "/_aws/execute-api/ec5a0001/$default"


class Context:
    function_name = "api_ecs"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:api_ecs"
    aws_request_id = "invocation-1"


def answer(event: dict[str, Any]) -> dict[str, Any]:
    answered: dict[str, Any] = app.handler(event, Context())
    return answered


@pytest.fixture(autouse=True)
def function(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The function's environment on moto: a table, and the key in Secrets Manager."""
    secret = boto3.client("secretsmanager", region_name=REGION).create_secret(
        Name="administrator", SecretString=json.dumps({"accessKeyId": KEY_ID, "secretAccessKey": SECRET})
    )
    variables = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "ACCOUNT_ID": "123456789012",
        "TABLE_NAME": "world",
    }
    for name, value in {**variables, "ADMINISTRATOR_KEY_SECRET_ARN": secret["ARN"]}.items():
        monkeypatch.setenv(name, value)
    _forget()
    yield world
    _forget()


def _forget() -> None:
    runtime.control_plane.cache_clear()


@pytest.fixture
def ecs() -> Any:
    return ecs_client(answer)


def refused(call: Any, **request: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as raised:
        call(**request)
    response = raised.value.response
    return (
        response["Error"]["Code"],
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Message"],
    )


def test_a_task_from_its_definition_to_its_stop(ecs: Any, function: World) -> None:
    ecs.create_cluster(clusterName="default")
    function.machine()
    container = {"name": "main", "image": "busybox", "memory": 64}
    ecs.register_task_definition(family="web", networkMode="host", containerDefinitions=[container])
    task = ecs.run_task(taskDefinition="web", launchType="EXTERNAL", count=1)["tasks"][0]
    assert task["lastStatus"] == "PENDING"
    assert task["createdAt"].tzinfo is not None
    assert ecs.list_tasks()["taskArns"] == [task["taskArn"]]
    stopped = ecs.stop_task(task=task["taskArn"], reason="enough")["task"]
    assert (stopped["desiredStatus"], stopped["stoppedReason"]) == ("STOPPED", "enough")
    assert ecs.describe_tasks(tasks=[task["taskArn"]], include=["TAGS"])["tasks"][0]["tags"] == []


def test_an_answer_is_one_of_amazons_protocol() -> None:
    answered = answer(captured())
    assert answered["statusCode"] == 200
    assert answered["headers"] == {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": "request-1"}
    assert json.loads(answered["body"]) == {"clusterArns": []}


def test_a_refusal_is_one_of_amazons_protocol() -> None:
    answered = answer(captured(secret="another"))
    assert answered["statusCode"] == 400
    assert answered["headers"]["x-amzn-errortype"] == "InvalidSignatureException"
    assert json.loads(answered["body"])["__type"] == "InvalidSignatureException"


def test_no_request_is_longer_than_a_mebibyte(ecs: Any) -> None:
    cluster = "x" * (2**20 - len('{"cluster": ""}'))
    assert refused(ecs.list_tasks, cluster=cluster)[:2] == ("InvalidParameterException", 400)
    assert refused(ecs.list_tasks, cluster=f"{cluster}x")[:2] == ("RequestEntityTooLargeException", 413)


@pytest.mark.parametrize("slash", ["", "/"])
def test_behind_a_path_that_the_gateway_cuts_off(monkeypatch: pytest.MonkeyPatch, slash: str) -> None:
    monkeypatch.setenv("ECS_ENDPOINT_PATH", LOCAL)
    local = ecs_client(answer, endpoint=f"http://127.0.0.1:4566{LOCAL}{slash}")
    assert local.list_clusters()["clusterArns"] == []
    assert refused(ecs_client(answer, endpoint=ENDPOINT).list_clusters)[0] == "InvalidSignatureException"


def test_behind_something_that_tells_the_api_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFront calls its origin by the origin's own name; clients have signed CloudFront's."""

    def as_cloudfront_forwards(event: dict[str, Any]) -> dict[str, Any]:
        origin = ENDPOINT.removeprefix("https://")
        return answer({**event, "headers": {**event["headers"], "host": origin}})

    def through_it(signed_for: str) -> Any:
        return ecs_client(as_cloudfront_forwards, endpoint=f"https://{signed_for}")

    assert refused(through_it("ecs.example.com").list_clusters)[0] == "InvalidSignatureException"
    monkeypatch.setenv("ECS_ENDPOINT_HOST", "ecs.example.com")
    _forget()
    assert through_it("ecs.example.com").list_clusters()["clusterArns"] == []
    assert refused(through_it("another.example.com").list_clusters)[0] == "InvalidSignatureException"


SIGNED = Path(__file__).parents[3] / "events" / "api_ecs" / "signed"


def recorded(case: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recorded request, at the time at which it was signed."""
    event: dict[str, Any] = json.loads((SIGNED / f"{case}.json").read_text(encoding="utf-8"))
    signed_at = datetime.strptime(event["headers"]["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr(runtime.control_plane(), "clock", lambda: signed_at)
    return event


def test_recorded_requests(monkeypatch: pytest.MonkeyPatch, ecs: Any, function: World) -> None:
    ecs.create_cluster()
    function.machine()
    answers = {}
    for case in ("list_clusters", "register_task_definition", "run_task"):
        answered = answer(recorded(case, monkeypatch))
        assert answered["statusCode"] == 200, answered["body"]
        answers[case] = json.loads(answered["body"])
    assert answers["list_clusters"]["clusterArns"] == ["arn:aws:ecs:eu-west-1:123456789012:cluster/default"]
    assert answers["register_task_definition"]["taskDefinition"]["revision"] == 1
    [override] = answers["run_task"]["tasks"][0]["overrides"]["containerOverrides"]
    assert override["environment"] == [{"name": "GREETING", "value": "grüß dich"}]


def test_a_recorded_request_of_ministack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_ENDPOINT_PATH", LOCAL)
    assert answer(recorded("list_clusters_on_ministack", monkeypatch))["statusCode"] == 200


@pytest.mark.parametrize("case", sorted(path.stem for path in SIGNED.glob("*.json")))
def test_a_recorded_request_is_of_no_use_to_who_has_changed_it_or_keeps_it(
    monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    event = recorded(case, monkeypatch)
    changed = {**event, "body": base64.b64encode(b'{"cluster": "other"}').decode()}
    assert json.loads(answer(changed)["body"])["__type"] == "InvalidSignatureException"
    later = runtime.control_plane().clock() + timedelta(minutes=16)
    monkeypatch.setattr(runtime.control_plane(), "clock", lambda: later)
    assert "Signature expired" in json.loads(answer(event)["body"])["message"]


def test_nobody_without_the_key() -> None:
    assert refused(ecs_client(answer, key_id="AKIAOTHER").list_clusters)[:2] == ("UnrecognizedClientException", 400)
    event = captured()
    del event["headers"]["authorization"]
    assert json.loads(answer(event)["body"])["__type"] == "MissingAuthenticationTokenException"


def test_the_refusal_of_a_flow_is_amazons(ecs: Any) -> None:
    assert refused(ecs.list_tasks) == ("ClusterNotFoundException", 400, "Cluster not found.")


@pytest.mark.parametrize(
    ("method", "request_", "code", "words"),
    [
        pytest.param("list_daemons", {}, "UnsupportedFeatureException", "ListDaemons", id="operation"),
        pytest.param(
            "run_task",
            {"taskDefinition": "web", "capacityProviderStrategy": [{"capacityProvider": "x"}], "launchType": "EC2"},
            "UnsupportedFeatureException",
            "launchType EC2",
            id="member",
        ),
        pytest.param(
            "run_task",
            {"taskDefinition": "web", "launchType": "FARGATE"},
            "UnsupportedFeatureException",
            "EXTERNAL",
            id="value",
        ),
        pytest.param(
            "list_services",
            {"resourceManagementType": "ECS"},
            "InvalidParameterException",
            "resourceManagementType",
            id="member-of-an-operation-without-such-an-error",
        ),
        pytest.param(
            "list_tasks", {"desiredStatus": "GONE"}, "InvalidParameterException", "enum value set", id="enumeration"
        ),
        pytest.param("list_clusters", {"maxResults": 0}, "InvalidParameterException", "between 1 and 100", id="limit"),
        pytest.param("describe_tasks", {"tasks": []}, "InvalidParameterException", "tasks", id="empty"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    ecs: Any, method: str, request_: dict[str, Any], code: str, words: str
) -> None:
    answered = refused(getattr(ecs, method), **request_)
    assert answered[:2] == (code, 400)
    assert words in answered[2]


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        pytest.param(TaskChangedError("x"), "ServerException", 500, id="a-lost-race"),
        pytest.param(
            ClientError({"Error": {"Code": "ThrottlingException", "Message": "secret table"}}, "GetItem"),
            "ThrottlingException",
            400,
            id="dynamodb-throttles",
        ),
        pytest.param(RuntimeError("secret table"), "ServerException", 500, id="a-fault-of-ours"),
    ],
)
def test_our_own_faults_are_told_without_their_details(
    ecs: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception, code: str, status: int
) -> None:
    def fail(*_arguments: Any) -> dict[str, Any]:
        raise fault

    monkeypatch.setattr(app, "OPERATIONS", {"ListClusters": fail})
    answered = refused(ecs.list_clusters)
    assert answered[:2] == (code, status)
    assert "secret" not in answered[2]


def test_each_request_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture, ecs: Any) -> None:
    ecs.list_clusters()
    refused(ecs.list_tasks)
    lines = [vars(record) for record in caplog.records if record.message == "Request"]
    members = ("operation", "principal", "accessKeyId", "status", "error")
    assert [tuple(line[member] for member in members) for line in lines] == [
        ("ListClusters", "administrator", KEY_ID, 200, None),
        ("ListTasks", "administrator", KEY_ID, 400, "ClusterNotFoundException"),
    ]
    assert all(line["ms"] >= 0 for line in lines)
