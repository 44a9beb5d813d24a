"""Signature Version 4, whatever the request: all that botocore signs verifies, and no bit of it can be changed."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from string import ascii_lowercase, digits, printable
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.errors import EcsError
from control_plane.gateways.sigv4 import verify
from control_plane.gateways.sigv4_forms import SignedRequest
from unit.api.clients import KEY_ID, REGION, SECRET

VISIBLE = printable.strip()
VALUES = st.text(VISIBLE + " ", min_size=1, max_size=40).map(str.strip).filter(bool)
NAMES = st.text(ascii_lowercase + digits + "-", min_size=1, max_size=20).map(lambda name: f"x-amz-meta-{name}")
QUERIES = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=3).map(urlencode)


@st.composite
def signed_requests(draw: st.DrawFn) -> SignedRequest:
    """As an unmodified client would send it, but of any content."""
    host = f"{draw(st.text(ascii_lowercase, min_size=1, max_size=10))}.example.com"
    query = draw(QUERIES)
    headers = {
        "x-amz-target": draw(VALUES),
        "content-type": draw(VALUES),
        **draw(st.dictionaries(NAMES, VALUES, max_size=3)),
    }
    method, body = draw(st.sampled_from(["POST", "GET", "PUT"])), draw(st.binary(max_size=100))
    url = f"https://{host}/" + (f"?{query}" if query else "")
    aws_request = AWSRequest(method, url, headers=headers, data=body)
    SigV4Auth(Credentials(KEY_ID, SECRET), "ecs", REGION).add_auth(aws_request)
    lower = {name.lower(): value for name, value in aws_request.headers.items()}
    return SignedRequest(method, ("/",), query, {"host": host, **lower}, body)


class SignsItsBody(SigV4QueryAuth):
    """As SDKs of other languages presign a POST; botocore moves its body into the query."""

    def __init__(self, body: bytes, expires: int, token: str | None) -> None:
        super().__init__(Credentials(KEY_ID, SECRET, token), "ecs", REGION, expires=expires)
        self._body = body

    def payload(self, request: AWSRequest) -> str:
        return sha256(self._body).hexdigest()


@st.composite
def presigned_requests(draw: st.DrawFn) -> SignedRequest:
    host, query = "ecs.example.com", draw(QUERIES)
    headers = {"x-amz-target": draw(VALUES), **draw(st.dictionaries(NAMES, VALUES, max_size=3))}
    method, body = draw(st.sampled_from(["POST", "GET", "PUT"])), draw(st.binary(max_size=100))
    aws_request = AWSRequest(method, f"https://{host}/" + (f"?{query}" if query else ""), headers=headers)
    SignsItsBody(body, draw(st.integers(1, 604_800)), draw(st.none() | VALUES)).add_auth(aws_request)
    lower = {name.lower(): value for name, value in aws_request.headers.items()}
    return SignedRequest(method, ("/",), str(aws_request.url).partition("?")[2], {"host": host, **lower}, body)


def signer_of(request: SignedRequest) -> str:
    return verify(
        request,
        secret_of={KEY_ID: SECRET}.get,
        secret_of_session=lambda access_key_id, _token: {KEY_ID: SECRET}.get(access_key_id),
        region=REGION,
        now=datetime.now(UTC),
    )


@settings(max_examples=200, deadline=None)
@given(request=signed_requests())
def test_what_botocore_signs_verifies(request: SignedRequest) -> None:
    assert signer_of(request) == KEY_ID


@settings(max_examples=200, deadline=None)
@given(request=presigned_requests())
def test_what_botocore_presigns_verifies(request: SignedRequest) -> None:
    assert signer_of(request) == KEY_ID


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8 % len(content)] ^= 1 << bit % 8
    return bytes(changed)


def with_a_bit_changed(request: SignedRequest, part: str, bit: int) -> SignedRequest:
    """A bit of the body, of the method, the query, or a header. Headers are ASCII: their eighth bits are no bits."""
    if part == "body":
        return replace(request, body=flipped(request.body, bit))
    if part in {"method", "query"}:
        text = flipped(getattr(request, part).encode(), bit // 8 * 8 + bit % 7).decode()
        changes: dict[str, Any] = {part: text}
        return replace(request, **changes)
    text = flipped(request.headers[part].encode(), bit // 8 * 8 + bit % 7).decode()
    return replace(request, headers={**request.headers, part: text})


@settings(max_examples=600, deadline=None)
@given(request=signed_requests(), bit=st.integers(0, 8 * 1000), data=st.data())
def test_no_bit_of_it_can_be_changed(request: SignedRequest, bit: int, data: st.DataObject) -> None:
    parts = [name for name in ("body", "method", "query") if getattr(request, name)]
    part = data.draw(st.sampled_from([*parts, *sorted(request.headers), "authorization"]))
    with pytest.raises(EcsError) as raised:
        signer_of(with_a_bit_changed(request, part, bit))
    assert raised.value.status < 500


@settings(max_examples=600, deadline=None)
@given(request=presigned_requests(), bit=st.integers(0, 8 * 1000), data=st.data())
def test_no_bit_of_a_presigned_one_can_be_changed(request: SignedRequest, bit: int, data: st.DataObject) -> None:
    parts = [name for name in ("body", "method") if getattr(request, name)]
    part = data.draw(st.sampled_from(["query", *parts, *sorted(request.headers)]))
    with pytest.raises(EcsError) as raised:
        signer_of(with_a_bit_changed(request, part, bit))
    assert raised.value.status < 500
