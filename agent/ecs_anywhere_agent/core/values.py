"""What the agent knows: immutable values that `step` takes and gives.

A mapping in here is never changed in place: a step that changes an entry makes a new mapping, so that the store can
tell by identity what to write.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ecs_anywhere_agent.container_order import Dependency
from ecs_anywhere_agent.container_spec import DEFAULT_STOP_TIMEOUT_SECONDS, Origin, RestartPolicy
from ecs_anywhere_agent.core.roles import Credentials, Role, RoleRef
from ecs_protocol.messages import (
    HostPort,
    NetworkBinding,
    Reconciliation,
    RegisterContainerInstance,
    RestartsInPlace,
    TaskCommand,
)
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Value = TypeVar("Value", bound=DataclassInstance)

TaskDefinition = Mapping[str, Any]
"""A task definition in the shape of DescribeTaskDefinition."""


class Instant(NamedTuple):
    """A moment on two clocks."""

    elapsed: float
    """Seconds on a clock that never goes back, not over a restart nor over a reboot: for every duration."""
    wall: datetime
    """Aware UTC: only for timestamps that are shown."""


class Phase(StrEnum):
    """How far a container is. The -ING phases say that an action is stored, and is done or about to be."""

    WAITING = "WAITING"
    PULLING = "PULLING"
    PULLED = "PULLED"
    CREATING = "CREATING"
    CREATED = "CREATED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    ENDED = "ENDED"
    """Has ended, and is to be started again."""
    RESTARTING = "RESTARTING"


class Orphan(StrEnum):
    """Why nobody in the cloud answers for a task that runs here."""

    UNKNOWN = "UNKNOWN"
    """The control plane has never heard of it: asked about again at each reconciliation."""
    EARLIER_IDENTITY = "EARLIER_IDENTITY"
    """It was started under an identity that is gone: not asked about, since the answer would be to stop it."""


class ContainerRef(NamedTuple):
    """A container, for the core and for every runtime."""

    task_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a task."""

    name: str
    essential: bool = True
    stop_timeout: int = 30
    restart_policy: RestartPolicy | None = None
    depends_on: tuple[Dependency, ...] = ()
    gpu_ids: tuple[str, ...] = ()
    start_timeout: int | None = None
    phase: Phase = Phase.WAITING
    runtime_id: str | None = None
    run: str | None = None
    """The newest start that was seen of it."""
    running_since: float | None = None
    """When that start was first seen to run; None: it does not run."""
    ran: float = 0.0
    """How long that start ran until its end was seen."""
    image_digest: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    bindings: tuple[NetworkBinding, ...] = ()
    health: HealthStatus = HealthStatus.UNKNOWN
    has_started: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    kill_at: float | None = None
    """When to stop asking and to kill; set while STOPPING."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task, and which of its reports the control plane has."""

    task_id: str
    desired: DesiredStatus = DesiredStatus.RUNNING
    last_status: TaskStatus = TaskStatus.PENDING
    command: TaskCommand | None = None
    """None: adopted from the runtime, or told to stop before it was ever started."""
    found: Origin | None = None
    """What the containers of an adopted task say of it."""
    task_definition: str = ""
    """`family:revision`."""
    command_version: int = 0
    """The newest version of the instance that was seen for this task."""
    containers: tuple[Container, ...] = ()
    planned: bool = False
    """Every container of the task definition is in `containers`."""
    roles: tuple[Role, ...] = ()
    orphan: Orphan | None = None
    listed: bool = False
    """The newest whole list names it."""
    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    execution_stopped_at: datetime | None = None
    stopped_at: datetime | None = None
    forget_at: float | None = None
    removed: bool = False
    """Its containers are removed, or about to be."""
    answer_at: float | None = None
    """When to report where the task stands if nothing has been reported till then."""
    restarts: RestartsInPlace | None = None
    restart_at: float | None = None
    """When to start its containers again; set while the machine is cut off and they have ended."""
    restart_gap: float = 0.0
    """How long it was waited the last time."""

    revision: int = 0
    """Raised by each change worth a report."""
    published_revision: int = 0
    acknowledged_revision: int = 0
    end_revision: int = 0
    """The first whose report says that the task is ending."""
    number: int = 0
    """Of the newest report under the link's epoch."""
    acknowledged_report: tuple[int, int] = (0, 0)
    """(epoch, number) of the newest report that was acknowledged."""

    @property
    def stopped(self) -> bool:
        return self.last_status is TaskStatus.STOPPED

    @property
    def stopping(self) -> bool:
        return self.desired is DesiredStatus.STOPPED or self.stopping_at is not None

    @property
    def orders(self) -> TaskCommand | Origin | None:
        """Who says what becomes of the task while the machine is cut off."""
        return self.command or self.found

    @property
    def stop_after(self) -> int | None:
        """Seconds without contact after which the machine stops the task by itself."""
        return None if self.orders is None else self.orders.stop_after


class Ask(NamedTuple):
    """A task or a task definition that the agent asks for until it has it."""

    due: float
    gap: float


@dataclass(frozen=True, slots=True)
class Publishing:
    """The reports on their way. One message at a time: what changes meanwhile shares the next one."""

    token: int
    began: float
    due: float
    sent: Mapping[str, tuple[int, int]]
    """Task id to (revision, number)."""


@dataclass(frozen=True, slots=True)
class Link:
    """The connection; never stored, since a new one starts from nothing."""

    session: str
    registration: RegisterContainerInstance
    requests: int = 0
    epoch: int = 0
    """What to report under; 0: no whole list has come, nothing may be reported."""
    request_id: str = ""
    """Of the newest Reconcile or RegisterContainerInstance, answered or not."""
    request_version: int = 0
    """The newest version seen when it was sent: an answer with an older one comes from a table that was restored."""
    request_began: float = 0.0
    request_due: float | None = None
    """When to ask again; None: answered."""
    request_gap: float = 0.0
    refusals: int = 0
    request_epoch: int = 0
    """The newest epoch that a whole list has brought in answer to it."""
    orphans_request: tuple[str, tuple[str, ...]] | None = None
    """The id of the newest ReportOrphans, and what it named."""
    orphans_due: float | None = None
    """When to tell them again; None: answered, or nothing to tell."""
    orphans_gap: float = 0.0
    pages: Mapping[int, Mapping[int, Reconciliation]] = field(default_factory=dict)
    """By epoch, then by page: a request that arrives twice is answered twice, under two epochs."""
    asks: Mapping[str, Ask] = field(default_factory=dict)
    """By `task/<id>` or `definition/<family:revision>`."""
    credential_asks: Mapping[RoleRef, Ask] = field(default_factory=dict)
    publishing: Publishing | None = None
    publish_gap: float = 0.0
    company_until: float = 0.0
    """Till when a report waits for those of the tasks that are on their way, too."""
    contact: float = -math.inf
    """When the newest exchange began that this machine began and that was answered."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything. All but `link`, `offline_at`, `cut_off`, `duplicate` and `credentials` is stored before the actions
    of the step that made it are carried out."""

    container_instance_arn: str = ""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    task_definitions: Mapping[str, TaskDefinition] = field(default_factory=dict)
    ended: Mapping[str, float] = field(default_factory=dict)
    """Tasks that are forgotten but must never start (again), and until when that is remembered."""
    list_version: int = 0
    newest_version: int = 0
    publications: int = 0
    orphans_told: tuple[str, ...] = ()
    """The orphans that the control plane has noted."""
    contact: float = -math.inf
    """The newest link's `contact`, while a task depends on it; -inf: nobody knows."""
    rebooted: bool = False
    """The machine has started, and the control plane has not answered since."""
    offline_at: float | None = None
    """When a machine without a connection counts as cut off."""
    cut_off: bool = False
    duplicate: bool = False
    """The control plane has said that another machine uses this one's identity."""
    credentials: Mapping[RoleRef, Credentials] = field(default_factory=dict)
    link: Link | None = None

    def host_ports(self) -> frozenset[HostPort]:
        """The ports of the machine that our own tasks hold."""
        return frozenset(
            HostPort(port=port, protocol=binding.protocol)
            for task in self.tasks.values()
            for container in task.containers
            if container.phase is not Phase.STOPPED
            for binding in container.bindings
            for port in binding.host_ports
        )


def update(value: "Value", **members: Any) -> "Value":
    """`dataclasses.replace`, but the same object if nothing changes, which is not looked at or stored again."""
    if all(getattr(value, name) == member for name, member in members.items()):
        return value
    return replace(value, **members)


@dataclass(frozen=True, slots=True)
class Rules:
    """Durations, in seconds, and what the machine's owner has set."""

    answer_after: float = 2.0
    first_gap: float = 2.0
    longest_gap: float = 60.0
    publish_gap: float = 10.0
    company: float = 0.5
    """How long after a message the next one waits for company, while other tasks are starting or stopping."""
    first_refusal_gap: float = 300.0
    longest_refusal_gap: float = 3600.0
    first_orphans_gap: float = 10.0
    longest_orphans_gap: float = 3600.0
    first_credentials_gap: float = 10.0
    longest_credentials_gap: float = 300.0
    refused_credentials_gap: float = 60.0
    credentials_company: float = 600.0
    """What would be renewed within this time is renewed with the others."""
    kill_again_after: float = 30.0
    keep_stopped: float = 3 * 3600.0
    """How long a stopped task's containers stay for whoever looks for the cause; as long as with Amazon's agent."""
    keep_stopped_jitter: float = 0.0
    """For each task, up to so much longer."""
    withheld: frozenset[str] = frozenset()
    """Attributes of what the machine's owner keeps from tasks, whoever sends them."""
    stop_timeout: int = DEFAULT_STOP_TIMEOUT_SECONDS
    """For containers that say none."""
    pull_upfront: bool = False
    """Pull images before what their containers depend on is as it should be."""
    remember_ended: float = 48 * 3600.0
    connection_wait: float = 60.0
    """How long an agent that has just started waits for a connection before it takes itself for cut off."""
    first_restart_gap: float = 1.0
    longest_restart_gap: float = 300.0
    """A container that ran for so long begins with the first gap again."""
