"""Who sent a message from a machine: what IoT Core attached to it, never what it says of itself (rule 8)."""

from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.inbox import Envelope
from control_plane.flows import audit
from control_plane.flows.again import until_won
from control_plane.runtime import ControlPlane
from control_plane.store import identities
from ecs_protocol.names import container_instance_id


def identify(cp: ControlPlane, envelope: Envelope) -> InstanceIdentity | None:
    """The instance that a message speaks for; None if it may speak for none, which the audit log says.

    The topic must be of the client's own thing, and the certificate the one that this instance was given. It is read
    for each message, so that what is deregistered or revoked is so at once. If the table knows another certificate, or
    none (it may have been restored to an earlier time), AWS IoT's registry proves this one instead: a certificate that
    was revoked is attached to no thing.
    """
    instance_id = container_instance_id(cp.prefix, envelope.client_id)
    if instance_id is None or envelope.client_id not in envelope.topic.split("/"):
        audit.refused_message(cp, envelope, "not from a thing of ours, on a topic of its own")
        return None
    known = identities.load(cp.table, instance_id)
    if known is not None and known.speaks_with(envelope.principal):
        return known
    cluster = cp.registry.cluster_of(envelope.client_id, envelope.principal)
    if cluster is None:
        audit.refused_message(cp, envelope, "not its certificate")
        return None
    return until_won(cp, lambda _attempt: _prove(cp, instance_id, cluster, envelope.principal))


def _prove(cp: ControlPlane, instance_id: str, cluster: str, principal: str) -> InstanceIdentity:
    known = identities.load(cp.table, instance_id)
    if known is not None and known.speaks_with(principal):
        return known
    if known is None:
        proven = InstanceIdentity(instance_id=instance_id, cluster=cluster, principal=principal)
    else:
        proven = known.model_copy(update={"principal": principal, "next": None})
    cp.table.commit([identities.written(known, proven)])
    return proven
