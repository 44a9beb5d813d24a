"""Who a machine is to the control plane: the certificate that speaks for a container instance. Pure."""

from datetime import datetime, timedelta

from control_plane.domain.boots import Boots
from control_plane.domain.entity import Entity
from ecs_protocol.messages import Attribute

ROTATION_GAP = timedelta(minutes=10)
"""An instance gets no certificate for another key sooner, and a request that is older is not answered any more: it may
be a copy that was left in a queue, and the machine asks again."""

FAREWELL = timedelta(days=30)
"""How long a machine that is deregistered while it is away keeps a certificate with which it can hear so."""


class NextCertificate(Entity):
    """Issued for a new key of the machine, which has not spoken with it yet."""

    key_digest: str
    arn: str
    pem: str
    made_at: datetime

    @property
    def principal(self) -> str:
        return self.arn.rsplit("/", 1)[-1]


class InstanceIdentity(Entity):
    """Which cluster and certificate a machine's identity was issued for. Written at activation."""

    instance_id: str
    cluster: str
    principal: str
    """Id of its certificate."""
    attributes: tuple[Attribute, ...] = ()
    next: NextCertificate | None = None
    rotation_wanted_at: datetime | None = None
    """An operator wants the certificate replaced."""
    deregistered_at: datetime | None = None
    """From then on nothing that this machine says is believed, but that it has stopped what it was to stop."""
    revoke_at: datetime | None = None
    """When it need not hear so any more: its certificates are revoked then."""
    boots: Boots | None = None
    """Which machine, by the boot that it told."""
    version: int = 0
    """Raised by each write, which is conditional on it."""

    @property
    def principals(self) -> tuple[str, ...]:
        """All that may speak for it, the one in use first."""
        return (self.principal, *([self.next.principal] if self.next else []))

    def speaks_with(self, principal: str) -> bool:
        """Whether a message with this certificate is this instance's."""
        return principal in self.principals

    def promoted(self) -> "InstanceIdentity":
        """The next certificate is the one in use."""
        assert self.next is not None
        return self.model_copy(update={"principal": self.next.principal, "next": None, "rotation_wanted_at": None})

    def deregistered(self, now: datetime, *, revoke_now: bool) -> "InstanceIdentity":
        """For good. Who is deregistered already may still be revoked sooner."""
        revoke_at = now if revoke_now else now + FAREWELL
        return self.model_copy(
            update={
                "deregistered_at": self.deregistered_at or now,
                "revoke_at": min(revoke_at, self.revoke_at) if self.revoke_at else revoke_at,
            }
        )
