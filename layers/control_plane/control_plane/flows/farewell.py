"""A machine that is deregistered hears so, and then its certificates are revoked.

    deregister ──► Deregistered ──► (it stops its tasks) ──► DeregistrationNoted ──► revoke
                        └── it is away: said to whatever it asks, for 30 days ──────────┘

For so long its certificate connects, and that is all that it is good for: from the moment of deregistering every
message of the machine is refused but the answer to this one, and that its tasks have stopped. `revoke_now` waits for
nothing: a stolen machine.
"""

from functools import partial

from aws_lambda_powertools import Logger

from control_plane.domain.arns import resource_name
from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.inbox import InstanceLook, Look
from control_plane.domain.reminders import command_due, on_grid
from control_plane.flows.again import until_won
from control_plane.runtime import ControlPlane
from control_plane.store import identities, reminders
from ecs_protocol.messages import Deregistered
from ecs_protocol.names import thing_name

logger = Logger(child=True)


def let_go(cp: ControlPlane, instance_id: str) -> None:
    """It has heard: nothing is to be said to it any more."""
    identity = until_won(cp, partial(_end_farewell, cp, instance_id))
    if identity is not None:
        _revoke(cp, identity)


def revoke_certificate(cp: ControlPlane, cluster_name: str, name: str) -> dict[str, str]:
    """An operator does not want to wait for the machine: it may be stolen. Its instance is deregistered first.

    The cluster may be deleted already. Answers {containerInstanceArn}. Raises InvalidParameterException.
    """
    instance_id = resource_name(name)
    identity = identities.load(cp.table, instance_id)
    if identity is None or identity.cluster != resource_name(cluster_name):
        raise InvalidParameterException("Referenced container instance was not found.")
    if identity.deregistered_at is None:
        raise InvalidParameterException("The referenced container instance is not deregistered.")
    let_go(cp, instance_id)
    return {"containerInstanceArn": cp.arns.container_instance(identity.cluster, instance_id)}


def _end_farewell(cp: ControlPlane, instance_id: str, _attempt: int) -> InstanceIdentity | None:
    identity = identities.load(cp.table, instance_id)
    if identity is None or identity.deregistered_at is None:
        return None
    now = cp.clock()
    if identity.revoke_at is None or identity.revoke_at > now:
        cp.table.commit([identities.written(identity, identity.deregistered(now, revoke_now=True))])
    return identity


def say_farewell(cp: ControlPlane, instance: ContainerInstance) -> None:
    """What is due about the certificates of an instance that is INACTIVE: tell its machine, or revoke. May be repeated.

    It is told again after gaps that double; the reminder for the next time is stored first.
    """
    identity = identities.load(cp.table, instance.instance_id)
    if identity is None or identity.deregistered_at is None:
        return  # deregistered by a release that took its certificate away at once
    now = cp.clock()
    if identity.revoke_at is None or identity.revoke_at <= now:
        _revoke(cp, identity)
        return
    at = min(command_due(identity.deregistered_at, now), on_grid(identity.revoke_at))
    reminders.remind(cp.table, [InstanceLook(instance.cluster, instance.instance_id, Look.COMMANDS, at)])
    cp.agents.send(instance.instance_id, Deregistered())


def _revoke(cp: ControlPlane, identity: InstanceIdentity) -> None:
    for principal in identity.principals:
        cp.registry.retire(principal, thing_name(cp.prefix, identity.instance_id))
    cp.agents.end_session(identity.instance_id)  # after it, so that it does not come back
    logger.info("Revoked", extra={"instance": identity.instance_id})
