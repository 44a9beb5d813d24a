"""Two machines under one identity: found by their boot ids, told to operators, and decided upon by them.

No new task is placed on the instance; the machine that was there first is served as before; the other one is refused
when it connects, starts nothing and stops nothing, and stays away. See domain/boots.py.
"""

from aws_lambda_powertools import Logger

from control_plane.domain.boots import Verdict, choose, hear
from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.inbox import Envelope
from control_plane.flows import audit
from control_plane.flows.again import until_answered, until_won
from control_plane.flows.lookup import require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.runtime import ControlPlane
from control_plane.store import identities, instance_presence, instances
from ecs_protocol.messages import DUPLICATE_IDENTITY, Reconcile, Refused, RegisterContainerInstance

logger = Logger(child=True)

Described = dict[str, object]


def is_the_machine(
    cp: ControlPlane, sender: InstanceIdentity, request: Reconcile | RegisterContainerInstance, envelope: Envelope
) -> bool:
    """Whether to answer. Costs nothing but at the first message of a boot."""
    verdict = until_won(cp, lambda attempt: _hear(cp, sender, request, envelope, attempt))
    if verdict is Verdict.WAITS:
        logger.info("A new boot, though the known one seems connected", extra={"instance": sender.instance_id})
    if verdict is Verdict.REFUSED:
        message = (
            f"Another machine uses this machine's identity. If this one is to: ecs-anywhere duplicates keep "
            f"--cluster {sender.cluster} {sender.instance_id} {request.boot_id}. If not, give it an identity of its "
            "own: ecs-anywhere-agent register, with another data directory and a new activation."
        )
        audit.refused_message(cp, envelope, f"another machine uses its identity; boot {request.boot_id}")
        cp.agents.send(
            sender.instance_id, Refused(request_id=request.request_id, error=DUPLICATE_IDENTITY, message=message)
        )
    return verdict is Verdict.BELIEVED


def _hear(
    cp: ControlPlane,
    sender: InstanceIdentity,
    request: Reconcile | RegisterContainerInstance,
    envelope: Envelope,
    attempt: int,
) -> Verdict:
    """`sender` was just read; what is read again is read because somebody has written it since."""
    known = sender if attempt == 0 else (identities.load(cp.table, sender.instance_id) or sender)
    boots = known.boots
    settled = boots is not None and boots.coming is None and boots.duplicate_found_at is None
    if boots is not None and settled and request.boot_id == boots.current.boot_id:
        return Verdict.BELIEVED
    instance = instances.load(cp.table, sender.cluster, sender.instance_id)
    connected = instance is not None and instance.agent_connected
    since = instance.connection_changed_at if instance is not None and connected else None
    heard = hear(boots, request.boot_id, envelope.received_at, connected_since=since)
    writes = []
    if heard.boots is not boots:
        writes.append(identities.written(known, known.model_copy(update={"boots": heard.boots})))
    if heard.duplicate:
        logger.warning("Two machines use one identity", extra={"instance": sender.instance_id})
    # They may have been found before one of them had registered.
    found = heard.boots is not None and heard.boots.duplicate_found_at is not None
    if found and instance is not None and instance.duplicate_found_at is None:
        writes.append(instance_presence.duplicate_found(instance, cp.clock()))
    if writes:
        cp.table.commit(writes)
    return heard.verdict


def list_duplicates(cp: ControlPlane, cluster_name: str) -> list[Described]:
    """Instances whose identity several machines use. Raises ClusterNotFoundException."""
    cluster = require_cluster(cp, cluster_name)
    shards = sorted(cluster.shards)
    found = instances.of_cluster(cp.table, cluster.name, shards, consistent=True) if shards else []
    duplicated = [
        instance
        for instance in found
        if instance.duplicate_found_at is not None and instance.status is not InstanceStatus.INACTIVE
    ]
    return [
        {
            "containerInstanceArn": cp.arns.container_instance(cluster.name, instance.instance_id),
            "foundAt": instance.duplicate_found_at.isoformat(timespec="seconds"),
            "servedBootId": identity.boots.current.boot_id,
            "refusedBootIds": list(identity.boots.refused),
        }
        for instance in sorted(duplicated, key=lambda each: each.instance_id)
        if instance.duplicate_found_at is not None
        and (identity := identities.load(cp.table, instance.instance_id)) is not None
        and identity.boots is not None
    ]


def keep_machine(cp: ControlPlane, cluster_name: str, name: str, boot_id: str) -> Described:
    """The machine that told this boot id is the instance; the others stay refused.

    Answers {containerInstanceArn, servedBootId}. Raises ClusterNotFoundException, InvalidParameterException.
    """
    cluster = require_cluster(cp, cluster_name)
    instance_id = name.rpartition("/")[2]

    def keep(_attempt: int) -> None:
        instance = instances.load(cp.table, cluster.name, instance_id) if looks_like_an_id(instance_id) else None
        identity = identities.load(cp.table, instance_id) if instance is not None else None
        if instance is None or identity is None or identity.boots is None:
            raise InvalidParameterException("Referenced container instance was not found.")
        try:
            boots = choose(identity.boots, boot_id, cp.clock())
        except KeyError as unknown:
            raise InvalidParameterException(f"No machine has told the boot id {boot_id[:100]}.") from unknown
        cp.table.commit(
            [
                identities.written(identity, identity.model_copy(update={"boots": boots})),
                instance_presence.duplicate_resolved(instance, cp.clock()),
            ]
        )

    until_answered(cp, keep, what="container instance")
    arn = cp.arns.container_instance(cluster.name, instance_id)
    return {"containerInstanceArn": arn, "servedBootId": boot_id}
