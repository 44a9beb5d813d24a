"""Where a request says who signed it and how: in the Authorization header, or in its query (a presigned request).

What it says is not proven yet; sigv4.py does that.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote_plus

from control_plane.domain.errors import IncompleteSignatureException, MissingAuthenticationTokenException

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST_PRESIGNED = timedelta(days=7)
"""https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""

_ALGORITHM, _CREDENTIAL, _DATE, _EXPIRES, _SIGNED_HEADERS, _SIGNATURE, _TOKEN = (
    f"X-Amz-{name}"
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")
)


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
class Claim:
    """What a request says of its signature."""

    access_key_id: str
    scope: tuple[str, ...]
    """Date, region, service, aws4_request."""
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    query: str
    """What of the request's query is signed."""
    token: str | None = None
    lasts: timedelta | None = None
    """How long a presigned request may be used; None: it is signed in its header."""


def claim_of(request: SignedRequest) -> Claim:
    """Raises IncompleteSignatureException, MissingAuthenticationTokenException."""
    header = request.headers.get("authorization", "").strip()
    if header:
        return _in_header(request, header)
    if any(name in {_ALGORITHM, _SIGNATURE} for name, _ in _pairs(request.query)):
        return _in_query(request)
    raise MissingAuthenticationTokenException("Missing Authentication Token")


def claimed_access_key_id(request: SignedRequest) -> str | None:
    """Which key a request says it was signed with, if it can be told: for the audit log, where nothing is proven."""
    found = re.search(
        r"Credential=([A-Za-z0-9]{1,128})(?:/|%2F)", f"{request.headers.get('authorization', '')}&{request.query}"
    )
    return found[1] if found else None


def _in_header(request: SignedRequest, header: str) -> Claim:
    algorithm, _, rest = header.partition(" ")
    _check_algorithm(algorithm)
    parts = dict(_pair(part) for part in rest.split(",") if part.strip())
    for name in ("Credential", "Signature", "SignedHeaders"):
        if not parts.get(name):
            raise IncompleteSignatureException(f"Authorization header requires '{name}' parameter.")
    timestamp = request.headers.get("x-amz-date")
    if not timestamp:
        raise IncompleteSignatureException("Authorization header requires existence of an 'X-Amz-Date' header.")
    access_key_id, scope = _credential(parts["Credential"])
    return Claim(
        access_key_id=access_key_id,
        scope=scope,
        signed_headers=tuple(parts["SignedHeaders"].split(";")),
        signature=parts["Signature"],
        timestamp=timestamp,
        query=request.query,
        token=request.headers.get("x-amz-security-token"),
    )


def _in_query(request: SignedRequest) -> Claim:
    """All parameters but the signature are signed with the rest of the query."""
    pairs = _pairs(request.query)
    given = {name: value for name, value in pairs if name.startswith("X-Amz-")}
    if len(given) < sum(name.startswith("X-Amz-") for name, _ in pairs):
        raise IncompleteSignatureException("AWS query-string parameters must not be given twice.")
    for name in (_ALGORITHM, _CREDENTIAL, _SIGNATURE, _SIGNED_HEADERS, _DATE, _EXPIRES):
        if not given.get(name):
            raise IncompleteSignatureException(f"AWS query-string parameters must include '{name}'.")
    _check_algorithm(given[_ALGORITHM])
    longest = int(LONGEST_PRESIGNED.total_seconds())
    seconds = int(given[_EXPIRES]) if re.fullmatch(r"[0-9]{1,6}", given[_EXPIRES], re.ASCII) else 0
    if not 1 <= seconds <= longest:
        raise IncompleteSignatureException(f"{_EXPIRES} must be a number of seconds from 1 to {longest}.")
    access_key_id, scope = _credential(given[_CREDENTIAL])
    unsigned = [each for each in request.query.split("&") if each.partition("=")[0] != _SIGNATURE]
    return Claim(
        access_key_id=access_key_id,
        scope=scope,
        signed_headers=tuple(given[_SIGNED_HEADERS].split(";")),
        signature=given[_SIGNATURE],
        timestamp=given[_DATE],
        query="&".join(unsigned),
        token=given.get(_TOKEN) or request.headers.get("x-amz-security-token"),
        lasts=timedelta(seconds=seconds),
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    """Names as they are written: one that is written otherwise is none of ours."""
    split = [pair.partition("=") for pair in query.split("&") if pair]
    return [(name, unquote_plus(value)) for name, _, value in split]


def _check_algorithm(algorithm: str) -> None:
    if algorithm != ALGORITHM:
        raise IncompleteSignatureException(
            f"Unsupported AWS 'algorithm': '{algorithm[:100]}'. Sign with {ALGORITHM} (Signature Version 4)."
        )


def _credential(text: str) -> tuple[str, tuple[str, ...]]:
    access_key_id, *scope = text.split("/")
    if not access_key_id or len(scope) != 4:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        )
    return access_key_id, tuple(scope)


def _pair(part: str) -> tuple[str, str]:
    name, separator, value = part.strip().partition("=")
    if not separator:
        raise IncompleteSignatureException("Authorization header parameters must be of the form name=value.")
    return name, value
