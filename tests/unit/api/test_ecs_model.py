"""Requests are read, and answers written, by Amazon's own model of ECS."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.errors import (
    ClientException,
    InvalidParameterException,
    SerializationException,
    UnknownOperationException,
    UnsupportedFeatureException,
)
from control_plane.domain.request_checks import check_limits, refuse_unsupported
from control_plane.domain.supported_members import SUPPORTED
from control_plane.gateways.ecs_model import operation_of, parse_body, serialise, validate_request

TARGET = "AmazonEC2ContainerServiceV20141113"


def test_the_operation_is_what_the_target_names() -> None:
    assert operation_of(f"{TARGET}.RunTask") == "RunTask"


@pytest.mark.parametrize("target", [None, "", "RunTask", f"{TARGET}.", f"{TARGET}.Fly", "DynamoDB_20120810.RunTask"])
def test_what_is_no_operation_of_ecs(target: str | None) -> None:
    with pytest.raises(UnknownOperationException):
        operation_of(target)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'"x"', b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"count": ' + b"9" * 5000 + b"}"]
)
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(SerializationException):
        parse_body(body)


def test_no_body_is_an_empty_request() -> None:
    assert parse_body(b"") == {}


def test_null_and_unknown_members_are_dropped() -> None:
    request = {"taskDefinition": "web", "group": None, "fromTheFuture": 1, "overrides": {"cpu": "1", "new": []}}
    assert validate_request("RunTask", request) == {"taskDefinition": "web", "overrides": {"cpu": "1"}}


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("count", "1", "STRING_VALUE cannot be converted to Integer"),
        ("count", True, "BOOLEAN_VALUE cannot be converted to Integer"),
        ("count", 1.5, "NUMBER_VALUE cannot be converted to Integer"),
        ("count", 2**31, "NUMBER_VALUE cannot be converted to Integer"),
        ("count", -(2**31) - 1, "NUMBER_VALUE cannot be converted to Integer"),
        ("cluster", 1, "NUMBER_VALUE cannot be converted to String"),
        ("cluster", {}, "START_OBJECT cannot be converted to String"),
        ("overrides", [], "START_ARRAY cannot be converted to Structure"),
        ("tags", {}, "START_OBJECT cannot be converted to List"),
        ("tags", [None], "NULL_VALUE cannot be converted to Structure"),
        ("enableExecuteCommand", "true", "STRING_VALUE cannot be converted to Boolean"),
        ("cluster", "\ud800", "'cluster' is not valid Unicode."),
    ],
)
def test_a_member_of_another_type(member: str, value: Any, message: str) -> None:
    with pytest.raises(SerializationException) as raised:
        validate_request("RunTask", {"taskDefinition": "web", member: value})
    assert raised.value.message == message


@pytest.mark.parametrize("value", [-(2**31), 2**31 - 1])
def test_an_integer_has_32_bits(value: int) -> None:
    total = {"name": "CPU", "integerValue": value}
    request = validate_request("RegisterContainerInstance", {"totalResources": [total]})
    assert request == {"totalResources": [total]}


def test_every_violation_is_named_in_amazons_words() -> None:
    with pytest.raises(InvalidParameterException) as raised:
        validate_request("RunTask", {"launchType": "MOON", "capacityProviderStrategy": [{"weight": 1001}]})
    assert raised.value.message == (
        "4 validation errors detected: Value null at 'taskDefinition' failed to satisfy constraint: Member must not be "
        "null; Value null at 'capacityProviderStrategy.1.member.capacityProvider' failed to satisfy constraint: Member "
        "must not be null; Value '1001' at 'capacityProviderStrategy.1.member.weight' failed to satisfy constraint: "
        "Member must have value less than or equal to 1000; Value 'MOON' at 'launchType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]"
    )


def test_task_definitions_have_an_error_of_their_own() -> None:
    with pytest.raises(ClientException, match="1 validation error detected: Value null at 'containerDefinitions'"):
        validate_request("RegisterTaskDefinition", {"family": "web"})


def test_an_answer_has_what_the_model_has() -> None:
    task = {
        "taskArn": "arn",
        "createdAt": datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
        "startedAt": None,
        "internal": 1,
        "containers": [{"name": "größer", "exitCode": 0, "internal": 1}],
    }
    assert json.loads(serialise("DescribeTasks", {"tasks": [task], "failures": []})) == {
        "tasks": [{"taskArn": "arn", "createdAt": 1767225600.123, "containers": [{"name": "größer", "exitCode": 0}]}],
        "failures": [],
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
REFUSALS = (ClientException, InvalidParameterException, SerializationException, UnsupportedFeatureException)
MEMBERS = sorted({"containerDefinitions", "family", *(name for names in SUPPORTED.values() for name in names)})


@settings(max_examples=300, deadline=None)
@given(
    operation=st.sampled_from(sorted(SUPPORTED)), request=st.dictionaries(st.sampled_from(MEMBERS) | st.text(), JSON)
)
def test_whatever_a_request_holds_it_is_read_or_refused(operation: str, request: dict[str, Any]) -> None:
    with suppress(*REFUSALS):
        read = validate_request(operation, parse_body(json.dumps(request).encode()))
        refuse_unsupported(operation, read)
        check_limits(operation, read)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=50) | st.text(max_size=50).map(str.encode))
def test_whatever_a_body_holds_it_is_parsed_or_refused(body: bytes) -> None:
    with suppress(SerializationException):
        assert isinstance(parse_body(body), dict)
