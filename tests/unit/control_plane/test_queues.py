"""What is sent to the scheduler's queue is what its function reads, one at a time for each service and each fleet."""

import json
from typing import Any

from control_plane.domain.inbox import FleetKey, ServiceKey
from control_plane.gateways.inbox import agent_command, scheduler_key
from control_plane.gateways.queues import Queues


class Sqs:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert QueueUrl in {"scheduler", "commands"}
        self.sent += Entries
        return {}


def test_services_and_fleets() -> None:
    sqs = Sqs()
    queues = Queues(sqs, service_scheduler="scheduler", agent_commands="", events="")
    services = [ServiceKey("default", "web"), ServiceKey("default", "agent", "0" * 32)]
    queues.wake_services([(key, "change-1") for key in services])
    fleets = [FleetKey("default", ""), FleetKey("default", "snapshot-1")]
    for key in fleets:
        queues.keep_fleet_snapshot(key, "change-1")
    assert [scheduler_key(each["MessageBody"]) for each in sqs.sent] == [*services, *fleets]
    assert [each["MessageGroupId"] for each in sqs.sent] == ["default/web", "default/agent", "default/", "default/"]
    assert {each["MessageDeduplicationId"] for each in sqs.sent} == {"change-1"}
    assert len({json.dumps(each["MessageBody"]) for each in sqs.sent}) == 4


def test_services_to_look_at_later() -> None:
    sqs = Sqs()
    queues = Queues(sqs, service_scheduler="", agent_commands="commands", events="")
    services = [ServiceKey("default", "web"), ServiceKey("default", "agent", "0" * 32)]
    for seconds, key in enumerate(services):
        queues.look_at_service_later(key, seconds)
    assert [agent_command(each["MessageBody"]) for each in sqs.sent] == services
    assert [each["DelaySeconds"] for each in sqs.sent] == [0, 1]
