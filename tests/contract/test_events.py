"""The samples in events/ are what AWS brings, and say what the code understands."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from contract.samples import FUNCTIONS, INSTANCE, PRINCIPAL, ROOT, TASK, bodies, cases, queued, sample
from contract.the_template import of_type, referred, resolved
from control_plane.domain.container_instance import Registration
from control_plane.domain.inbox import FleetKey, InstanceLook, Look, ServiceKey, TaskKey
from control_plane.domain.reminders import FIRST_GAP, on_grid
from control_plane.domain.service import Service, ServiceEvent
from control_plane.gateways import inbox
from control_plane.store import instances, keys, services, tasks
from control_plane.store.items import attributes, to_wire
from ecs_protocol.messages import AGENT_REQUEST, ActivateRequest, TaskStateChanges
from ecs_protocol.names import container_instance_id, thing_name
from world import PREFIX, START

THING = thing_name(PREFIX, INSTANCE)
EVERY = [(function, case) for function in FUNCTIONS for case in cases(function)]
POISON = "one_of_two_is_poison"

QUEUES: dict[str, Callable[[str], Any]] = {
    "iot_connectivity": inbox.presence,
    "iot_credentials": inbox.envelope,
    "iot_register_container_instance": inbox.envelope,
    "iot_task_state_change": inbox.envelope,
    "queue_agent_commands": inbox.agent_command,
    "queue_events": json.loads,
    "queue_run_task": json.loads,
    "queue_service_scheduler": inbox.scheduler_key,
}
"""Functions behind queues, and how each reads a message."""


def queue_names(function: str) -> set[str]:
    """Of the queues that the template puts before a function, without the prefix."""
    found = of_type("AWS::Serverless::Function")[function.title().replace("_", "")]
    queues = of_type("AWS::SQS::Queue")
    sources = [source["Properties"] for source in found["Events"].values() if source["Type"] == "SQS"]
    return {resolved(queues[referred(source["Queue"])]["QueueName"], Prefix=PREFIX) for source in sources}


def test_every_function_has_samples_and_nothing_else_has() -> None:
    folders = {folder.name for folder in (ROOT / "events").iterdir() if folder.is_dir()}
    assert folders == set(FUNCTIONS)
    assert all(cases(function) for function in FUNCTIONS)


@pytest.mark.parametrize("function", QUEUES)
def test_messages_are_what_sqs_brings(function: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
    for case in queued(function):
        records = sample(function, case)["Records"]
        assert len({record["messageId"] for record in records}) == len(records)
        for record in records:
            assert record["eventSource"] == "aws:sqs"
            assert record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest()
            name = record["eventSourceARN"].rsplit(":", 1)[1]
            assert name in queue_names(function)
            fifo = {"MessageGroupId", "MessageDeduplicationId", "SequenceNumber"}
            assert fifo & set(record["attributes"]) == (fifo if name.endswith(".fifo") else set())


@pytest.mark.parametrize(("function", "read"), QUEUES.items())
def test_messages_can_be_read(function: str, read: Callable[[str], Any]) -> None:
    for case in queued(function):
        if case != POISON:
            assert all(read(body) for body in bodies(function, case))


@pytest.mark.parametrize("function", [function for function in QUEUES if POISON in cases(function)])
def test_poison_is_poison(function: str) -> None:
    poison, sound = bodies(function, POISON)
    with pytest.raises((KeyError, TypeError, ValueError)):
        QUEUES[function](poison)
    assert QUEUES[function](sound)


@pytest.mark.parametrize("function", ["iot_credentials", "iot_register_container_instance", "iot_task_state_change"])
def test_an_envelope_has_what_the_rule_selects(function: str) -> None:
    [sql] = [
        rule["TopicRulePayload"]["Sql"]["Fn::Sub"]
        for rule in of_type("AWS::IoT::TopicRule").values()
        if {referred(rule["TopicRulePayload"]["Actions"][0]["Sqs"]["QueueUrl"])} & _logical_queues(function)
    ]
    for case in queued(function):
        body = bodies(function, case)[-1]
        assert list(json.loads(body)) == re.findall(r" AS (\w+)", sql)
        envelope = inbox.envelope(body)
        assert container_instance_id(PREFIX, envelope.client_id) == INSTANCE
        [topic] = re.findall(r" FROM '(.+)'", resolved({"Fn::Sub": sql}, Prefix=PREFIX))
        assert envelope.topic == topic.replace("+", THING)
        assert envelope.payload == base64.b64decode(json.loads(body)["payload"])


def _logical_queues(function: str) -> set[str]:
    found = of_type("AWS::Serverless::Function")[function.title().replace("_", "")]
    return {referred(source["Properties"]["Queue"]) for source in found["Events"].values()}


@pytest.mark.parametrize("case", ["register", "reconcile", "describe_tasks"])
def test_requests_are_of_the_protocol(case: str) -> None:
    [body] = bodies("iot_register_container_instance", case)
    envelope = inbox.envelope(body)
    assert envelope.principal == PRINCIPAL
    assert AGENT_REQUEST.validate_json(envelope.payload).type.lower().startswith(case.partition("_")[0])


@pytest.mark.parametrize("case", ["running", "stopped"])
def test_reports_are_of_the_protocol(case: str) -> None:
    [body] = bodies("iot_task_state_change", case)
    [report] = TaskStateChanges.from_json(inbox.envelope(body).payload).reports
    assert (report.task_id, report.last_status) == (TASK, case.upper())


@pytest.mark.parametrize("case", ["connected", "disconnected"])
def test_presence(case: str) -> None:
    [body] = bodies("iot_connectivity", case)
    presence = inbox.presence(body)
    assert (presence.client_id, presence.event_type) == (THING, case)


def test_keys() -> None:
    [body] = bodies("queue_agent_commands", "one_key")
    assert inbox.agent_command(body) == TaskKey("default", TASK, INSTANCE)
    [body] = bodies("queue_agent_commands", "look")
    assert inbox.agent_command(body) == InstanceLook(
        "default", INSTANCE, Look.COMMANDS, on_grid(START + FIRST_GAP), epoch=0
    )
    [body] = bodies("queue_agent_commands", "service")
    assert inbox.agent_command(body) == ServiceKey("default", "web")
    [body] = bodies("queue_service_scheduler", "one_service")
    assert inbox.scheduler_key(body) == ServiceKey("default", "web")
    for record in sample("queue_service_scheduler", "two_services")["Records"]:
        key = inbox.scheduler_key(record["body"])
        assert isinstance(key, ServiceKey)
        assert record["attributes"]["MessageGroupId"] == f"{key.cluster}/{key.service}"
    [body] = bodies("queue_service_scheduler", "fleet_snapshot")
    assert inbox.scheduler_key(body) == FleetKey("default", "")


STREAM = [(function, case) for function, case in EVERY if function.startswith("stream_") and case != "removed"]


@pytest.mark.parametrize(("function", "case"), STREAM)
def test_images_are_what_the_store_writes(function: str, case: str) -> None:
    """Read by the inbox, made into entities, and written again, they are the same."""
    for record in sample(function, case)["Records"]:
        image = record["dynamodb"]["NewImage"]
        item = dict(inbox.stream_record(record).new_image)
        kind = item["kind"]
        key: keys.Key
        match kind:
            case tasks.KIND:
                task = tasks.from_item(item)
                key, again = keys.task(task.cluster, task.task_id), tasks.to_item(task)
            case instances.KIND:
                instance = instances.from_item(item)
                key, again = keys.instance(instance.cluster, instance.instance_id), instances.to_item(instance)
            case instances.REGISTRATION_KIND:
                registration = Registration.model_validate(item)
                key = keys.registration(registration.cluster, registration.instance_id)
                again = {**attributes(registration), "kind": kind}
            case services.KIND:
                service = Service.model_validate(item)
                key, again = keys.service(service.cluster, service.name), {**attributes(service), "kind": kind}
            case _:
                event = ServiceEvent.model_validate(item)
                key = keys.service_event(event.cluster, event.service, event.created_at, event.event_id)
                again = {**attributes(event), "kind": kind, "expiresAt": item["expiresAt"]}
        assert record["dynamodb"]["Keys"] == {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
        assert {**to_wire(again), **record["dynamodb"]["Keys"]} == image


@pytest.mark.parametrize("function", ["stream_agent_commands", "stream_events"])
def test_samples_pass_the_filter_of_their_function(function: str) -> None:
    [source] = of_type("AWS::Serverless::Function")[function.title().replace("_", "")]["Events"].values()
    [each] = source["Properties"]["FilterCriteria"]["Filters"]
    wanted = json.loads(each["Pattern"])["dynamodb"]["NewImage"]
    for case in cases(function):
        for record in sample(function, case)["Records"]:
            assert record["eventSource"] == "aws:dynamodb"
            image = record["dynamodb"].get("NewImage", {})
            passes = all(image.get(name, {}).get("S") in values["S"] for name, values in wanted.items())
            assert passes == (case != "removed")


def test_a_removed_item_has_no_image() -> None:
    [record] = sample("stream_events", "removed")["Records"]
    assert inbox.stream_record(record).new_image == {}


@pytest.mark.parametrize("function", ["api_credentials", "api_ecs", "api_registration"])
def test_requests_come_by_a_route_of_the_template(function: str) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""
    routes = {route["RouteKey"] for route in of_type("AWS::ApiGatewayV2::Route").values()}
    for case in cases(function):
        event = sample(function, case)
        assert (event["version"], event["routeKey"] in routes) == ("2.0", True)
        assert f"{event['requestContext']['http']['method']} {event['rawPath']}" == event["routeKey"]
        assert all(name == name.lower() for name in event["headers"])
        body = event["body"].encode()
        sent = base64.b64decode(body) if event["isBase64Encoded"] else body
        assert int(event["headers"]["content-length"]) == len(sent)


def test_an_activation_is_of_the_protocol() -> None:
    assert ActivateRequest.from_json(sample("api_registration", "activation")["body"]).activation_id


def test_run_task_events_pass_the_rule() -> None:
    [rule] = of_type("AWS::Events::Rule").values()
    for case in ("one_task", "no_such_task_definition"):
        [body] = bodies("queue_run_task", case)
        assert [json.loads(body)["detail-type"]] == rule["EventPattern"]["detail-type"]
        assert json.loads(body)["id"]
