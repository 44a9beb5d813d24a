"""What AWS brings, as the flows' own types: bodies of SQS messages and records of the table's stream."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from control_plane.domain.inbox import (
    Envelope,
    FleetKey,
    InstanceLook,
    Look,
    Presence,
    ServiceKey,
    StreamRecord,
    TaskKey,
)
from control_plane.store.items import from_wire


def envelope(body: str) -> Envelope:
    """What the rules of template.yaml select: `principal()`, `clientid()`, `topic()`, and the payload in base64."""
    message = json.loads(body)
    return Envelope(
        client_id=message["clientId"],
        principal=message["principal"],
        topic=message["topic"],
        payload=base64.b64decode(message["payload"]),
        received_at=_from_milliseconds(message["receivedAt"]),
    )


def presence(body: str) -> Presence:
    """https://docs.aws.amazon.com/iot/latest/developerguide/life-cycle-events.html"""
    event = json.loads(body)
    return Presence(
        client_id=event["clientId"],
        event_type=event["eventType"],
        session=event["sessionIdentifier"],
        version_number=event.get("versionNumber", 0),
        timestamp=_from_milliseconds(event["timestamp"]),
        disconnect_reason=event.get("disconnectReason"),
        principal=event.get("principalIdentifier"),
    )


def scheduler_key(body: str) -> ServiceKey | FleetKey:
    """The scheduler's queue brings services to look at, and clusters of whose instances a snapshot is to be kept."""
    message = json.loads(body)
    if "outgrownSnapshot" in message:
        return FleetKey(message["cluster"], message["outgrownSnapshot"])
    return ServiceKey(message["cluster"], message["service"], message.get("instanceId"))


def agent_command(body: str) -> TaskKey | InstanceLook | ServiceKey:
    """The queue of commands brings tasks whose machines are to be told, and instances and services to look at."""
    message = json.loads(body)
    if "service" in message:
        return ServiceKey(message["cluster"], message["service"], message.get("instanceId"))
    if "look" in message:
        return InstanceLook(
            message["cluster"], message["instanceId"], Look(message["look"]), message["at"], message["epoch"]
        )
    return TaskKey(message["cluster"], message["taskId"], message["instanceId"])


def stream_record(record: Mapping[str, Any]) -> StreamRecord:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html"""
    return StreamRecord(
        event_id=record["eventID"],
        event_name=record["eventName"],
        new_image=from_wire(record["dynamodb"].get("NewImage", {})),
    )


def _from_milliseconds(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
