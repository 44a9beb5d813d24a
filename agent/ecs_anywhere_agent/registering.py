"""`register`: an activation and a CSR in, an identity out.

AWS IoT makes 15 certificates a second for an account. Of many machines that register at one moment most are told to
come back (429 with Retry-After), and nobody tells a machine how many others wait: each spreads its tries over twice the
time after each refusal, until all fit, as with connections (reconnecting.py).
"""

import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from ecs_anywhere_agent.identity import IdentityFiles, NoIdentityError, certificate_end, write_private
from ecs_protocol.messages import ActivateRequest, ActivationRefused, Identity

_TIMEOUT_SECONDS = 30.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_BYTES = 1_000_000


class RegistrationError(Exception):
    """The machine was not registered; the text says what to do."""


_LONGEST_SPREAD_SECONDS = 300.0
_PATIENCE_SECONDS = 3600.0
"""For an endpoint that asks to be asked again later."""


class _NotNowError(Exception):
    """Worth trying again; after `retry_after` seconds, if the endpoint has said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def usable_identity(files: IdentityFiles) -> Identity | None:
    """The identity that is there already, if it can still connect."""
    try:
        identity = files.load()
    except NoIdentityError:
        return None
    return identity if certificate_end(identity.certificate_pem) > datetime.now(UTC) else None


def register(
    files: IdentityFiles,
    endpoint: str,
    activation_id: str,
    activation_code: str,
    *,
    tell: Callable[[str], None],
    attempts: int = 6,
) -> Identity:
    """Fetch an identity and store it.

    Tries again while the endpoint cannot be reached or fails, always with the same CSR: the control plane answers it
    with the same identity, so that an answer that got lost costs no second registration. Raises RegistrationError.
    """
    check_endpoint(endpoint)
    files.prepare()
    request = ActivateRequest(
        activation_id=activation_id, activation_code=activation_code, csr=signing_request(files, activation_id)
    )
    tried = refused = 0
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            identity = _post(endpoint, request)
            break
        except _NotNowError as error:
            if error.retry_after is None:
                tried += 1
                wait = min(2.0 ** (tried - 1), 20.0)
            else:
                refused += 1
                wait = later(error.retry_after, refused, random.uniform)
            if tried == attempts or time.monotonic() + wait > give_up_at:
                raise RegistrationError(
                    f"{endpoint} did not answer ({error}). Check the address and the network, then run this again"
                ) from error
            tell(f"{endpoint}: {error}; trying again in {wait:.0f} s")
            time.sleep(wait)
    files.save(identity)
    return identity


def later(retry_after: float, refusals: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds to wait: never less than was asked for, and spread over twice as long after each refusal."""
    spread = min(retry_after * 2 ** min(refusals, 16), max(_LONGEST_SPREAD_SECONDS, retry_after))
    return retry_after + uniform(0.0, spread)


def check_endpoint(endpoint: str) -> None:
    """The activation code must not cross a network in clear. Raises RegistrationError."""
    url = urllib.parse.urlsplit(endpoint)
    if url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK):
        return
    raise RegistrationError(f"{endpoint}: the registration endpoint must be https:// (http:// only to this machine)")


def signing_request(files: IdentityFiles, activation_id: str) -> str:
    """PEM. That of an unanswered activation if there is one, else new, with a new key."""
    head = f"activation {activation_id}\n"
    if files.key.exists() and files.request.exists():
        kept = files.request.read_text()
        if kept.startswith(head):
            return kept.removeprefix(head)
    private, pem = new_key()
    files.identity.unlink(missing_ok=True)
    write_private(files.key, private)
    write_private(files.request, head + pem)
    return pem


def new_key() -> tuple[str, str]:
    """A private key, and a CSR for it; both PEM."""
    from cryptography import x509  # noqa: PLC0415 - 8 MiB that a running agent does not need
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ecs-anywhere container instance")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), csr.public_bytes(serialization.Encoding.PEM).decode()


def _opener(host: str) -> urllib.request.OpenerDirector:
    """Through the proxy that the environment names; but none stands between this machine and itself."""
    local = host.rsplit(":", 1)[0] in {"localhost", "127.0.0.1", "[::1]"}
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))


def _post(endpoint: str, request: ActivateRequest) -> Identity:
    call = urllib.request.Request(
        endpoint,
        data=request.to_json().encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with _opener(call.host).open(call, timeout=_TIMEOUT_SECONDS) as answer:
            body = answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(_MOST_BYTES)
        if error.code >= 500 or error.code == 429:
            raise _NotNowError(_reason(error.code, body), _retry_after(error)) from error
        raise RegistrationError(_refusal(error.code, body)) from error
    except (urllib.error.URLError, OSError) as error:
        raise _NotNowError(str(getattr(error, "reason", error))) from error
    try:
        return Identity.from_json(body)
    except ValidationError as error:
        raise RegistrationError(
            f"{endpoint} does not answer like a registration endpoint; check the address"
        ) from error


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    text = (error.headers.get("Retry-After") or "").strip()
    return min(float(text), _PATIENCE_SECONDS) if text.isascii() and text.isdigit() else None


def _reason(status: int, body: bytes) -> str:
    try:
        return f"HTTP status {status}: {ActivationRefused.from_json(body).message}"
    except ValidationError:
        return f"HTTP status {status}"


def _refusal(status: int, body: bytes) -> str:
    try:
        refused = ActivationRefused.from_json(body)
    except ValidationError:
        return f"The registration endpoint refused with HTTP status {status}; check the address"
    return f"The activation was refused: {refused.error}: {refused.message}"


def default_data_dir() -> Path:
    return Path.home() / ".local" / "state" / "ecs-anywhere-agent"
