"""Who a machine is to the control plane: the certificate that speaks for a container instance. Pure."""

from datetime import datetime

from control_plane.domain.entity import Entity
from ecs_protocol.messages import Attribute


class InstanceIdentity(Entity):
    """Which cluster and certificate a machine's identity was issued for. Written at activation."""

    instance_id: str
    cluster: str
    principal: str
    """Id of its certificate."""
    attributes: tuple[Attribute, ...] = ()
    deregistered_at: datetime | None = None
    """From then on nothing that this machine says is believed, but that it has stopped what it was to stop."""
    version: int = 0
    """Raised by each write, which is conditional on it."""

    def speaks_with(self, principal: str) -> bool:
        """Whether a message with this certificate is this instance's."""
        return principal == self.principal
