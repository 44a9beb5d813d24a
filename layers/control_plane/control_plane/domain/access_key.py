"""Long-lived keys besides the administrator's: for people, CI, and agents that sign. Pure.

Nothing secret is stored. A key's secret is computed from its id and the deployment's signing key, when it is made and
whenever a signature is verified: whoever reads the table can sign nothing, and no call to decrypt anything stands
between a request and its answer.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime

from control_plane.domain.authorization import AgentOf, Caller
from control_plane.domain.entity import Entity

PREFIX = "ECSA"
"""With which the ids of all these keys begin: others are not looked for."""

_ID = re.compile(PREFIX + r"[0-9A-F]{32}")


@dataclass(frozen=True)
class SigningKey:
    """From which secrets are computed. `key_id` tells which one a key was made with, and gives nothing away."""

    key_id: str
    key: bytes


class AccessKey(Entity):
    """What the table has of a key."""

    access_key_id: str
    principal: str
    clusters: tuple[str, ...] = ()
    """The key's scope: of clusters, only these; none: whatever its principal may."""
    agent_of: AgentOf | None = None
    """Given to the agent of one container instance."""
    signing_key: str
    """Id of the signing key that its secret is computed with."""
    created_at: datetime
    revoked_at: datetime | None = None

    def caller(self) -> Caller:
        return Caller(
            principal=self.principal,
            access_key_id=self.access_key_id,
            clusters=self.clusters,
            agent_of=self.agent_of,
        )


def signing_key_of(text: str) -> SigningKey:
    key = text.encode()
    return SigningKey(hmac.new(key, b"ecs-anywhere signing key", hashlib.sha256).hexdigest()[:16], key)


def new_access_key_id(random_id: str) -> str:
    """`random_id`: 32 hexadecimal digits."""
    return PREFIX + random_id.upper()


def looks_like_an_access_key_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def secret_of(signing_key: SigningKey, access_key_id: str) -> str:
    """The secret access key: 43 characters that need no quotes anywhere."""
    digest = hmac.new(signing_key.key, f"ecs-anywhere access key\n{access_key_id}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
