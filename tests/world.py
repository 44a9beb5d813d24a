"""A control plane in one process: the real flows and store over a DynamoDB, with fakes that copy at the other edges.

What the streams would bring is recorded at each commit and handed on when a test says so, so that a test decides what
is lost, repeated or late.
"""

import copy
import io
import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from control_plane.domain.arns import Arns
from control_plane.domain.authorization import Caller, Policy, Statement
from control_plane.domain.inbox import Envelope, FleetKey, InstanceLook, Presence, ServiceKey, StreamRecord, TaskKey
from control_plane.flows.answer_agent_request import answer_agent_request
from control_plane.flows.check_roles import check_roles
from control_plane.flows.clusters import create_cluster
from control_plane.flows.keep_fleet_snapshot import keep_fleet_snapshots
from control_plane.flows.look_at_container_instance import look_at_container_instances
from control_plane.flows.look_at_service import look_at_services
from control_plane.flows.note_presence import note_presence
from control_plane.flows.publish_events import publish_events
from control_plane.flows.run_task_event import run_waiting_event
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.send_agent_commands import send_agent_commands
from control_plane.flows.submit_task_state_change import submit_task_state_changes
from control_plane.flows.sweep import sweep
from control_plane.flows.task_definitions import register_task_definition
from control_plane.gateways.administrator_key import AdministratorKey
from control_plane.gateways.event_bus import EventBus
from control_plane.gateways.identities import Certificate, RegistryBusyError
from control_plane.gateways.role_broker import RoleBroker
from control_plane.gateways.roles import Roles
from control_plane.gateways.signing_keys import SigningKeys
from control_plane.gateways.streams import Streams
from control_plane.runtime import ControlPlane
from control_plane.store import instances, keys, policies
from control_plane.store.items import Item
from control_plane.store.table import Table, Write
from ecs_protocol.capabilities import DOCKER_FEATURES, DOCKER_FEATURES_OF_SOME, announced_attributes
from ecs_protocol.messages import (
    Attribute,
    ControlPlaneMessage,
    HostPort,
    Message,
    Probe,
    Reconcile,
    RegisterContainerInstance,
    TaskReport,
    TaskStateChanges,
)
from ecs_protocol.names import thing_name, topics
from ecs_protocol.statuses import TaskStatus

PREFIX = "ecs-anywhere"
ADMINISTRATOR = Caller(principal="administrator", administrator=True)
START = datetime(2026, 1, 1, tzinfo=UTC)

TABLE_SCHEMA: dict[str, Any] = {
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
"""As template.yaml has it; a contract test compares the two."""


class RecordingTable(Table):
    """The table, with its stream: the new image of each item that a commit wrote."""

    def __init__(self, client: Any, name: str) -> None:
        super().__init__(client, name)
        self.stream: list[StreamRecord] = []
        self.recording = True
        """Off where every read is counted: to record is to read."""
        self.unseen: Callable[[], AbstractContextManager[None]] = nullcontext
        """Or what keeps the reads of recording from being counted."""
        self._numbers = itertools.count(1)

    def commit(self, writes: Sequence[Write]) -> None:
        super().commit(writes)
        with self.unseen():
            for write in writes if self.recording else ():
                if write.action in {"Put", "Update"}:
                    self._record(self.get(write.key))

    def update(self, write: Write) -> Item:
        item = super().update(write)
        self._record(item)
        return item

    def _record(self, item: Item | None) -> None:
        if item is not None:
            self.stream.append(StreamRecord(f"event-{next(self._numbers)}", "MODIFY", copy.deepcopy(item)))


@dataclass
class FakeAgents:
    """Keeps what was sent to each instance."""

    sent: list[tuple[str, ControlPlaneMessage]] = field(default_factory=list)
    unreachable: bool = False

    ended: list[str] = field(default_factory=list)
    """Whose sessions were ended."""

    def end_session(self, instance_id: str) -> None:
        self.ended.append(instance_id)

    def send(self, instance_id: str, message: ControlPlaneMessage) -> None:
        if self.unreachable:
            raise _client_error("Publish")
        self.sent.append((instance_id, message))

    def take(self, instance_id: str) -> list[ControlPlaneMessage]:
        mine = [message for to, message in self.sent if to == instance_id]
        self.sent = [(to, message) for to, message in self.sent if to != instance_id]
        return mine


@dataclass
class FakeEvents:
    """Stands for boto3's events client."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    refuse: bool = False

    def put_events(self, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.refuse:
            return {"Entries": [{"ErrorCode": "ThrottlingException"} for _ in Entries]}
        self.entries += [dict(entry) for entry in Entries]
        return {"Entries": [{"EventId": str(number)} for number in range(len(Entries))]}


@dataclass
class FakeQueues:
    """Keeps what was sent to each queue."""

    clock: Callable[[], datetime] = lambda: START
    services: list[tuple[ServiceKey, str]] = field(default_factory=list)
    timers: list[tuple[datetime, ServiceKey]] = field(default_factory=list)
    """Services to look at then."""
    commands: list[Mapping[str, str]] = field(default_factory=list)
    looks: list[InstanceLook] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    waiting_later: list[tuple[datetime, str]] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    credentials: list[Envelope] = field(default_factory=list)
    fleets: list[FleetKey] = field(default_factory=list)

    def keep_fleet_snapshot(self, key: FleetKey, change: str) -> None:
        del change
        self.fleets.append(key)

    def wake_services(self, keys: Sequence[tuple[ServiceKey, str]]) -> None:
        self.services += keys

    def command_later(self, keys: Sequence[Mapping[str, str]], delay_seconds: int = 0) -> None:
        del delay_seconds
        self.commands += keys

    def look_later(self, looks: Sequence[InstanceLook]) -> None:
        self.looks += looks

    def look_at_service_later(self, key: ServiceKey, delay_seconds: int) -> None:
        assert 0 <= delay_seconds <= 900, "SQS takes no other"
        self.timers.append((self.clock() + timedelta(seconds=delay_seconds), key))

    def those_out(self) -> list[ServiceKey]:
        """Whose timers have run out; they are gone then. So are delayed events, which are brought now."""
        out = [key for at, key in self.timers if at <= self.clock()]
        self.timers = [(at, key) for at, key in self.timers if at > self.clock()]
        self.waiting += [each for at, each in self.waiting_later if at <= self.clock()]
        self.waiting_later = [(at, each) for at, each in self.waiting_later if at > self.clock()]
        return out

    def publish_later(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.events += entries

    def run_waiting(self, request_ids: Sequence[str], delay_seconds: int = 0) -> None:
        assert 0 <= delay_seconds <= 900, "SQS takes no other"
        if delay_seconds:
            self.waiting_later += [(self.clock() + timedelta(seconds=delay_seconds), each) for each in request_ids]
        else:
            self.waiting += request_ids

    def hand_on(self, request: Envelope) -> None:
        self.credentials.append(request)

    def give_up_event(self, event: str) -> None:
        self.given_up.append(event)

    def replay(self, name: str) -> int:
        del name
        return 0


@dataclass
class FakeRegistry:
    """AWS IoT's registry: certificates are numbered, and remember what they were attached to and their status."""

    attached: dict[str, tuple[set[str], str]] = field(default_factory=dict)
    """By thing: its certificates, and its cluster."""
    status: dict[str, Literal["INACTIVE", "ACTIVE", "REVOKED"]] = field(default_factory=dict)
    """By certificate."""
    busy: bool = False
    made: int = 0

    @property
    def retired(self) -> set[str]:
        return {principal for principal, status in self.status.items() if status == "REVOKED"}

    @property
    def in_use(self) -> set[str]:
        return {principal for principal, status in self.status.items() if status == "ACTIVE"}

    def certify(self, csr_pem: str) -> Certificate:
        if self.busy:
            raise RegistryBusyError("certify")
        if "CERTIFICATE REQUEST" not in csr_pem:
            raise ValueError("not a CSR")
        self.made += 1
        self.status[f"certificate-{self.made}"] = "INACTIVE"
        return Certificate(f"arn:aws:iot:eu-west-1:123456789012:cert/certificate-{self.made}", "PEM")

    def attach(self, certificate: Certificate, thing: str, cluster: str) -> None:
        principals, _ = self.attached.get(thing, (set(), cluster))
        self.attached[thing] = (principals | {certificate.principal}, cluster)

    def activate(self, principal: str) -> None:
        self.status[principal] = "ACTIVE"

    def cluster_of(self, thing: str, principal: str) -> str | None:
        principals, cluster = self.attached.get(thing, (set(), ""))
        return cluster if principal in principals else None

    def retire(self, principal: str, thing: str) -> None:
        self.status[principal] = "REVOKED"
        if thing in self.attached:
            self.attached[thing][0].discard(principal)

    def mqtt_endpoint(self) -> str:
        return "mqtt.example.com:8883"


@dataclass
class FakeSecrets:
    """Stands for boto3's secretsmanager client: the versions of each secret, the newest last."""

    versions: dict[str, list[dict[str, str]]] = field(
        default_factory=lambda: {
            "administrator": [{"accessKeyId": "ADMINISTRATOR", "secretAccessKey": "secret"}],
            "signing": [{"signingKey": "the first signing key"}],
        }
    )
    reads: int = 0

    def get_secret_value(self, SecretId: str, VersionStage: str = "AWSCURRENT") -> dict[str, str]:  # noqa: N803 - boto3's names
        self.reads += 1
        age = {"AWSCURRENT": 1, "AWSPREVIOUS": 2}[VersionStage]
        if age > len(self.versions[SecretId]):
            raise _client_error("GetSecretValue", "ResourceNotFoundException")
        return {"SecretString": json.dumps(self.versions[SecretId][-age])}


STREAM_ROLE = "arn:aws:iam::123456789012:role/streams"


@dataclass
class FakeSts:
    """Stands for boto3's sts client: every role trusts it, but for those that do not."""

    untrusting: set[str] = field(default_factory=set)
    failing: str | None = None
    """With which error each call fails."""
    calls: list[dict[str, Any]] = field(default_factory=list)

    def assume_role(self, **call: Any) -> dict[str, Any]:
        self.calls.append(call)
        if self.failing is not None:
            raise _client_error("AssumeRole", self.failing)
        if call["RoleArn"] in self.untrusting:
            raise _client_error("AssumeRole", "AccessDenied")
        number = len(self.calls)
        return {
            "Credentials": {
                "AccessKeyId": f"ASIA{number}",
                "SecretAccessKey": f"secret-{number}",
                "SessionToken": f"token-{number}",
                "Expiration": START + timedelta(seconds=call["DurationSeconds"]),
            }
        }


class FakeLambda:
    """Stands for boto3's lambda client: invokes the function that assumes roles."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.invoked = 0
        self.error: str | None = None

    def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        del FunctionName
        self.invoked += 1
        if self.error is not None:
            raise _client_error("Invoke", self.error)
        asked = json.loads(Payload)
        refused = check_roles(self._world.cp, asked["cluster"], asked["roles"])
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps({"refused": refused}).encode())}


def _client_error(operation: str, code: str = "ServiceUnavailable") -> Exception:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only where it is raised

    return ClientError({"Error": {"Code": code, "Message": "injected"}}, operation)


class World:
    """The control plane and its edges. `client` is a boto3 DynamoDB client."""

    def __init__(self, client: Any, seed: int = 0, table_name: str = "world") -> None:
        client.create_table(TableName=table_name, **TABLE_SCHEMA)
        self.random = random.Random(seed)
        self.now = START
        self.table = RecordingTable(client, table_name)
        self.agents = FakeAgents()
        self.events = FakeEvents()
        self.queues = FakeQueues(lambda: self.now)
        self.registry = FakeRegistry()
        self.secrets = FakeSecrets()
        self.sts = FakeSts()
        self.lambdas = FakeLambda(self)
        self.cp = self.function()
        self.sessions: dict[str, int] = {}
        self.silent: set[str] = set()
        """Machines that answer no probe."""

    def function(self) -> ControlPlane:
        """Another warm function over the same table, with nothing remembered."""
        return ControlPlane(
            table=self.table,
            arns=Arns(region="eu-west-1", account="123456789012"),
            prefix=PREFIX,
            agents=self.agents,  # type: ignore[arg-type]
            registry=self.registry,  # type: ignore[arg-type]
            bus=EventBus(self.events, "bus"),
            queues=self.queues,  # type: ignore[arg-type]
            administrator_key=AdministratorKey(self.secrets, "administrator", lambda: self.now),
            signing_keys=SigningKeys(self.secrets, "signing", lambda: self.now),
            roles=Roles(self.sts),
            streams=Streams(
                self.sts,
                STREAM_ROLE,
                prefix=PREFIX,
                iot_arn="arn:aws:iot:eu-west-1:123456789012",
                endpoint=lambda: "wss://mqtt.example.com",
            ),
            role_broker=RoleBroker(self.lambdas, "credentials", lambda: self.now),
            clock=lambda: self.now,
            new_id=lambda: f"{self.random.getrandbits(128):032x}",
            random=self.random.random,
            sleep=lambda seconds: None,
        )

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- a user

    def cluster(self, name: str = "default") -> str:
        create_cluster(self.cp, {"clusterName": name})
        return name

    def task_definition(
        self, family: str = "web", *, memory: int = 64, cpu: int = 128, task_role: str | None = None, **members: Any
    ) -> str:
        container = {"name": "main", "image": "busybox", "memory": memory, "cpu": cpu, **members}
        request: dict[str, Any] = {"family": family, "networkMode": "host", "containerDefinitions": [container]}
        if task_role:
            request["taskRoleArn"] = task_role
        answer = register_task_definition(self.cp, {**request, "requiresCompatibilities": ["EXTERNAL"]})
        return f"{family}:{answer['taskDefinition']['revision']}"

    def allow(self, principal: str, *actions: str) -> None:
        """A policy of one statement, on everything."""
        statement = Statement(effect="Allow", actions=actions, resources=("*",))
        self.table.commit([policies.put(Policy(principal=principal, name="allowed", statements=(statement,)))])

    # --- a machine

    def machine(
        self,
        cluster: str = "default",
        *,
        cpu: int = 2048,
        memory: int = 2048,
        ports: Sequence[int] = (),
        gpus: Sequence[str] = (),
        capabilities: Sequence[str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """A machine with an identity that has registered. Answers its instance id."""
        instance_id = self.identity(cluster)
        self.register(
            instance_id,
            cpu=cpu,
            memory=memory,
            ports=ports,
            gpus=gpus,
            capabilities=capabilities,
            attributes=attributes,
        )
        return instance_id

    def identity(self, cluster: str = "default") -> str:
        """The instance id of a machine that may register."""
        instance_id = f"{self.random.getrandbits(128):032x}"
        self.registry.attach(
            Certificate(f"arn:aws:iot:::cert/cert-{instance_id}", "PEM"), thing_name(PREFIX, instance_id), cluster
        )
        return instance_id

    def register(
        self,
        instance_id: str,
        *,
        cpu: int = 2048,
        memory: int = 2048,
        ports: Sequence[int] = (),
        gpus: Sequence[str] = (),
        capabilities: Sequence[str] | None = None,
        attributes: Mapping[str, str] | None = None,
        digest: str | None = None,
    ) -> None:
        of_gpus = (GPU_CAPABILITY,) if gpus else ()
        names = (*EVERY_CAPABILITY, *of_gpus) if capabilities is None else capabilities
        valued = attributes or {}
        self.say(
            instance_id,
            RegisterContainerInstance(
                request_id="register",
                digest=digest
                or f"{cpu}-{memory}-{sorted(ports)}-{hash((tuple(gpus), tuple(names), tuple(valued.items())))}",
                agent_version="1.0.0",
                cpu=cpu,
                memory=memory,
                ports_in_use=tuple(HostPort(port=port) for port in ports),
                gpu_ids=tuple(gpus),
                attributes=(
                    *(Attribute(name=name) for name in names),
                    *(Attribute(name=name, value=value) for name, value in valued.items()),
                ),
            ),
        )

    def envelope(self, instance_id: str, message: Message, *, principal: str | None = None) -> Envelope:
        thing = thing_name(PREFIX, instance_id)
        return Envelope(
            client_id=thing,
            principal=principal or f"cert-{instance_id}",
            topic=topics(PREFIX, thing).requests,
            payload=message.to_json().encode(),
            received_at=self.now,
        )

    def say(self, instance_id: str, message: Message, **options: Any) -> None:
        answer_agent_request(self.cp, self.envelope(instance_id, message, **options))

    def report(self, *reports: TaskReport, instance_id: str) -> set[int]:
        changes = TaskStateChanges(reports=reports)
        return submit_task_state_changes(self.cp, [self.envelope(instance_id, changes)])

    def report_of(self, task_id: str, status: TaskStatus, number: int, **members: Any) -> TaskReport:
        return TaskReport(task_id=task_id, epoch=members.pop("epoch", 1), number=number, last_status=status, **members)

    def connects(self, instance_id: str) -> None:
        """A new session begins; the agent opens it with a reconciliation."""
        self.presence(instance_id, "connected")
        self.silent.discard(instance_id)
        self.reconciles(instance_id)
        self.deliver()

    def reconciles(self, instance_id: str, cluster: str = "default") -> None:
        registration = self.table.get(keys.registration(cluster, instance_id))
        if registration is not None:
            self.say(instance_id, Reconcile(request_id="reconciles", digest=registration["digest"]))

    def disconnects(self, instance_id: str) -> None:
        """The newest session ends, and the lifecycle event has been waited for."""
        self.silent.add(instance_id)
        self.presence(instance_id, "disconnected")
        self.deliver()

    def presence(self, instance_id: str, event: Literal["connected", "disconnected"]) -> None:
        known = self.sessions.get(instance_id, 0)
        number = known + 1 if event == "connected" or not known else known
        self.sessions[instance_id] = number
        note_presence(
            self.cp,
            Presence(
                client_id=thing_name(PREFIX, instance_id),
                event_type=event,
                session=f"session-{number}",
                version_number=number,
                timestamp=self.now,
            ),
        )

    # --- what the streams and queues bring

    def minutes(self, count: float, *, sweeps_each: float = 1) -> None:
        """Time passes, and the sweeper comes each minute, or more seldom."""
        while count > 0:
            self.pass_time(60 * min(count, sweeps_each))
            count -= sweeps_each
            sweep(self.cp)
            looks, self.queues.looks = self.queues.looks, []
            assert not look_at_container_instances(self.cp, looks)
            for instance_id in [to for to, message in self.agents.sent if isinstance(message, Probe)]:
                self.agents.sent = [(to, each) for to, each in self.agents.sent if each != Probe() or to != instance_id]
                if instance_id not in self.silent:
                    self.reconciles(instance_id)
            self.deliver()

    def deliver(self) -> None:
        """Hand on what the stream holds and what is due by now, until nothing comes of it any more."""
        assert not look_at_services(self.cp, self.queues.those_out())
        while self.table.stream or self.queues.services or self.queues.waiting or self.queues.fleets:
            records, self.table.stream = self.table.stream, []
            self.deliver_commands(records)
            publish_events(self.cp, records)
            keys, self.queues.services = self.queues.services, []
            assert not schedule_services(self.cp, [key for key, _ in keys])
            fleets, self.queues.fleets = self.queues.fleets, []
            assert not keep_fleet_snapshots(self.cp, fleets)
            events, self.queues.waiting = self.queues.waiting, []
            for request_id in events:
                run_waiting_event(self.cp, request_id)

    def deliver_commands(self, records: Sequence[StreamRecord]) -> None:
        """To the agents: what the template's filter lets through."""
        awaiting = [record.new_image for record in records if record.new_image.get("awaiting")]
        send_agent_commands(
            self.cp, [TaskKey(image["cluster"], image["taskId"], image["instanceId"]) for image in awaiting]
        )

    # --- what is true

    def instance(self, instance_id: str, cluster: str = "default") -> Any:
        return instances.load(self.table, cluster, instance_id)


EVERY_CAPABILITY = announced_attributes(DOCKER_FEATURES | (DOCKER_FEATURES_OF_SOME - {"gpu"}))
"""Of a machine without GPUs."""
GPU_CAPABILITY = "ecs-anywhere.capability.gpu"
