"""Signature Version 4: requests as boto3 signs them are taken, and nothing that was changed on the way."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

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
from control_plane.gateways.sigv4 import verify
from control_plane.gateways.sigv4_forms import SignedRequest
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


HOST = ENDPOINT.removeprefix("https://")
TARGET = "AmazonEC2ContainerServiceV20141113.ListClusters"


def presigned(expires: int = 60, query: str = "", token: str | None = None) -> SignedRequest:
    headers = {"x-amz-target": TARGET, "content-type": "application/x-amz-json-1.1"}
    aws_request = AWSRequest("POST", f"{ENDPOINT}/{query}", headers=headers)
    SigV4QueryAuth(Credentials(KEY_ID, SECRET, token), "ecs", REGION, expires=expires).add_auth(aws_request)
    return SignedRequest("POST", ("/",), str(aws_request.url).partition("?")[2], {"host": HOST, **headers}, b"")


def presigned_at(request: SignedRequest) -> datetime:
    return datetime.strptime(parse_qs(request.query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def check_presigned(request: SignedRequest, *, late: float = 0, at: datetime | None = None) -> str:
    now = (at or presigned_at(request)) + timedelta(seconds=late)
    return verify(request, secret_of={KEY_ID: SECRET}.get, region=REGION, now=now)


def test_a_presigned_request_is_taken_until_it_expires() -> None:
    request = presigned(expires=60, query="?a=b+c")
    assert [check_presigned(request, late=seconds) for seconds in (-900, 0, 60)] == [KEY_ID] * 3
    for seconds, words in ((61, "Signature expired: .* - 1 min"), (-901, "Signature not yet current: ")):
        with pytest.raises(InvalidSignatureException, match=words):
            check_presigned(request, late=seconds)


def test_a_presigned_request_lasts_for_a_week_at_most() -> None:
    assert check_presigned(presigned(expires=604_800), late=604_800) == KEY_ID
    with pytest.raises(IncompleteSignatureException, match="from 1 to 604800"):
        check_presigned(presigned(expires=604_801))


def test_a_session_token_comes_in_the_query() -> None:
    request = presigned(token="the+session/token=")
    asked: list[tuple[str, str]] = []

    def secret_of_session(access_key_id: str, token: str) -> str:
        asked.append((access_key_id, token))
        return SECRET

    at = presigned_at(request)
    nobody: dict[str, str] = {}
    answered = verify(request, secret_of=nobody.get, secret_of_session=secret_of_session, region=REGION, now=at)
    assert answered == KEY_ID
    assert asked == [(KEY_ID, "the+session/token=")]


@pytest.mark.parametrize("as_sent", ["a=b+c", "a=b%20c"])
def test_a_space_in_a_query_is_signed_as_percent_20_however_it_is_sent(as_sent: str) -> None:
    aws_request = AWSRequest("POST", f"{ENDPOINT}/?a=b%20c", headers={"x-amz-target": TARGET}, data=b"{}")
    SigV4Auth(Credentials(KEY_ID, SECRET), "ecs", REGION).add_auth(aws_request)
    lower = {name.lower(): value for name, value in aws_request.headers.items()}
    assert check(SignedRequest("POST", ("/",), as_sent, {"host": HOST, **lower}, b"{}")) == KEY_ID


def in_query(old: str, new: str) -> Callable[[SignedRequest], SignedRequest]:
    def change(request: SignedRequest) -> SignedRequest:
        assert old in request.query
        return replace(request, query=request.query.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "refusal", "words"),
    [
        pytest.param(in_query("&X-Amz-Signature=", "&Other="), IncompleteSignatureException, "Signature'", id="none"),
        pytest.param(in_query("X-Amz-Expires=60", "X-Amz-Expires=6000"), InvalidSignatureException, "match", id="time"),
        pytest.param(in_query("X-Amz-Expires=60&", ""), IncompleteSignatureException, "X-Amz-Expires", id="no-end"),
        pytest.param(in_query("Expires=60", "Expires=-60"), IncompleteSignatureException, "seconds", id="negative"),
        pytest.param(in_query("Expires=60", "Expires=%D9%A6"), IncompleteSignatureException, "seconds", id="digits"),
        pytest.param(
            in_query("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=9"),
            IncompleteSignatureException,
            "twice",
            id="given-twice",
        ),
        pytest.param(in_query("SHA256&", "SHA1&"), IncompleteSignatureException, "algorithm", id="other-algorithm"),
        pytest.param(in_query("%2Fecs%2F", "%2Fiam%2F"), InvalidSignatureException, "service", id="other-service"),
        pytest.param(in_query("host%3B", ""), InvalidSignatureException, "'host' must be", id="unsigned-host"),
        pytest.param(
            with_header("x-amz-target", "AmazonEC2ContainerServiceV20141113.DeleteCluster"),
            InvalidSignatureException,
            "match",
            id="other-operation",
        ),
        pytest.param(
            lambda one: replace(one, body=b'{"cluster": "prod"}'), InvalidSignatureException, "match", id="other-body"
        ),
        pytest.param(
            with_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            InvalidSignatureException,
            "SHA-256",
            id="unsigned-body",
        ),
        pytest.param(
            with_header("x-amz-security-token", "t"), InvalidSignatureException, "token' must be", id="added-token"
        ),
    ],
)
def test_a_presigned_request_that_was_changed_is_refused(
    change: Callable[[SignedRequest], SignedRequest], refusal: type[EcsError], words: str
) -> None:
    request = presigned()
    with pytest.raises(refusal) as raised:
        check_presigned(change(request), at=presigned_at(request))
    assert words in raised.value.message


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
