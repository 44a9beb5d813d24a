"""SQS: keys and finished events that somebody will look at later. A message is a reason to look, never the truth."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.inbox import Envelope, FleetKey, InstanceLook, ServiceKey

_MAX_ENTRIES = 10

REPLAYED_AT_ONCE = 500
"""Messages that one call moves within the time that its function has."""


class QueueError(Exception):
    """SQS took only some of the messages: the sender's own message must come again."""


class Queues:
    """`client` is a boto3 sqs client; a URL is empty where a function has no business with that queue."""

    def __init__(
        self,
        client: Any,
        *,
        service_scheduler: str,
        agent_commands: str,
        events: str,
        run_task: str = "",
        credentials: str = "",
        run_task_dead_letters: str = "",
        prefix: str = "",
    ) -> None:
        self._client = client
        self._service_scheduler = service_scheduler
        self._agent_commands = agent_commands
        self._events = events
        self._run_task = run_task
        self._credentials = credentials
        self._run_task_dead_letters = run_task_dead_letters
        self._prefix = prefix

    def wake_services(self, keys: Iterable[tuple[ServiceKey, str]]) -> None:
        """Each with the id of the change that concerns it: never the body, which SQS would take for a repetition."""
        self._send(
            self._service_scheduler,
            [
                {
                    "MessageBody": json.dumps(_of_service(key)),
                    "MessageGroupId": f"{key.cluster}/{key.service}",
                    "MessageDeduplicationId": change,
                }
                for key, change in keys
            ],
        )

    def keep_fleet_snapshot(self, key: FleetKey, change: str) -> None:
        """The scheduler's function makes it: in a group of its own, where no service waits behind it."""
        self._send(
            self._service_scheduler,
            [
                {
                    "MessageBody": json.dumps({"cluster": key.cluster, "outgrownSnapshot": key.outgrown}),
                    "MessageGroupId": f"{key.cluster}/",
                    "MessageDeduplicationId": change,
                }
            ],
        )

    def command_later(self, keys: Sequence[Mapping[str, str]], delay_seconds: int = 0) -> None:
        """Keys of tasks ({cluster, taskId, instanceId}) whose commands are to be sent."""
        self._send(
            self._agent_commands,
            [{"MessageBody": json.dumps(dict(key)), "DelaySeconds": delay_seconds} for key in keys],
        )

    def look_later(self, looks: Sequence[InstanceLook]) -> None:
        """Container instances to look at."""
        self._send(
            self._agent_commands,
            [
                {
                    "MessageBody": json.dumps(
                        {
                            "cluster": look.cluster,
                            "instanceId": look.instance_id,
                            "look": look.look,
                            "at": look.at,
                            "epoch": look.epoch,
                        }
                    )
                }
                for look in looks
            ],
        )

    def look_at_service_later(self, key: ServiceKey, delay_seconds: int) -> None:
        """A service to bring to the scheduler then. A FIFO queue delays no single message, a standard one does."""
        body = json.dumps(_of_service(key))
        self._send(self._agent_commands, [{"MessageBody": body, "DelaySeconds": delay_seconds}])

    def publish_later(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Finished events: each is of one version, and its item may have moved on."""
        self._send(self._events, [{"MessageBody": json.dumps(dict(entry))} for entry in entries])

    def run_waiting(self, request_ids: Sequence[str], delay_seconds: int = 0) -> None:
        """`Run Task` events that wait for capacity, to be tried again."""
        self._send(
            self._run_task,
            [{"MessageBody": json.dumps({"waiting": each}), "DelaySeconds": delay_seconds} for each in request_ids],
        )

    def hand_on(self, request: Envelope) -> None:
        """A GetCredentials that came on the topic of requests, as the rule of its own topic would have brought it."""
        body = {
            "principal": request.principal,
            "clientId": request.client_id,
            "topic": request.topic,
            "receivedAt": int(request.received_at.timestamp() * 1000),
            "payload": base64.b64encode(request.payload).decode(),
        }
        self._send(self._credentials, [{"MessageBody": json.dumps(body)}])

    def give_up_event(self, event: str) -> None:
        """A `Run Task` event, as JSON, that nobody tries any more: for the operators, who may replay it."""
        self._send(self._run_task_dead_letters, [{"MessageBody": event}])

    def replay(self, name: str) -> int:
        """Move what lies in the dead-letter queue `<prefix>-<name>-dlq` back to its queue. Answers how many messages.

        At most REPLAYED_AT_ONCE of them, so that it ends in time. SQS's StartMessageMoveTask would do it by itself, but
        not on MiniStack. A message that is sent and, since this dies, not deleted, is sent again: all bear repetition.
        Raises InvalidParameterException if there is no such queue.
        """
        fifo = ".fifo" if name == "service-scheduler" else ""
        try:
            source = self._client.get_queue_url(QueueName=f"{self._prefix}-{name}-dlq{fifo}")["QueueUrl"]
            target = self._client.get_queue_url(QueueName=f"{self._prefix}-{name}{fifo}")["QueueUrl"]
        except self._client.exceptions.QueueDoesNotExist as error:
            raise InvalidParameterException(f"There is no dead-letter queue for {name}.") from error
        replayed = 0
        while replayed < REPLAYED_AT_ONCE:
            received = self._client.receive_message(
                QueueUrl=source,
                MaxNumberOfMessages=_MAX_ENTRIES,
                VisibilityTimeout=60,
                MessageSystemAttributeNames=["MessageGroupId"],
            ).get("Messages", [])
            if not received:
                break
            self._send(target, [_again(message) for message in received])
            for message in received:
                self._client.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            replayed += len(received)
        return replayed

    def _send(self, queue_url: str, messages: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(messages), _MAX_ENTRIES):
            chunk = [
                {**message, "Id": str(number)} for number, message in enumerate(messages[start : start + _MAX_ENTRIES])
            ]
            answer = self._client.send_message_batch(QueueUrl=queue_url, Entries=chunk)
            if answer.get("Failed"):
                raise QueueError(str(answer["Failed"]))


def _of_service(key: ServiceKey) -> dict[str, str]:
    return {"cluster": key.cluster, "service": key.service} | (
        {"instanceId": key.instance_id} if key.instance_id else {}
    )


def _again(message: Mapping[str, Any]) -> dict[str, str]:
    """A received message as one to send. Of a FIFO queue it keeps its group, under an id that repeats if this does."""
    group = message.get("Attributes", {}).get("MessageGroupId")
    fifo = {"MessageGroupId": group, "MessageDeduplicationId": f"replay-{message['MessageId']}"} if group else {}
    return {"MessageBody": message["Body"], **fifo}
