"""Signature Version 4: requests as boto3 signs them are taken, and nothing that was changed on the way."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.errors import (
    EcsError,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from control_plane.gateways.sigv4 import SignedRequest, verify
from unit.api.clients import ENDPOINT, KEY_ID, REGION, SECRET, captured

LOCAL = "/_aws/execute-api/ec5a0001/$default"


def request_of(event: dict[str, Any], *paths: str) -> SignedRequest:
    return SignedRequest(
        method="POST",
        paths=paths or ("/",),
        query=event["rawQueryString"],
        headers=event["headers"],
        body=base64.b64decode(event["body"]),
    )


def signed_at(request: SignedRequest) -> datetime:
    return datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def check(request: SignedRequest, *, secret: str = SECRET, late: timedelta = timedelta(0)) -> str:
    now = signed_at(request) + late
    return verify(request, secret_of={KEY_ID: secret}.get, region=REGION, now=now)


@pytest.fixture(scope="module")
def signed() -> SignedRequest:
    return request_of(captured())


def with_header(name: str, value: str | None) -> Callable[[SignedRequest], SignedRequest]:
    def change(request: SignedRequest) -> SignedRequest:
        headers = {each: text for each, text in request.headers.items() if each != name}
        return replace(request, headers=headers if value is None else {**headers, name: value})

    return change


def in_authorization(old: str, new: str) -> Callable[[SignedRequest], SignedRequest]:
    def change(request: SignedRequest) -> SignedRequest:
        header = request.headers["authorization"]
        assert old in header
        return with_header("authorization", header.replace(old, new))(request)

    return change


def test_a_request_of_boto3_is_taken(signed: SignedRequest) -> None:
    assert check(signed) == KEY_ID


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_path_that_the_client_sees_is_the_one_that_is_signed(slash: str) -> None:
    event = captured(endpoint=f"http://127.0.0.1:4566{LOCAL}{slash}")
    assert check(request_of(event, f"{LOCAL}/", LOCAL)) == KEY_ID
    with pytest.raises(InvalidSignatureException):
        check(request_of(event, "/"))


@pytest.mark.parametrize("secret", ["a", "plain", "with/slash+plus=", "%24$&?#", "a b\tc", "snow ☃", "x" * 512])
def test_secrets_of_any_characters(secret: str) -> None:
    assert check(request_of(captured(secret=secret)), secret=secret) == KEY_ID


def test_headers_that_botocore_does_not_sign_may_be_signed() -> None:
    class Signer(SigV4Auth):
        def headers_to_sign(self, request: Any) -> Any:
            lower = HTTPHeaders()
            for name, value in request.headers.items():
                lower[name.lower()] = value
            return lower

    headers = {"host": "example.com", "user-agent": "another-sdk/1  (two  spaces)", "content-type": "text/plain"}
    aws_request = AWSRequest("POST", "https://example.com/", headers=headers, data=b"{}")
    Signer(Credentials(KEY_ID, SECRET), "ecs", REGION).add_auth(aws_request)
    lower = {name.lower(): value for name, value in aws_request.headers.items()}
    request = SignedRequest("POST", ("/",), "", lower, b"{}")
    assert "user-agent" in request.headers["authorization"]
    assert check(request) == KEY_ID
    with pytest.raises(InvalidSignatureException):
        check(with_header("user-agent", "someone else")(request))


@pytest.mark.parametrize(
    ("change", "refusal", "words"),
    [
        pytest.param(
            with_header("authorization", None),
            MissingAuthenticationTokenException,
            "Missing Authentication Token",
            id="unsigned",
        ),
        pytest.param(
            with_header("authorization", "Bearer x"), IncompleteSignatureException, "Bearer", id="another-scheme"
        ),
        pytest.param(
            with_header("authorization", "AWS4-HMAC-SHA256 nonsense"),
            IncompleteSignatureException,
            "name=value",
            id="nonsense",
        ),
        pytest.param(
            in_authorization("Signature=", "Seal="), IncompleteSignatureException, "'Signature'", id="no-signature"
        ),
        pytest.param(
            in_authorization("/aws4_request", ""), IncompleteSignatureException, "exactly 5", id="short-credential"
        ),
        pytest.param(
            in_authorization("aws4_request", "aws5_request"), InvalidSignatureException, "terminator", id="terminator"
        ),
        pytest.param(in_authorization("/ecs/", "/iam/"), InvalidSignatureException, "service", id="other-service"),
        pytest.param(in_authorization(REGION, "us-east-1"), InvalidSignatureException, "region", id="other-region"),
        pytest.param(in_authorization(KEY_ID, "AKIAOTHER"), UnrecognizedClientException, "invalid", id="unknown-key"),
        pytest.param(
            in_authorization("Signature=", "Signature=0"), InvalidSignatureException, "does not match", id="longer"
        ),
        pytest.param(
            in_authorization("Signature=", "Signature=é"), InvalidSignatureException, "does not match", id="not-ascii"
        ),
        pytest.param(
            in_authorization(";x-amz-target", ""), InvalidSignatureException, "x-amz-target", id="unsigned-operation"
        ),
        pytest.param(in_authorization("host;", ""), InvalidSignatureException, "'host' must be", id="unsigned-host"),
        pytest.param(
            in_authorization("host;", "host;x-more;"),
            InvalidSignatureException,
            "x-more",
            id="header-that-is-not-there",
        ),
        pytest.param(
            with_header("x-amz-target", "AmazonEC2ContainerServiceV20141113.DeleteCluster"),
            InvalidSignatureException,
            "does not match",
            id="other-operation",
        ),
        pytest.param(with_header("host", "evil.example"), InvalidSignatureException, "does not match", id="other-host"),
        pytest.param(
            with_header("x-amz-security-token", "t"),
            InvalidSignatureException,
            "'x-amz-security-token' must be",
            id="added-token",
        ),
        pytest.param(
            with_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            InvalidSignatureException,
            "SHA-256",
            id="unsigned-body",
        ),
        pytest.param(
            lambda one: replace(one, body=b"{}"), InvalidSignatureException, "does not match", id="other-body"
        ),
        pytest.param(lambda one: replace(one, query="a=b"), InvalidSignatureException, "does not match", id="query"),
        pytest.param(lambda one: replace(one, method="PUT"), InvalidSignatureException, "does not match", id="method"),
        pytest.param(lambda one: replace(one, paths=("/x",)), InvalidSignatureException, "does not match", id="path"),
        pytest.param(lambda one: replace(one, paths=()), InvalidSignatureException, "does not match", id="no-path"),
    ],
)
def test_what_was_changed_is_refused(
    signed: SignedRequest,
    change: Callable[[SignedRequest], SignedRequest],
    refusal: type[EcsError],
    words: str,
) -> None:
    with pytest.raises(refusal) as raised:
        check(change(signed))
    assert words in raised.value.message


def test_temporary_credentials_are_not_known_here() -> None:
    with pytest.raises(UnrecognizedClientException, match="The security token included in the request is invalid"):
        check(request_of(captured(token="session")))


def test_another_secret_does_not_sign(signed: SignedRequest) -> None:
    with pytest.raises(InvalidSignatureException, match="does not match the signature you provided"):
        check(signed, secret="another")


@pytest.mark.parametrize("minutes", [-15, 0, 15])
def test_a_clock_may_be_a_quarter_of_an_hour_off(signed: SignedRequest, minutes: int) -> None:
    assert check(signed, late=timedelta(minutes=minutes)) == KEY_ID


@pytest.mark.parametrize(("seconds", "words"), [(901, "Signature expired: "), (-901, "Signature not yet current: ")])
def test_a_clock_may_not_be_further_off(signed: SignedRequest, seconds: int, words: str) -> None:
    with pytest.raises(InvalidSignatureException, match=f"{words}{signed.headers['x-amz-date']}"):
        check(signed, late=timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "date", [None, "", "Mon, 23 Nov 2026 14:04:20 GMT", "20261399T000000Z", "2026-11-23T00:00:00Z"]
)
def test_only_the_date_header_of_aws_is_read(signed: SignedRequest, date: str | None) -> None:
    changed = with_header("date", "Mon, 23 Nov 2026 14:04:20 GMT")(with_header("x-amz-date", date)(signed))
    with pytest.raises(IncompleteSignatureException):
        verify(changed, secret_of={KEY_ID: SECRET}.get, region=REGION, now=signed_at(signed))


def test_the_day_of_the_scope_is_the_day_of_the_date(signed: SignedRequest) -> None:
    day = signed.headers["x-amz-date"][:8]
    with pytest.raises(InvalidSignatureException, match="date"):
        check(in_authorization(f"/{day}/", "/20200101/")(signed))


def test_a_presigned_request_is_refused_in_so_many_words() -> None:
    aws_request = AWSRequest("POST", f"{ENDPOINT}/", data=b"{}")
    SigV4QueryAuth(Credentials(KEY_ID, SECRET), "ecs", REGION).add_auth(aws_request)
    query = str(aws_request.url).partition("?")[2]
    request = SignedRequest("POST", ("/",), query, {"host": "ec5a0001.execute-api.eu-west-1.amazonaws.com"}, b"{}")
    with pytest.raises(IncompleteSignatureException, match="Presigned"):
        verify(request, secret_of={KEY_ID: SECRET}.get, region=REGION, now=datetime.now(UTC))


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=200), other=st.binary(max_size=200))
def test_a_signature_is_of_one_body(body: bytes, other: bytes) -> None:
    aws_request = AWSRequest("POST", f"{ENDPOINT}/", headers={"x-amz-target": "a.B"}, data=body)
    SigV4Auth(Credentials(KEY_ID, SECRET), "ecs", REGION).add_auth(aws_request)
    lower = {name.lower(): value for name, value in aws_request.headers.items()}
    request = SignedRequest("POST", ("/",), "", {"host": ENDPOINT.removeprefix("https://"), **lower}, body)
    assert check(request) == KEY_ID
    if other != body:
        with pytest.raises(InvalidSignatureException):
            check(replace(request, body=other))


@settings(max_examples=200, deadline=None)
@given(header=st.text(max_size=120) | st.text(max_size=60).map(lambda text: f"AWS4-HMAC-SHA256 {text}"))
def test_no_authorization_header_is_anything_but_refused(signed: SignedRequest, header: str) -> None:
    with pytest.raises(EcsError) as raised:
        check(with_header("authorization", header)(signed))
    assert raised.value.status < 500
