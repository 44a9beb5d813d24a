"""Short-lived keys of IAM identities. Pure. Nothing of them is stored, and none is read to verify one.

    session token      what is claimed (who, until when, signed with which signing key), and an HMAC of it
    secret access key  an HMAC of the session token

Whoever changes a token has neither its HMAC nor its secret. A key cannot be revoked by itself: it ends after 12 hours
at most, and all of them end when the signing key has been replaced twice.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from control_plane.domain.access_key import SigningKey
from control_plane.domain.authorization import Caller
from control_plane.domain.entity import Entity

PREFIX = "ECSS"
SHORTEST, USUAL, LONGEST = timedelta(minutes=15), timedelta(hours=1), timedelta(hours=12)


class Claims(Entity):
    """What a session token says."""

    access_key_id: str
    principal: str
    arn: str
    """Of the IAM identity, as IAM writes it."""
    administrator: bool
    expires_at: int
    """Epoch seconds."""
    signing_key: str

    def caller(self) -> Caller:
        return Caller(
            principal=self.principal, access_key_id=self.access_key_id, administrator=self.administrator, arn=self.arn
        )

    def expired(self, now: datetime) -> bool:
        return now >= datetime.fromtimestamp(self.expires_at, UTC)


def principal_of(user_arn: str) -> str:
    """`iam/user/alice` or `iam/role/Deployer`: policies are a role's, whatever its session is called."""
    resource = user_arn.split(":", 5)[-1]
    kind, _, name = resource.partition("/")
    return f"iam/role/{name.rpartition('/')[0]}" if kind == "assumed-role" else f"iam/{resource}"


def token_of(signing_key: SigningKey, claims: Claims) -> str:
    text = _encoded(claims.model_dump_json(by_alias=True).encode())
    return f"{text}.{_hmac(signing_key, 'session token', text)}"


def claims_of(token: str) -> Claims | None:
    """What a token says, whoever made it; None: it is none."""
    text = token.partition(".")[0]
    try:
        return Claims.model_validate_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValidationError, ValueError):
        return None


def made_with(signing_key: SigningKey, token: str) -> bool:
    text, _, given = token.partition(".")
    return hmac.compare_digest(_hmac(signing_key, "session token", text).encode(), given.encode())


def session_secret_of(signing_key: SigningKey, token: str) -> str:
    return _hmac(signing_key, "session secret", token)


def _hmac(signing_key: SigningKey, purpose: str, text: str) -> str:
    return _encoded(hmac.new(signing_key.key, f"ecs-anywhere {purpose}\n{text}".encode(), hashlib.sha256).digest())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
