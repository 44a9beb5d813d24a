"""Counts the request units that a boto3 DynamoDB client is charged: indexes counted, transactions doubled."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Meter:
    """Attach it to a client, then read what was used since the last reset."""

    reads: float = 0
    writes: float = 0
    transactions: int = 0

    def attach(self, client: Any) -> None:
        for operation in (
            "GetItem",
            "BatchGetItem",
            "Query",
            "PutItem",
            "UpdateItem",
            "DeleteItem",
            "TransactWriteItems",
        ):
            client.meta.events.register(f"provide-client-params.dynamodb.{operation}", self._ask)
            client.meta.events.register(f"after-call.dynamodb.{operation}", self._count)

    def reset(self) -> None:
        self.reads = self.writes = 0
        self.transactions = 0

    @staticmethod
    def _ask(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "ReturnConsumedCapacity": "INDEXES"}

    def _count(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        used = parsed.get("ConsumedCapacity", [])
        units = sum(each["CapacityUnits"] for each in ([used] if isinstance(used, dict) else used))
        if model.name in {"GetItem", "BatchGetItem", "Query"}:
            self.reads += units
        else:
            self.writes += units
            self.transactions += model.name == "TransactWriteItems"
