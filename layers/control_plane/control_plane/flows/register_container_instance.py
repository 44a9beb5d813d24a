"""A machine becomes a container instance, or gets a new registration, whatever brought its request.

Nothing else creates instances. What is written here is written together, under what was read before.
"""

import hashlib
from collections.abc import Mapping, Sequence

from control_plane.domain.cluster import ClusterStatus
from control_plane.domain.container_instance import MQTT, ContainerInstance, Registration
from control_plane.domain.errors import ClusterNotFoundException
from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.reminders import FIRST_GAP, next_probe
from control_plane.domain.resources import Resources
from control_plane.flows.delete_cluster import open_if_left_closed
from control_plane.runtime import ControlPlane
from control_plane.store import clusters, instances, keys, reminders
from ecs_protocol.messages import Attribute, RegisterContainerInstance


def register(
    cp: ControlPlane,
    identity: InstanceIdentity,
    request: RegisterContainerInstance,
    before: ContainerInstance | None,
    known: Registration | None,
    *,
    transport: str = MQTT,
    tags: Mapping[str, str] | None = None,
) -> None:
    """`before` and `known` are the instance and its registration as they were read; `tags` are of a first registration.

    Raises ClusterNotFoundException, LostRace.
    """
    cluster = clusters.load(cp.table, identity.cluster)
    if cluster is None or cluster.status is not ClusterStatus.ACTIVE:
        raise ClusterNotFoundException("Cluster not found.")
    registration = _registration(cp, identity, request, before, tags=known.tags if known else dict(tags or {}))
    after = _instance(registration, before, transport, cluster.daemons)
    instances.store_capabilities(cp.table, after.capabilities, capability_names(registration.attributes))
    open_if_left_closed(cp, cluster)
    shard = keys.instance_shard(identity.instance_id)
    if shard not in cluster.shards:
        cp.table.commit([clusters.holds_instances_in(cluster.name, shard)])
    writes = [instances.described(registration, known)]
    if before is None:
        writes += [instances.created(after), clusters.open_for(cluster)]
    else:
        old = Resources(cpu=known.cpu, memory=known.memory) if known else Resources()
        new = Resources(cpu=registration.cpu, memory=registration.memory)
        writes.append(instances.registered_again(before, after, new - old))
    if transport == MQTT:
        # Not before the registration is committed, should this take as long as a function may.
        reminders.remind(cp.table, [next_probe(identity.cluster, identity.instance_id, cp.clock() + FIRST_GAP)])
    cp.table.commit(writes)


def _registration(
    cp: ControlPlane,
    identity: InstanceIdentity,
    request: RegisterContainerInstance,
    before: ContainerInstance | None,
    *,
    tags: dict[str, str],
) -> Registration:
    given = {attribute.name: attribute for attribute in (*request.attributes, *identity.attributes)}
    return Registration(
        instance_id=identity.instance_id,
        cluster=identity.cluster,
        registration=before.registration + 1 if before else 1,
        digest=request.digest,
        agent_version=request.agent_version,
        docker_version=request.docker_version,
        cpu=request.cpu,
        memory=request.memory,
        ports_in_use=request.ports_in_use,
        gpu_ids=request.gpu_ids,
        attributes=tuple(given[name] for name in sorted(given)),
        tags=tags,
        principal=identity.principal,
        registered_at=cp.clock(),
    )


def _instance(
    registration: Registration, before: ContainerInstance | None, transport: str, daemons: frozenset[str]
) -> ContainerInstance:
    """Over MQTT a machine that registers is connected. Another transport is yet to connect: that is what is said.

    `daemons`: the DAEMON services of its cluster, which are to look at it first.
    """
    valued = {attribute.name: attribute.value for attribute in registration.attributes if attribute.value is not None}
    connected = transport == MQTT
    return ContainerInstance(
        instance_id=registration.instance_id,
        cluster=registration.cluster,
        registration=registration.registration,
        version=before.version + 1 if before else 1,
        cpu=registration.cpu,
        memory=registration.memory,
        reserved_ports=frozenset(f"{port.port}/{port.protocol}" for port in registration.ports_in_use),
        gpus=frozenset(registration.gpu_ids),
        capabilities=capabilities_digest(registration.attributes),
        attributes=valued,
        agent_version=registration.agent_version,
        registered_at=registration.registered_at,
        daemons_due=daemons,
        daemons_due_at=registration.registered_at if daemons else None,
        agent_connected=connected,
        transport=transport,
        connection_changed_at=registration.registered_at if connected else None,
        epoch=before.epoch + 1 if before else 1,
        updated_at=registration.registered_at,
    )


def capability_names(attributes: Sequence[Attribute]) -> list[str]:
    """The attributes without a value."""
    return sorted(attribute.name for attribute in attributes if attribute.value is None)


def capabilities_digest(attributes: Sequence[Attribute]) -> str:
    """Under which their set is stored."""
    return hashlib.sha256("\n".join(capability_names(attributes)).encode()).hexdigest()[:16]
