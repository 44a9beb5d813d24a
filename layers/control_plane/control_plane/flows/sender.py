"""Who sent a message from a machine: what IoT Core attached to it, never what it says of itself (rule 8)."""

from aws_lambda_powertools import Logger

from control_plane.domain.container_instance import InstanceIdentity
from control_plane.domain.inbox import Envelope
from control_plane.runtime import ControlPlane
from control_plane.store import instances
from ecs_protocol.names import container_instance_id, thing_name

logger = Logger(child=True)


def identify(cp: ControlPlane, envelope: Envelope) -> InstanceIdentity | None:
    """The instance that a message speaks for; None if it may speak for none, which is logged.

    The topic must be of the client's own thing, and the certificate the one that this instance was given. If the table
    knows no identity (it may have been restored to an earlier time), AWS IoT's registry proves it instead.
    """
    instance_id = container_instance_id(cp.prefix, envelope.client_id)
    if instance_id is None or envelope.client_id not in envelope.topic.split("/"):
        logger.warning("Refused a message: not from a thing of ours", extra={"clientId": envelope.client_id})
        return None
    known = cp.identities.get(instance_id, envelope.principal)
    if known is not None:
        return known
    cluster = cp.registry.cluster_of(thing_name(cp.prefix, instance_id), envelope.principal)
    if cluster is None:
        logger.warning("Refused a message: not its certificate", extra={"clientId": envelope.client_id})
        return None
    proven = InstanceIdentity(instance_id=instance_id, cluster=cluster, principal=envelope.principal)
    cp.table.commit([instances.identified(proven)])
    return proven
