"""Who sent a request: AWS Signature Version 4 in the Authorization header, computed by botocore.

Errors and their wording are those of AWS's own front doors.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from control_plane.domain.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "ecs"
TOLERANCE = timedelta(minutes=15)
"""How far a request's clock may be from ours, either way."""
SIGNED_IF_PRESENT = frozenset({"x-amz-date", "x-amz-target", "x-amz-security-token", "content-type"})
"""What gives a request its meaning: unsigned, it could be exchanged on the way."""


@dataclass(frozen=True)
class SignedRequest:
    """A request as it arrived. Names of `headers` are in lower case."""

    method: str
    paths: tuple[str, ...]
    """What the client may have asked for: a gateway that maps paths tells `…/stage` and `…/stage/` no more apart."""
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Authorization:
    access_key_id: str
    scope: tuple[str, ...]
    """Date, region, service, aws4_request."""
    signed_headers: tuple[str, ...]
    signature: str


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
    authorization = _authorization(request)
    timestamp = _timestamp(request, authorization, region, now)
    _check_headers(request, authorization)
    token = request.headers.get("x-amz-security-token")
    access_key_id = authorization.access_key_id
    secret = secret_of(access_key_id) if token is None else secret_of_session(access_key_id, token)
    if secret is None:
        raise UnrecognizedClientException("The security token included in the request is invalid.")
    signer = _SignsTheseHeaders(Credentials(access_key_id, secret), SERVICE, region)
    expected = [_signature(signer, request, authorization, path, timestamp) for path in request.paths]
    as_sent = request.method == request.method.upper()  # botocore signs it in capitals, however it is written
    given = authorization.signature.encode()
    if not (as_sent and any(hmac.compare_digest(each.encode(), given) for each in expected)):
        raise InvalidSignatureException(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details."
        )
    return access_key_id


def claimed_access_key_id(request: SignedRequest) -> str | None:
    """Which key a request says it was signed with, proven or not."""
    found = re.search(r"Credential=([A-Za-z0-9]{1,128})(?:/|%2F)", request.headers.get("authorization", ""))
    return found[1] if found else None


def _authorization(request: SignedRequest) -> _Authorization:
    header = request.headers.get("authorization", "").strip()
    if not header:
        if re.search(r"(^|&)X-Amz-(Signature|Algorithm)=", request.query, re.IGNORECASE):
            raise IncompleteSignatureException(
                "Presigned requests are not supported: sign with the Authorization header, as SDKs do for Amazon ECS."
            )
        raise MissingAuthenticationTokenException("Missing Authentication Token")
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        raise IncompleteSignatureException(
            f"Unsupported AWS 'algorithm': '{algorithm[:100]}'. Sign with {ALGORITHM} (Signature Version 4)."
        )
    parts = dict(_pair(part) for part in rest.split(",") if part.strip())
    for name in ("Credential", "Signature", "SignedHeaders"):
        if not parts.get(name):
            raise IncompleteSignatureException(f"Authorization header requires '{name}' parameter.")
    access_key_id, *scope = parts["Credential"].split("/")
    if not access_key_id or len(scope) != 4:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        )
    return _Authorization(access_key_id, tuple(scope), tuple(parts["SignedHeaders"].split(";")), parts["Signature"])


def _pair(part: str) -> tuple[str, str]:
    name, separator, value = part.strip().partition("=")
    if not separator:
        raise IncompleteSignatureException("Authorization header parameters must be of the form name=value.")
    return name, value


def _timestamp(request: SignedRequest, authorization: _Authorization, region: str, now: datetime) -> str:
    timestamp = request.headers.get("x-amz-date")
    if not timestamp:
        raise IncompleteSignatureException("Authorization header requires existence of an 'X-Amz-Date' header.")
    try:
        if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", timestamp):
            raise ValueError
        sent_at = datetime.strptime(timestamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError as error:
        raise IncompleteSignatureException("Date must be in ISO-8601 'basic format', as 20260101T000000Z.") from error
    for name, given, wanted in zip(
        ("date", "region", "service", "terminator"),
        authorization.scope,
        (timestamp[:8], region, SERVICE, "aws4_request"),
        strict=True,
    ):
        if given != wanted:
            raise InvalidSignatureException(
                f"Credential should be scoped to correct {name}: '{wanted}', not '{given[:100]}'."
            )
    if sent_at < now - TOLERANCE:
        raise InvalidSignatureException(
            f"Signature expired: {timestamp} is now earlier than {_stamp(now - TOLERANCE)} ({_stamp(now)} - 15 min.)"
        )
    if sent_at > now + TOLERANCE:
        raise InvalidSignatureException(
            f"Signature not yet current: {timestamp} is still later than {_stamp(now + TOLERANCE)} "
            f"({_stamp(now)} + 15 min.)"
        )
    return timestamp


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(SIGV4_TIMESTAMP)


def _check_headers(request: SignedRequest, authorization: _Authorization) -> None:
    signed = set(authorization.signed_headers)
    for name in ("host", *sorted(SIGNED_IF_PRESENT & set(request.headers))):
        if name not in signed:
            raise InvalidSignatureException(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
    for name in sorted(signed):
        if name not in request.headers or name == "authorization":
            raise InvalidSignatureException(f"Signed header '{name[:100]}' is not in the request.")
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is not None and claimed != sha256(request.body).hexdigest():
        raise InvalidSignatureException("The value of 'X-Amz-Content-SHA256' is not the SHA-256 of the request's body.")


def _signature(
    signer: SigV4Auth, request: SignedRequest, authorization: _Authorization, path: str, timestamp: str
) -> str:
    # The host plays no part in it: it is signed as a header. http, so that the body's hash is always computed.
    query = f"?{request.query}" if request.query else ""
    signed = {name: request.headers[name] for name in authorization.signed_headers}
    aws_request = AWSRequest(request.method, f"http://host{path}{query}", headers=signed, data=request.body)
    aws_request.context["timestamp"] = timestamp
    signature: str = signer.signature(
        signer.string_to_sign(aws_request, signer.canonical_request(aws_request)), aws_request
    )
    return signature
