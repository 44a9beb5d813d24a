"""Whether an agent is connected, from IoT Core's lifecycle events, which come late, twice and in any order.

The newest session known is remembered with its versionNumber. A disconnect comes through a queue that delays it, and
counts only if its session is still the newest then. Whoever is found disconnected is asked, in case that it is not.

https://docs.aws.amazon.com/iot/latest/developerguide/life-cycle-events.html
"""

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.inbox import Presence
from control_plane.flows import audit
from control_plane.flows.again import until_won
from control_plane.runtime import ControlPlane
from control_plane.store import identities, instance_presence, instances
from ecs_protocol.messages import Probe
from ecs_protocol.names import container_instance_id

logger = Logger(child=True)


def note_presence(cp: ControlPlane, presence: Presence) -> None:
    """Handle one event. One of a machine that has not registered yet is of no interest."""
    instance_id = container_instance_id(cp.prefix, presence.client_id)
    identity = identities.load(cp.table, instance_id) if instance_id else None
    if identity is None:
        logger.info("Presence of an unknown client", extra={"clientId": presence.client_id})
        return
    # Rules of an older release do not say which certificate connected.
    if presence.principal is not None and not identity.speaks_with(presence.principal):
        audit.refused(
            cp,
            principal=presence.client_id,
            action="ecs-anywhere:Connect",
            resource=cp.arns.container_instance(identity.cluster, identity.instance_id),
            source=f"mqtt {presence.principal}",
            reason="not its certificate",
        )
        return
    went = until_won(cp, lambda _attempt: _note(cp, identity.cluster, identity.instance_id, presence))
    if went:
        try:
            cp.agents.send(identity.instance_id, Probe())
        except (ClientError, BotoCoreError):
            logger.warning("Could not probe", extra={"instance": identity.instance_id})


def _note(cp: ControlPlane, cluster: str, instance_id: str, presence: Presence) -> bool:
    """Whether the instance has just been found disconnected."""
    instance = instances.load(cp.table, cluster, instance_id)
    ended = presence.event_type == "disconnected"
    # Of an instance that is deregistered only the end matters: from then on its machine stops what it runs.
    of_interest = instance is not None and (instance.status is not InstanceStatus.INACTIVE or ended)
    if instance is None or not of_interest or not news(instance, presence):
        logger.info("Presence is no news", extra={"instance": instance_id, "event": presence.event_type})
        return False
    logger.info("Presence", extra={"instance": instance_id, "event": presence.event_type})
    cp.table.commit(
        [
            instance_presence.presence(
                instance,
                session=presence.session,
                session_version=presence.version_number,
                ended=ended,
                now=cp.clock(),
            )
        ]
    )
    return ended and instance.agent_connected


def news(instance: ContainerInstance, presence: Presence) -> bool:
    """Whether an event tells more than is known.

    Of the newest session only its end is news, once. Another session is newer if its versionNumber is greater; IoT
    Core begins at 0 again after about an hour without a connection, so that a session that follows one that has ended
    is newer, too.
    """
    if presence.session == instance.session:
        return presence.event_type == "disconnected" and not instance.session_ended
    if instance.session is None or presence.version_number > instance.session_version:
        return True
    return instance.session_ended and presence.event_type == "connected"
