"""Whatever our functions refuse is a line of the audit log, in one shape, whoever asked and by which way."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from functions.api_credentials import app as api_credentials
from functions.api_ecs import app as api_ecs
from functions.api_registration import app as api_registration

from contract.the_template import of_type
from control_plane.domain.errors import EcsError
from control_plane.domain.inbox import Envelope, Presence
from control_plane.flows import audit
from control_plane.flows.answer_agent_request import answer_agent_request
from control_plane.flows.authenticate import authenticate
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.note_presence import note_presence
from control_plane.flows.run_task_event import run_task_for_event
from control_plane.flows.submit_task_state_change import submit_task_state_changes
from control_plane.gateways.sigv4_forms import SignedRequest
from ecs_protocol.messages import Reconcile, RotateCertificate, TaskReport, TaskStateChanges
from ecs_protocol.names import thing_name, topics
from ecs_protocol.statuses import TaskStatus
from world import PREFIX, World


class Context:
    """Of a Lambda invocation."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "invocation-1"


A = "e3e70682c2094cac629f6fbed82c07cd"
"""The first machine of any world."""
THING = thing_name(PREFIX, A)


@pytest.fixture
def inhabited(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world.cluster()
    assert world.machine() == A
    for app in (api_ecs, api_registration, api_credentials):
        monkeypatch.setattr(app, "control_plane", lambda: world.cp)
    return world


def envelope(world: World, payload: str, **other: Any) -> Envelope:
    known = {"client_id": THING, "principal": f"cert-{A}", "topic": topics(PREFIX, THING).requests.split("/", 3)[3]}
    return Envelope(**{**known, "payload": payload.encode(), "received_at": world.now, **other})


def http(world: World, body: str, **event: Any) -> dict[str, Any]:
    context = {"requestId": "r", "http": {"method": "POST", "path": "/", "sourceIp": "192.0.2.1"}}
    return {"headers": {}, "rawPath": "/", "requestContext": context, "body": body, **event}


def unsigned(world: World) -> None:
    headers = {"x-amz-target": "AmazonEC2ContainerServiceV20141113.RunTask", "authorization": "AWS4-HMAC-SHA256 x"}
    api_ecs.handler(http(world, "{}", headers=headers), Context())


def forged(world: World) -> None:
    """Names somebody's key."""
    request = SignedRequest(
        "POST", ("/",), "", {"authorization": "AWS4-HMAC-SHA256 Credential=AKIASTOLEN/20260101/x"}, b""
    )
    with pytest.raises(EcsError):
        authenticate(world.cp, request, source="192.0.2.1")


def wrong_code(world: World) -> None:
    body = {"activationId": "activation-1", "activationCode": "a secret that is wrong", "csr": "x"}
    api_registration.handler(http(world, json.dumps(body)), Context())


def no_registration(world: World) -> None:
    body = json.dumps({"activationCode": "a secret that is wrong"})
    api_registration.handler(http(world, base64.b64encode(body.encode()).decode(), isBase64Encoded=True), Context())


def registration_that_is_too_long(world: World) -> None:
    answered = api_registration.handler(http(world, "[" * 20_000), Context())
    assert answered["statusCode"] == 413


def no_identity(world: World) -> None:
    api_credentials.handler(http(world, "", routeKey="POST /credentials"), Context())


def event_of_a_source_without_a_policy(world: World) -> None:
    detail = {"taskDefinition": "web"}
    run_task_for_event(world.cp, {"id": "1", "source": "my.app", "detail-type": "Run Task", "detail": detail})


def message_of_a_stranger(world: World) -> None:
    answer_agent_request(world.cp, envelope(world, "{}", client_id=thing_name("other", A)))


def message_with_another_certificate(world: World) -> None:
    answer_agent_request(world.cp, envelope(world, "{}", principal="stolen"))


def garbage(world: World) -> None:
    answer_agent_request(world.cp, envelope(world, '{"type": "Reconcile", "digest": 1}'))


def garbage_as_reports(world: World) -> None:
    submit_task_state_changes(world.cp, [envelope(world, "[")])


def report_of_no_task_of_its(world: World) -> None:
    report = TaskReport(task_id="f" * 32, epoch=1, number=1, last_status=TaskStatus.RUNNING)
    submit_task_state_changes(world.cp, [envelope(world, TaskStateChanges(reports=(report,)).to_json())])


def weak_key(world: World) -> None:
    answer_agent_request(world.cp, envelope(world, RotateCertificate(request_id="r", csr="no CSR").to_json()))


def message_after_deregistration(world: World) -> None:
    deregister_container_instance(world.cp, {"containerInstance": A, "force": True})
    answer_agent_request(world.cp, envelope(world, Reconcile(request_id="r", digest="d").to_json()))


def presence_of_another_certificate(world: World) -> None:
    note_presence(world.cp, Presence(THING, "disconnected", "s", 9, world.now, principal="stolen"))


ARN = f"arn:aws:ecs:eu-west-1:123456789012:container-instance/default/{A}"
TASK = f"arn:aws:ecs:eu-west-1:123456789012:task/default/{'f' * 32}"
REQUESTS = f"{PREFIX}/{THING}/request"
NO_POLICY = "because no identity-based policy allows the ecs:RunTask action"

REFUSALS: dict[Callable[[World], None], tuple[str | None, str, str, str, str]] = {
    unsigned: (None, "ecs:RunTask", "*", "192.0.2.1", "IncompleteSignatureException: "),
    forged: (None, "ecs:", "*", "192.0.2.1", "IncompleteSignatureException: "),
    wrong_code: (None, "ecs-anywhere:Activate", "activation-1", "192.0.2.1", "InvalidActivation: "),
    no_registration: (None, "ecs-anywhere:Activate", "*", "192.0.2.1", "no activation request of this protocol: "),
    registration_that_is_too_long: (
        None,
        "ecs-anywhere:Activate",
        "*",
        "192.0.2.1",
        "no activation request of this protocol: too long",
    ),
    no_identity: (None, "ecs-anywhere:LogIn", "POST /credentials", "192.0.2.1", "no IAM identity that API Gateway"),
    event_of_a_source_without_a_policy: (
        "events/my.app",
        "ecs:RunTask",
        "arn:aws:ecs:eu-west-1:123456789012:cluster/default",
        "events",
        NO_POLICY,
    ),
    message_of_a_stranger: (
        f"other-{A}",
        "ecs-anywhere:Publish",
        REQUESTS,
        f"mqtt cert-{A}",
        "not from a thing of ours, on a topic of its own",
    ),
    message_with_another_certificate: (THING, "ecs-anywhere:Publish", REQUESTS, "mqtt stolen", "not its certificate"),
    garbage: (THING, "ecs-anywhere:Publish", REQUESTS, f"mqtt cert-{A}", "no request of this protocol: "),
    garbage_as_reports: (THING, "ecs-anywhere:Publish", REQUESTS, f"mqtt cert-{A}", "no report of this protocol: "),
    report_of_no_task_of_its: (
        THING,
        "ecs-anywhere:SubmitTaskStateChange",
        TASK,
        "mqtt",
        "no task of this container instance",
    ),
    weak_key: (THING, "ecs-anywhere:RotateCertificate", A, "mqtt", "InvalidCertificateSigningRequest: "),
    message_after_deregistration: (
        THING,
        "ecs-anywhere:Publish",
        REQUESTS,
        f"mqtt cert-{A}",
        "its instance is deregistered",
    ),
    presence_of_another_certificate: (THING, "ecs-anywhere:Connect", ARN, "mqtt stolen", "not its certificate"),
}


@pytest.mark.parametrize("attempt", REFUSALS, ids=lambda attempt: attempt.__name__.replace("_", " "))
def test_a_refusal_is_one_line(
    inhabited: World, caplog: pytest.LogCaptureFixture, attempt: Callable[[World], None]
) -> None:
    attempt(inhabited)
    [line] = [vars(record) for record in caplog.records if record.message == "Audit"]
    *told, reason = (line[name] for name in ("principal", "action", "resource", "source", "reason"))
    *expected, begins = REFUSALS[attempt]
    assert (told, line["outcome"]) == (expected, "refused")
    assert reason.startswith(begins)
    assert "secret" not in caplog.text


def test_a_key_that_is_only_claimed_is_named_beside_nobody(inhabited: World, caplog: pytest.LogCaptureFixture) -> None:
    forged(inhabited)
    [line] = [vars(record) for record in caplog.records if record.message == "Audit"]
    assert (line["principal"], line["accessKeyId"]) == (None, "AKIASTOLEN")


def test_what_a_caller_chooses_fills_no_log(inhabited: World, caplog: pytest.LogCaptureFixture) -> None:
    answer_agent_request(inhabited.cp, envelope(inhabited, "{}", client_id="x" * 100_000))
    [line] = [vars(record) for record in caplog.records if record.message == "Audit"]
    assert line["principal"] == "x" * audit.LONGEST


def test_refusals_are_counted_by_the_metric_that_the_alarm_looks_at(
    inhabited: World, caplog: pytest.LogCaptureFixture
) -> None:
    message_of_a_stranger(inhabited)
    [line] = [vars(record) for record in caplog.records if record.message == "Audit"]
    alarm = of_type("AWS::CloudWatch::Alarm")["RefusedAlarm"]
    [dimension] = alarm["Dimensions"]
    assert line["_aws"] == {
        "Timestamp": int(inhabited.now.timestamp() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": alarm["Namespace"],
                "Dimensions": [[dimension["Name"]]],
                "Metrics": [{"Name": alarm["MetricName"], "Unit": "Count"}],
            }
        ],
    }
    assert (line[dimension["Name"]], line[alarm["MetricName"]]) == (PREFIX, 1)
    audit.allowed(principal="ci", action="ecs:ExecuteCommand", resource=TASK, source="192.0.2.1", reason="session 1")
    allowed = vars(caplog.records[-1])
    assert (allowed["outcome"], allowed["principal"]) == ("allowed", "ci")
    assert "_aws" not in allowed
