"""Counts request units as DynamoDB's documentation has them: a write is a unit for each KB of the item as it was or as
it is, whichever is larger, twice that in a transaction; a read is a unit for each 4 KB, half if eventually consistent.

Reads are as DynamoDB Local reports them. Writes are counted here: it says 4 for a transaction of one item as for one of
four.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

READS = ("GetItem", "BatchGetItem", "Query")
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")

Written = tuple[str, str, str]
"""Table, pk and sk."""


def size_of(item: Mapping[str, Any]) -> int:
    """Bytes of an item in DynamoDB's JSON."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content.lstrip("-").replace(".", "").strip("0")) // 2 + 2
        case "B":
            return len(content)
        case "BOOL" | "NULL":
            return 1
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(member) for name, member in content.items())
        case "L":
            return 3 + sum(1 + _size(member) for member in content)
        case "SS" | "NS":
            return sum(_size({kind[0]: member}) for member in content)
        case _:
            raise ValueError(f"a {kind} is nothing that this project stores")


@dataclass
class Meter:
    """Attach it to a client, then read what was used since the last reset."""

    reads: float = 0
    writes: float = 0
    _client: Any = None
    _before: dict[Written, int] = field(default_factory=dict)
    _looking: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Parts of a list are read at once."""

    def attach(self, client: Any) -> None:
        self._client = client
        for operation in (*READS, *WRITES):
            client.meta.events.register(f"provide-client-params.dynamodb.{operation}", self._begins)
            client.meta.events.register(f"after-call.dynamodb.{operation}", self._ends)

    def reset(self) -> None:
        self.reads = self.writes = 0

    @property
    def units(self) -> float:
        return self.reads + self.writes

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done meanwhile is not counted."""
        self._looking = True
        try:
            yield
        finally:
            self._looking = False

    def _begins(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        if self._looking:
            return params
        if model.name in READS:
            return {**params, "ReturnConsumedCapacity": "TOTAL"}
        self._before = {each: self._stored(each) for each in _written(params)}
        return params

    def _ends(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if self._looking:
            return
        if model.name in READS:
            used = parsed.get("ConsumedCapacity", [])
            with self._lock:
                self.reads += sum(each["CapacityUnits"] for each in ([used] if isinstance(used, dict) else used))
            return
        factor = 2 if model.name == "TransactWriteItems" else 1
        for each, before in self._before.items():
            self.writes += factor * max(1, -(-max(before, self._stored(each)) // 1024))

    def _stored(self, written: Written) -> int:
        """Bytes of an item as it is now; 0 if there is none."""
        table, pk, sk = written
        with self.paused():
            answer = self._client.get_item(TableName=table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True)
        return size_of(answer.get("Item", {}))


def _written(params: Mapping[str, Any]) -> Iterator[Written]:
    """The items that a call writes."""
    if "TransactItems" in params:
        for write in params["TransactItems"]:
            yield from _written(next(iter(write.values())))
    elif "RequestItems" in params:
        for table, requests in params["RequestItems"].items():
            for request in requests:
                yield from _written({"TableName": table, **next(iter(request.values()))})
    else:
        key = params.get("Key") or params["Item"]
        yield params["TableName"], key["pk"]["S"], key["sk"]["S"]
