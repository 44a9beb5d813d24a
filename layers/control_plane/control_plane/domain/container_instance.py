"""A container instance, as the two items that it is (see "Cost and scale" in docs/decisions/0001-one-table.md).

ContainerInstance is the small one: all that placement and presence need, and the counters that rule 1 guards.
Registration is the large one, written only when an agent registers.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from control_plane.domain.entity import Entity
from control_plane.domain.resources import Resources
from ecs_protocol.messages import Attribute, HostPort

MQTT = "mqtt"
"""A container instance's transport: our agent, through AWS IoT Core."""
AMAZON_AGENT = "acs"
"""Amazon's own agent, which is spoken to over a WebSocket of the Agent Communication Service's kind."""


class InstanceStatus(StrEnum):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html"""

    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    INACTIVE = "INACTIVE"


class ContainerInstance(Entity):
    """The small item. `cpu` and `memory` are what is left; they may be below zero after a registration with less."""

    instance_id: str
    cluster: str
    status: InstanceStatus = InstanceStatus.ACTIVE
    registration: int
    """Counts registrations. A task remembers the one that it took resources from."""
    version: int
    """Raised by every change that clients or agents see."""
    tasks: int = 0
    cpu: int
    memory: int
    ports: frozenset[str] = frozenset()
    """Host ports that our tasks hold, as `8080/tcp`."""
    reserved_ports: frozenset[str] = frozenset()
    """Host ports that something else on the machine holds."""
    gpus: frozenset[str] = frozenset()
    """Ids of all its GPUs."""
    held_gpus: frozenset[str] = frozenset()
    """Those that our tasks hold, be they still there or not."""
    orphan_gpus: frozenset[str] = frozenset()
    """Those that orphans run with."""
    capabilities: str
    """Digest of the set of capability attributes; the set itself is stored once."""
    attributes: dict[str, str] = Field(default_factory=dict)
    """What the agent registered: custom attributes, and those built-in ones that have a value."""
    put_attributes: dict[str, str] = Field(default_factory=dict)
    """What PutAttributes said, which stands above what the agent registers; empty: no value."""
    deleted_attributes: frozenset[str] = frozenset()
    """Attributes of the agent's that DeleteAttributes took away."""
    attributes_version: int | None = None
    """Raised by PutAttributes and DeleteAttributes: what was decided by attributes is committed only if it stands."""
    agent_version: str | None = None
    registered_at: datetime | None = None
    """None, like agent_version, of an instance that has not registered since these are stored here."""
    settings_changed_at: datetime | None = None
    """When somebody last changed its status or attributes, which may make room for tasks, or have some replaced."""
    daemons_due: frozenset[str] = frozenset()
    """DAEMON services that are to look at it, or whose task is to start there soon."""
    daemons_waiting: frozenset[str] = frozenset()
    """Those that have looked, and found no room for their task, or its machine away: any change wakes them. For them
    no other service waits."""
    daemons_due_at: datetime | None = None
    """When something last made one of them due: for a while, tasks of other services wait for them."""
    daemons_seen_at: datetime | None = None
    """When one of them was last done with it."""
    agent_connected: bool = False
    transport: str = MQTT
    """How it is spoken to."""
    epoch: int = 0
    """Raised at every reconciliation; reports are numbered under it (rule 4)."""
    session: str | None = None
    """IoT Core's session identifier of the newest connection known, and its versionNumber."""
    session_version: int = 0
    session_ended: bool = False
    session_ended_at: datetime | None = None
    """When a lifecycle event said so, on our clock."""
    connection_changed_at: datetime | None = None
    """When it was last found connected or disconnected."""
    duplicate_found_at: datetime | None = None
    """Since then two machines are known to use its identity (boots.py): it takes no new task."""
    updated_at: datetime

    def attribute(self, name: str) -> str | None:
        """Its value, empty if it has none; None: neither the agent nor the API has given it a value."""
        if name in self.put_attributes:
            return self.put_attributes[name]
        return None if name in self.deleted_attributes else self.attributes.get(name)

    def can_take(self, wanted: Resources) -> bool:
        """Whether what is left suffices; the condition of the commit says the same (store/instance_resources.py)."""
        return not self.shortages(wanted)

    def shortages(self, wanted: Resources) -> tuple[str, ...]:
        """Every resource that is short, as RunTask's failures name them."""
        taken = self.ports | self.reserved_ports
        return tuple(
            reason
            for reason, short in (
                ("RESOURCE:CPU", wanted.cpu > 0 and self.cpu < wanted.cpu),
                ("RESOURCE:MEMORY", wanted.memory > 0 and self.memory < wanted.memory),
                ("RESOURCE:PORTS", any(port in taken for port in port_names(wanted))),
            )
            if short
        )


class Registration(Entity):
    """The large item: what the machine said of itself when it registered."""

    instance_id: str
    cluster: str
    registration: int
    digest: str
    agent_version: str
    docker_version: str | None = None
    cpu: int
    memory: int
    ports_in_use: tuple[HostPort, ...] = ()
    gpu_ids: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    tags: dict[str, str] = Field(default_factory=dict)
    """Those of TagResource; a new registration keeps them."""
    principal: str
    """Id of the certificate that registered it."""
    registered_at: datetime


def port_names(resources: Resources) -> frozenset[str]:
    """`8080/tcp` for each host port."""
    return frozenset(f"{port}/{protocol}" for port, protocol in resources.ports)
