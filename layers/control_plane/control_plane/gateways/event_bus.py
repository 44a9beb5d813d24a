"""The stack's EventBridge bus."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

SOURCE = "ecs.anywhere"
"""EventBridge lets nobody but AWS use a source that begins with `aws.`."""

_MAX_ENTRIES = 10


class EventBus:
    """Puts events. `client` is a boto3 events client."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    def entry(
        self, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any], at: datetime
    ) -> dict[str, Any]:
        """A finished event, in plain JSON types so that it can wait in a queue."""
        return {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Resources": list(resources),
            "Detail": json.dumps(detail, default=_iso, separators=(",", ":")),
            "Time": at.timestamp(),
            "EventBusName": self.name,
        }

    def put(self, entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Put finished events, and return those that EventBridge did not take. Raises botocore's errors."""
        refused: list[Mapping[str, Any]] = []
        for start in range(0, len(entries), _MAX_ENTRIES):
            chunk = entries[start : start + _MAX_ENTRIES]
            answers = self._client.put_events(Entries=list(chunk))["Entries"]
            refused += [entry for entry, answer in zip(chunk, answers, strict=True) if "ErrorCode" in answer]
        return refused


def _iso(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} does not belong in an event")
