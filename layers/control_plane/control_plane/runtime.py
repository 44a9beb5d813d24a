"""The composition root: what flows are given, and the only reader of the environment."""

import gc
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from random import SystemRandom
from typing import Any

import boto3
from botocore.config import Config

from control_plane.domain.arns import Arns
from control_plane.domain.container_instance import Registration
from control_plane.domain.scheduling.departures import Limits
from control_plane.gateways.administrator_key import AdministratorKey
from control_plane.gateways.agents import AgentGateway
from control_plane.gateways.event_bus import EventBus
from control_plane.gateways.identities import IdentityRegistry
from control_plane.gateways.queues import Queues
from control_plane.gateways.role_broker import RoleBroker
from control_plane.gateways.roles import Roles
from control_plane.gateways.signing_keys import SigningKeys
from control_plane.gateways.streams import Streams
from control_plane.store.cache import Definitions
from control_plane.store.fleet import Fleet
from control_plane.store.fleet_changes import FollowedClusters
from control_plane.store.principals import Principals
from control_plane.store.table import Table, answering_in_json

_CONFIG = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=3, read_timeout=10)
_ONE_TRY = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=2, read_timeout=8)
"""For what a caller waits for, and can do without."""


@dataclass
class ControlPlane:
    """What a flow may use. Made once for each Lambda environment, by hand in tests.

    Clients are made when first used, so that a function pays at its start only for what it needs.
    """

    table: Table
    arns: Arns
    prefix: str
    agents: AgentGateway
    registry: IdentityRegistry
    bus: EventBus
    queues: Queues
    administrator_key: AdministratorKey
    """Only for the function that verifies signatures, which is the one that answers lists."""
    signing_keys: SigningKeys
    """Only for that one, and the one that makes keys."""
    roles: Roles
    """Only for the function that gives credentials of tasks' roles."""
    streams: Streams
    """Only for those that open streams between operators and machines."""
    role_broker: RoleBroker
    """That function, for those that start tasks."""
    mqtt_ca_base64: str = ""
    agent_poll_endpoint: str = ""
    """Where Amazon's own agent is spoken to; empty: nowhere."""
    ecs_endpoint_host: str = ""
    """The host of that address, where something in front of the API tells it another one; empty: it does not."""
    ecs_endpoint_path: str = ""
    """The path of the address that clients call, which they sign with the rest."""
    limits: Limits = field(default_factory=Limits)
    """How fast the tasks of machines that went away may be replaced."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    new_id: Callable[[], str] = field(default=lambda: uuid.uuid4().hex)
    """32 random hexadecimal digits."""
    random: Callable[[], float] = field(default_factory=lambda: SystemRandom().random)
    """0 to 1, for jitter."""
    sleep: Callable[[float], None] = time.sleep

    registrations: dict[tuple[str, int], Registration] = field(default_factory=dict)
    """By instance id and registration number."""

    @property
    def token_key(self) -> bytes:
        """What nextTokens are authenticated with (domain/pages.py)."""
        return self.administrator_key.derived("nextToken")

    @cached_property
    def definitions(self) -> Definitions:
        return Definitions(self.table)

    @cached_property
    def principals(self) -> Principals:
        return Principals(self.table)

    @cached_property
    def fleet(self) -> Fleet:
        return Fleet(self.table)

    @cached_property
    def followed_clusters(self) -> FollowedClusters:
        return FollowedClusters(self.table)


class _Client:
    """A boto3 client that is made at its first call."""

    def __init__(
        self, service: str, config: Config = _CONFIG, prepared: Callable[[Any], Any] = lambda client: client
    ) -> None:
        self._service = service
        self._config = config
        self._prepared = prepared

    @cached_property
    def _made(self) -> Any:
        make: Any = boto3.client  # its overloads want a literal name
        client = self._prepared(make(self._service, config=self._config))
        # What is there by now lives as long as the function. Were it not set aside, the collector would go through all
        # of it several times while a large fleet is read, which then takes twice as long.
        gc.freeze()
        return client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


@lru_cache(maxsize=1)
def control_plane() -> ControlPlane:
    """The control plane of this Lambda function. A variable that a function lacks is one that it has no use for."""
    env = os.environ.get
    arns = Arns(region=env("AWS_REGION", ""), account=env("ACCOUNT_ID", ""), partition=env("AWS_PARTITION_NAME", "aws"))
    registry = IdentityRegistry(_Client("iot"), env("IOT_POLICY_NAME", ""), env("MQTT_ENDPOINT", ""))
    return ControlPlane(
        table=Table(_Client("dynamodb", prepared=answering_in_json), env("TABLE_NAME", "")),
        arns=arns,
        prefix=env("PREFIX", ""),
        agents=AgentGateway(_Client("iot-data"), env("PREFIX", "")),
        registry=registry,
        bus=EventBus(_Client("events"), env("EVENT_BUS_NAME", "")),
        queues=Queues(
            _Client("sqs"),
            service_scheduler=env("SERVICE_QUEUE_URL", ""),
            agent_commands=env("AGENT_COMMANDS_QUEUE_URL", ""),
            events=env("EVENTS_QUEUE_URL", ""),
            run_task=env("RUN_TASK_QUEUE_URL", ""),
            credentials=env("CREDENTIALS_QUEUE_URL", ""),
            run_task_dead_letters=env("RUN_TASK_DLQ_QUEUE_URL", ""),
            prefix=env("PREFIX", ""),
        ),
        administrator_key=AdministratorKey(
            _Client("secretsmanager"), env("ADMINISTRATOR_KEY_SECRET_ARN", ""), lambda: datetime.now(UTC)
        ),
        signing_keys=SigningKeys(
            _Client("secretsmanager"), env("SIGNING_KEY_SECRET_ARN", ""), lambda: datetime.now(UTC)
        ),
        streams=Streams(
            _Client("sts"),
            env("STREAM_ROLE_ARN", ""),
            prefix=env("PREFIX", ""),
            iot_arn=f"arn:{arns.partition}:iot:{arns.region}:{arns.account}",
            endpoint=lambda: env("STREAM_ENDPOINT") or f"wss://{registry.mqtt_endpoint().partition(':')[0]}",
        ),
        roles=Roles(_Client("sts")),
        role_broker=RoleBroker(
            _Client("lambda", _ONE_TRY), env("CREDENTIALS_FUNCTION_NAME", ""), lambda: datetime.now(UTC)
        ),
        limits=Limits(
            mass_disconnect=int(env("MASS_DISCONNECT_PERCENT", "50")),
            replaced_a_minute=int(env("REPLACED_A_MINUTE_PERCENT", "10")),
        ),
        mqtt_ca_base64=env("MQTT_CA_BASE64", ""),
        agent_poll_endpoint=env("AGENT_POLL_ENDPOINT", ""),
        ecs_endpoint_host=env("ECS_ENDPOINT_HOST", ""),
        ecs_endpoint_path=env("ECS_ENDPOINT_PATH", ""),
    )
