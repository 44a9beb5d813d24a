"""A machine, a network and a cloud in memory, around the agent's real core.

The machine's containers and the stored state survive a crash of the agent; its memory, its queue of events and the
connection do not. The cloud keeps the protocol's side of the bargain and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ecs_anywhere_agent.container_spec import Origin
from ecs_anywhere_agent.core import Instant, Rules, State, next_due, step
from ecs_anywhere_agent.core.actions import (
    Action,
    CreateContainer,
    DropCredentials,
    PublishReports,
    PublishRequest,
    PullImage,
    RemoveContainer,
    RestartContainer,
    StartContainer,
    StopContainer,
)
from ecs_anywhere_agent.core.draft import Draft
from ecs_anywhere_agent.core.events import (
    ActionFailed,
    AgentStarted,
    Attempt,
    Condition,
    Connected,
    ContactProved,
    ContainerChanged,
    ContainerSnapshot,
    Disconnected,
    Event,
    ImagePulled,
    InventoryTaken,
    MessageReceived,
    ReportAcknowledged,
    TimerFired,
)
from ecs_anywhere_agent.core.lifecycle import advance
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_protocol.messages import (
    AgentRequest,
    ControlPlaneMessage,
    CredentialsRefused,
    DescribeTasks,
    GetCredentials,
    ListedTask,
    OrphanReport,
    OrphansNoted,
    Reconcile,
    Reconciliation,
    RegisterContainerInstance,
    RegistrationRequired,
    ReportOrphans,
    RoleCredentials,
    TaskCommand,
    TaskCommands,
    TaskCredentials,
    TaskReport,
)
from ecs_protocol.statuses import SUCCESSORS, DesiredStatus, HealthStatus, TaskStatus

ARN = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/" + "1" * 32
START = datetime(2030, 1, 1, tzinfo=UTC)
DEFINITION: dict[str, Any] = {
    "family": "web",
    "revision": 1,
    "containerDefinitions": [
        {"name": "app", "image": "app:1", "essential": True, "memory": 64, "stopTimeout": 5},
        {"name": "sidecar", "image": "sidecar:1", "essential": False, "memory": 16},
    ],
}


_VERBS: dict[type, str] = {StartContainer: "start", RestartContainer: "restart", StopContainer: "stop"}


def task_id(number: int) -> str:
    return f"{number:032x}"


def instant(seconds: float) -> Instant:
    return Instant(seconds, START + timedelta(seconds=seconds))


def registration(digest: str = "d1") -> RegisterContainerInstance:
    return RegisterContainerInstance(request_id="-", digest=digest, agent_version="1", cpu=1024, memory=1024)


def command(number: int, desired: str = "RUNNING", **members: Any) -> TaskCommand:
    if desired == "STOPPED":
        return TaskCommand(task_id=task_id(number), desired_status=DesiredStatus.STOPPED)
    arn = f"arn:aws:ecs:us-east-1:000000000000:task/default/{task_id(number)}"
    members = {"task_definition": "web:1", "task_arn": arn, "cluster_arn": "default", **members}
    return TaskCommand(task_id=task_id(number), desired_status=DesiredStatus.RUNNING, **members)


class CrashedError(Exception):
    """The agent was killed here."""


@dataclass
class FakeContainer:
    origin: Origin
    condition: Condition = Condition.CREATED
    run: int = 0
    exit_code: int | None = None
    health: HealthStatus = HealthStatus.UNKNOWN


@dataclass
class Runtime:
    """Does an action at once and for certain; what it would tell is returned."""

    containers: dict[ContainerRef, FakeContainer] = field(default_factory=dict)
    starts: dict[ContainerRef, int] = field(default_factory=dict)
    restarts: dict[ContainerRef, int] = field(default_factory=dict)
    obedient: bool = True
    failures: dict[str, Attempt] = field(default_factory=dict)
    runs: int = 0
    """How many there were of all containers: no two have the same."""
    begun: list[str] = field(default_factory=list)
    """`start app`, `restart app`, `stop app`, each as it was asked for."""

    def inventory(self) -> tuple[ContainerSnapshot, ...]:
        return tuple(self.snapshot(ref) for ref in self.containers)

    def snapshot(self, ref: ContainerRef) -> ContainerSnapshot:
        container = self.containers.get(ref)
        if container is None:
            return ContainerSnapshot(ref, Condition.GONE)
        return ContainerSnapshot(
            ref,
            container.condition,
            runtime_id=ref.name,
            run=str(container.run) if container.run else None,
            exit_code=container.exit_code,
            health=container.health,
            origin=container.origin,
        )

    def reboot(self) -> None:
        for ref in self.containers:
            self.end(ref, 255)

    def end(self, ref: ContainerRef, exit_code: int) -> ContainerSnapshot:
        container = self.containers[ref]
        if container.condition is Condition.RUNNING:
            container.condition, container.exit_code = Condition.EXITED, exit_code
        return self.snapshot(ref)

    def do(self, action: Action) -> Event | None:
        if isinstance(action, StartContainer | RestartContainer | StopContainer):
            self.begun.append(f"{_VERBS[type(action)]} {action.ref.name}")
        match action:
            case PullImage():
                attempt = self.failures.get(action.ref.name)
                if attempt in {Attempt.PULL, Attempt.PULL_ECR}:
                    return ActionFailed(action.ref, attempt, "no such image")
                return ImagePulled(action.ref)
            case CreateContainer():
                attempt = self.failures.get(action.ref.name)
                if attempt in {Attempt.RESOURCES, Attempt.CREATE, Attempt.CREATE_VOLUME}:
                    return ActionFailed(action.ref, attempt, "no")
                self.containers.setdefault(action.ref, FakeContainer(action.spec.origin))
            case StartContainer():
                container = self.containers.get(action.ref)
                if self.failures.get(action.ref.name) is Attempt.START:
                    return ActionFailed(action.ref, Attempt.START, "no")
                if container is not None and container.condition is Condition.CREATED:
                    self._begin(container)
                    self.starts[action.ref] = self.starts.get(action.ref, 0) + 1
            case RestartContainer():
                container = self.containers.get(action.ref)
                if self.failures.get(action.ref.name) is Attempt.START:
                    return ActionFailed(action.ref, Attempt.START, "no")
                if container is not None and container.condition is not Condition.RUNNING:
                    self._begin(container)
                    self.restarts[action.ref] = self.restarts.get(action.ref, 0) + 1
            case StopContainer():
                if action.ref in self.containers and (self.obedient or action.kill):
                    return ContainerChanged(self.end(action.ref, 137 if action.kill else 143))
                return None
            case RemoveContainer():
                self.containers.pop(action.ref, None)
                return None
            case _:
                return None
        return ContainerChanged(self.snapshot(action.ref))

    def _begin(self, container: FakeContainer) -> None:
        self.runs += 1
        container.run = self.runs
        container.condition, container.exit_code = Condition.RUNNING, None
        container.health = HealthStatus.UNKNOWN


@dataclass
class CloudTask:
    desired: DesiredStatus = DesiredStatus.RUNNING
    last_status: TaskStatus = TaskStatus.PENDING
    report: TaskReport | None = None
    commanded: int = 0
    members: dict[str, Any] = field(default_factory=dict)

    @property
    def pair(self) -> tuple[int, int]:
        return (self.report.epoch, self.report.number) if self.report else (0, 0)


@dataclass
class Cloud:
    """The control plane's half of the protocol."""

    tasks: dict[str, CloudTask] = field(default_factory=dict)
    version: int = 0
    epoch: int = 0
    digest: str | None = None
    page_size: int = 2
    definition: dict[str, Any] = field(default_factory=lambda: DEFINITION)
    refuses_credentials: str | None = None
    """Why it gives none."""
    orphans: dict[str, OrphanReport] = field(default_factory=dict)
    """As the machine last told them."""
    wall: datetime = START
    """What its clock says."""

    def run(self, number: int, **members: Any) -> TaskCommands:
        self.tasks[task_id(number)] = CloudTask(members=members)
        return self._command(number)

    def stop(self, number: int) -> TaskCommands:
        self.tasks[task_id(number)].desired = DesiredStatus.STOPPED
        return self._command(number)

    def again(self, number: int) -> TaskCommands:
        return TaskCommands(
            version=self.version, tasks=(self._line(task_id(number)),), task_definitions={"web:1": self.definition}
        )

    def unanswered(self) -> list[int]:
        return [
            int(task, 16)
            for task, known in self.tasks.items()
            if known.last_status is not TaskStatus.STOPPED
            and (known.report is None or known.report.command_version < known.commanded)
        ]

    def answer(self, request: AgentRequest) -> list[ControlPlaneMessage]:
        match request:
            case Reconcile() if request.digest != self.digest:
                return [RegistrationRequired(request_id=request.request_id)]
            case DescribeTasks():
                known = [task for task in request.task_ids if task in self.tasks]
                return [
                    TaskCommands(
                        request_id=request.request_id,
                        version=self.version,
                        tasks=tuple(self._line(task) for task in known),
                        task_definitions=dict.fromkeys(request.task_definitions, self.definition),
                        unknown_tasks=tuple(task for task in request.task_ids if task not in self.tasks),
                    )
                ]
            case GetCredentials():
                return [self._credentials(request)]
            case ReportOrphans():
                self.orphans = {each.task_id: each for each in request.orphans}
                return [OrphansNoted(request_id=request.request_id)]
            case RegisterContainerInstance():
                self.digest = request.digest
        self.epoch += 1
        return list(self._list(request.request_id))

    def _credentials(self, request: GetCredentials) -> TaskCredentials:
        reason = self.refuses_credentials
        if reason is not None:
            refused = [
                CredentialsRefused(task_id=each.task_id, role=each.role, reason=reason) for each in request.wanted
            ]
            return TaskCredentials(request_id=request.request_id, refused=tuple(refused))
        given = [
            RoleCredentials(
                task_id=each.task_id,
                role=each.role,
                role_arn="arn:aws:iam::000000000000:role/ecs-anywhere/app",
                access_key_id=request.request_id,
                secret_access_key="secret",
                session_token="token",
                expiration=self.wall + timedelta(hours=1),
            )
            for each in request.wanted
        ]
        return TaskCredentials(request_id=request.request_id, credentials=tuple(given))

    def take(self, report: TaskReport) -> list[TaskCommands]:
        """What is answered: a task that was said to end, and has come back, is to stop."""
        task = self.tasks.get(report.task_id)
        if task is None or (report.epoch, report.number) <= task.pair:
            return []
        if report.last_status == task.last_status or report.last_status in SUCCESSORS[task.last_status]:
            task.report, task.last_status = report, report.last_status
            if task.last_status is TaskStatus.STOPPED:
                task.desired = DesiredStatus.STOPPED
                self.version += 1  # it gives its resources back
            return []
        task.report = report
        return [self.stop(int(report.task_id, 16))]

    def _line(self, task: str) -> TaskCommand:
        known = self.tasks[task]
        return command(int(task, 16), known.desired.value, **known.members)

    def _command(self, number: int) -> TaskCommands:
        self.version += 1
        self.tasks[task_id(number)].commanded = self.version
        return self.again(number)

    def _list(self, request_id: str) -> list[Reconciliation]:
        lines = [
            ListedTask(
                task_id=task,
                desired_status=known.desired,
                task_definition="web:1",
                report_epoch=known.pair[0],
                report_number=known.pair[1],
            )
            for task, known in self.tasks.items()
            if known.last_status is not TaskStatus.STOPPED
        ]
        chunks = [lines[at : at + self.page_size] for at in range(0, len(lines), self.page_size)] or [[]]
        return [
            Reconciliation(
                request_id=request_id,
                page=page,
                pages=len(chunks),
                epoch=self.epoch,
                version=self.version,
                tasks=tuple(chunk),
            )
            for page, chunk in enumerate(chunks, 1)
        ]


class Machine:
    """The agent with its drivers. Every store and every action is a point at which it may be killed."""

    def __init__(self, cloud: Cloud, rules: Rules | None = None) -> None:
        self.cloud = cloud
        self.rules = rules or Rules()
        self.runtime = Runtime()
        self.held = HeldCredentials()
        self.asked: list[GetCredentials] = []
        self.stored = State()
        self.state = State()
        self.events: list[Event] = []
        self.now = 0.0
        self.connected = False
        self.sessions = 0
        self.points = 0
        self.crash_at: int | None = None
        self.published = 0
        self.lose: Callable[[object], bool] = lambda _: False
        self.told_to_stop: set[str] = set()
        self.started_after_stop: list[ContainerRef] = []
        self.start_of_time = START

    def boot(self, *, rebooted: bool = False) -> None:
        """The agent starts, after a crash or with the machine."""
        if rebooted:
            self.runtime.reboot()
        self.state = replace(self.stored, link=None, offline_at=None, cut_off=False, credentials={})
        self.held = HeldCredentials()
        self.events = []
        self.connected = False
        self.take(AgentStarted(ARN, rebooted))
        self.take(InventoryTaken(self.runtime.inventory()))

    def connect(self) -> None:
        self.sessions += 1
        self.connected = True
        self.take(Connected(f"s{self.sessions}", registration()))
        self.take(ContactProved(self.now))

    def disconnect(self) -> None:
        self.connected = False
        self.take(Disconnected())

    def take(self, event: Event) -> None:
        state, actions = step(self.state, event, instant(self.now), self.rules)
        if not isinstance(event, AgentStarted):
            self._check_rest(state)
        self._point()
        self.stored = self.state = state
        for action in actions:
            self._point()
            self._do(action)

    def deliver(self, message: ControlPlaneMessage) -> None:
        """A message from the cloud: gone if there is no connection."""
        if self.connected and not self.lose(message):
            if isinstance(message, TaskCommands):
                self.told_to_stop.update(
                    line.task_id for line in message.tasks if line.desired_status is DesiredStatus.STOPPED
                )
            self.take(self._heard(message))

    def drain(self) -> None:
        """Until nothing is to be done now."""
        taken = 0
        while self.events:
            taken += 1
            assert taken < 1000, "what brings about itself again and again keeps an agent busy for nothing"
            self.take(self.events.pop(0))

    def settle(self, seconds: float) -> None:
        """Let time pass, timers fire and the cloud repeat what was not answered."""
        end = self.now + seconds
        self.drain()
        fired = 0
        while True:
            due = next_due(self.state)
            if due is None or due > end:
                break
            fired = 0 if due > self.now else fired + 1
            assert fired < 100, "a due time that comes again and again at one moment keeps an agent busy for nothing"
            self.now = max(self.now, due)
            self.take(TimerFired())
            self.drain()
        self.now = end

    def _point(self) -> None:
        self.points += 1
        if self.points == self.crash_at:
            raise CrashedError

    def _do(self, action: Action) -> None:
        match action:
            case PublishRequest():
                self.published += 1
                if isinstance(action.message, GetCredentials):
                    self.asked.append(action.message)
                if self.connected and not self.lose(action.message):
                    self.cloud.wall = instant(self.now).wall
                    self.events.extend(
                        self._heard(answer) for answer in self.cloud.answer(action.message) if not self.lose(answer)
                    )
            case DropCredentials():
                self.held.drop(action.task_id)
            case PublishReports():
                self.published += 1
                if self.connected and not self.lose(action.message):
                    for report in action.message.reports:
                        self.events.extend(MessageReceived(answer) for answer in self.cloud.take(report))
                    if not self.lose(action):
                        self.events.append(ReportAcknowledged(action.token))
            case _:
                event = self.runtime.do(action)
                if isinstance(action, StartContainer | RestartContainer):
                    self._check_start(action.ref)
                if event is not None:
                    self.events.append(event)

    def _heard(self, message: ControlPlaneMessage) -> Event:
        """As the agent's loop takes it in."""
        if isinstance(message, TaskCredentials):
            return self.held.receive(message, jitter=0.5)
        return MessageReceived(message)

    def _check_rest(self, state: State) -> None:
        """A step takes every task as far as it can go, also those that it does not look at."""
        again = Draft(state, instant(self.now), self.rules)
        for task in state.tasks.values():
            advance(again, task)
        assert (again.state, again.actions) == (state, [])

    def _check_start(self, ref: ContainerRef) -> None:
        """Stored first: what the stored state says to stop must not have been started by a later step."""
        task = self.stored.tasks.get(ref.task_id)
        running = ref in self.runtime.containers and self.runtime.containers[ref].condition is Condition.RUNNING
        told = ref.task_id in self.stored.ended or (task is not None and task.desired is DesiredStatus.STOPPED)
        if running and told:
            self.started_after_stop.append(ref)
