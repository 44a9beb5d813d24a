"""Who sent a request: AWS Signature Version 4, in the Authorization header or in the query, computed by botocore.

Errors and their wording are those of AWS's own front doors.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from control_plane.domain.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    UnrecognizedClientException,
)
from control_plane.gateways.sigv4_forms import Claim, SignedRequest, claim_of

SERVICE = "ecs"
TOLERANCE = timedelta(minutes=15)
"""How far a request's clock may be from ours, either way."""
SIGNED_IF_PRESENT = frozenset(
    {"x-amz-date", "x-amz-target", "x-amz-security-token", "content-type", "x-ecs-anywhere-stream"}
)
"""What gives a request its meaning: unsigned, it could be exchanged on the way."""


class _SignsTheseHeaders(SigV4Auth):
    """botocore's signer for the headers that the client chose: other SDKs sign some that botocore leaves out."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name, value in request.headers.items():
            headers[name] = value
        return headers


def verify(
    request: SignedRequest,
    *,
    secret_of: Callable[[str], str | None],
    region: str,
    now: datetime,
    secret_of_session: Callable[[str, str], str | None] = lambda _access_key_id, _token: None,
) -> str:
    """The access key id that signed the request. Both answer None for a key that they do not know.

    `secret_of_session` is asked for a key that comes with a session token, and nobody else is.
    """
    claim = claim_of(request)
    sent_at = _sent_at(claim)
    _check_scope(claim, region)
    _check_time(claim, sent_at, now)
    _check_headers(request, claim)
    access_key_id, token = claim.access_key_id, claim.token
    secret = secret_of(access_key_id) if token is None else secret_of_session(access_key_id, token)
    if secret is None:
        raise UnrecognizedClientException("The security token included in the request is invalid.")
    signer = _SignsTheseHeaders(Credentials(access_key_id, secret), SERVICE, region)
    expected = [
        _signature(signer, request, claim, path, query) for path in request.paths for query in _meant(claim.query)
    ]
    as_sent = request.method == request.method.upper()  # botocore signs it in capitals, however it is written
    given = claim.signature.encode()
    if not (as_sent and any(hmac.compare_digest(each.encode(), given) for each in expected)):
        raise InvalidSignatureException(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details."
        )
    return access_key_id


def _meant(query: str) -> tuple[str, ...]:
    """A `+` is a space, which is signed as %20; botocore signs it as it is written."""
    return (query, query.replace("+", "%20")) if "+" in query else (query,)


def _sent_at(claim: Claim) -> datetime:
    try:
        if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", claim.timestamp, re.ASCII):
            raise ValueError
        return datetime.strptime(claim.timestamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError as error:
        raise IncompleteSignatureException("Date must be in ISO-8601 'basic format', as 20260101T000000Z.") from error


def _check_scope(claim: Claim, region: str) -> None:
    wanted = (claim.timestamp[:8], region, SERVICE, "aws4_request")
    for name, given, right in zip(("date", "region", "service", "terminator"), claim.scope, wanted, strict=True):
        if given != right:
            raise InvalidSignatureException(
                f"Credential should be scoped to correct {name}: '{right}', not '{given[:100]}'."
            )


def _check_time(claim: Claim, sent_at: datetime, now: datetime) -> None:
    lasts = TOLERANCE if claim.lasts is None else claim.lasts
    if sent_at < now - lasts:
        raise InvalidSignatureException(
            f"Signature expired: {claim.timestamp} is now earlier than {_stamp(now - lasts)} "
            f"({_stamp(now)} - {_shown(lasts)})"
        )
    if sent_at > now + TOLERANCE:
        raise InvalidSignatureException(
            f"Signature not yet current: {claim.timestamp} is still later than {_stamp(now + TOLERANCE)} "
            f"({_stamp(now)} + {_shown(TOLERANCE)})"
        )


def _shown(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    return f"{seconds // 60} min." if seconds % 60 == 0 else f"{seconds} s"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(SIGV4_TIMESTAMP)


def _check_headers(request: SignedRequest, claim: Claim) -> None:
    signed = set(claim.signed_headers)
    for name in ("host", *sorted(SIGNED_IF_PRESENT & set(request.headers))):
        if name not in signed:
            raise InvalidSignatureException(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
    for name in sorted(signed):
        if name not in request.headers or name == "authorization":
            raise InvalidSignatureException(f"Signed header '{name[:100]}' is not in the request.")
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is not None and claimed != sha256(request.body).hexdigest():
        raise InvalidSignatureException("The value of 'X-Amz-Content-SHA256' is not the SHA-256 of the request's body.")


def _signature(signer: SigV4Auth, request: SignedRequest, claim: Claim, path: str, query: str) -> str:
    # The host plays no part in it: it is signed as a header. http, so that the body's hash is always computed.
    asked = f"?{query}" if query else ""
    signed = {name: request.headers[name] for name in claim.signed_headers}
    aws_request = AWSRequest(request.method, f"http://host{path}{asked}", headers=signed, data=request.body)
    aws_request.context["timestamp"] = claim.timestamp
    signature: str = signer.signature(
        signer.string_to_sign(aws_request, signer.canonical_request(aws_request)), aws_request
    )
    return signature
