"""The table: reads, and writes that say what they believed.

A write carries the error to raise if its condition fails, so that the condition and what it means stand together.
Writes committed together are one transaction, or one plain write if there is only one of them, at half the price.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

from botocore.exceptions import ClientError

from control_plane.domain.races import LostRace
from control_plane.store.items import Item, from_wire, to_wire, value_to_wire
from control_plane.store.keys import Key

MAX_WRITES = 100
"""In one transaction."""

MAX_ROUNDS = 8
"""In which DynamoDB may leave a part of a batch unprocessed; then it is too busy, and whoever asked tries later."""

_LOST = {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}


@dataclass(frozen=True)
class Write:
    """One write. `condition` and `update` are DynamoDB expressions over `#name` and `:value` placeholders."""

    action: Literal["Put", "Update", "Delete", "ConditionCheck"]
    key: Key
    refused: LostRace
    """What to raise if the condition fails."""
    item: Mapping[str, Any] = field(default_factory=dict)
    update: str | None = None
    condition: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def request(self, table: str) -> dict[str, Any]:
        """As TransactWriteItems and the single-item calls both take it."""
        request: dict[str, Any] = {"TableName": table}
        if self.action == "Put":
            request["Item"] = to_wire({**self.item, "pk": self.key.pk, "sk": self.key.sk})
        else:
            request["Key"] = to_wire({"pk": self.key.pk, "sk": self.key.sk})
        if self.update:
            request["UpdateExpression"] = self.update
        if self.condition:
            request["ConditionExpression"] = self.condition
        if self.values:
            request["ExpressionAttributeValues"] = {name: value_to_wire(value) for name, value in self.values.items()}
        names = _names(self.update, self.condition)
        if names:
            request["ExpressionAttributeNames"] = names
        return request


def _names(*expressions: str | None) -> dict[str, str]:
    """Each `#word` stands for the attribute of that name, so that none of ours is a word that DynamoDB reserves."""
    return {f"#{word}": word for text in expressions if text for word in re.findall(r"#(\w+)", text)}


def answering_in_json(client: Any) -> Any:
    """The same boto3 DynamoDB client, which leaves the items of long answers as they came, for `from_wire`.

    botocore's parser goes through each value's shape: of the CPU time of reading 10,000 instances that is 60 %.
    """
    for operation, member in (("Query", "Items"), ("BatchGetItem", "Responses")):
        client.meta.events.register(f"before-parse.dynamodb.{operation}", partial(_take_out, member))
    return client


def _take_out(
    member: str, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    if response_dict["status_code"] < HTTPStatus.MULTIPLE_CHOICES:
        answer = json.loads(response_dict["body"])
        customized_response_dict[member] = answer.pop(member)
        response_dict["body"] = json.dumps(answer).encode()


class Table:
    """One DynamoDB table. `client` is a boto3 DynamoDB client, perhaps `answering_in_json`."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        """Strongly consistent unless said otherwise: decisions read what is true (rule 3)."""
        answer = self._client.get_item(
            TableName=self.name, Key=to_wire({"pk": key.pk, "sk": key.sk}), ConsistentRead=consistent
        )
        return from_wire(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Sequence[Key], *, consistent: bool = True) -> dict[Key, Item]:
        """Those that exist, in no order. Asks again for what DynamoDB left unprocessed; raises LostRace in the end."""
        found: dict[Key, Item] = {}
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), 100):
            wanted = [to_wire({"pk": key.pk, "sk": key.sk}) for key in distinct[start : start + 100]]
            for _ in range(MAX_ROUNDS):
                if not wanted:
                    break
                answer = self._client.batch_get_item(
                    RequestItems={self.name: {"Keys": wanted, "ConsistentRead": consistent}}
                )
                for item in map(from_wire, answer["Responses"].get(self.name, [])):
                    found[Key(item["pk"], item["sk"])] = item
                wanted = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if wanted:
                raise LostRace("UnprocessedKeys")
        return found

    def query(
        self, pk: str, sk_begins: str = "", *, consistent: bool = True, newest_first: bool = False, limit: int = 0
    ) -> Iterator[Item]:
        """The items of a partition in the order of their keys; `limit` 0 is all of them."""
        condition = "#pk = :pk AND begins_with(#sk, :sk)" if sk_begins else "#pk = :pk"
        values = {":pk": pk, **({":sk": sk_begins} if sk_begins else {})}
        yield from self._pages(condition, values, limit, ConsistentRead=consistent, ScanIndexForward=not newest_first)

    def query_from(self, pk: str, sk: str, *, consistent: bool = True) -> Iterator[Item]:
        """The items of a partition whose key is `sk` or comes after it."""
        yield from self._pages("#pk = :pk AND #sk >= :sk", {":pk": pk, ":sk": sk}, 0, ConsistentRead=consistent)

    def query_before(self, pk: str, sk: str) -> Iterator[Item]:
        """The items of a partition whose key comes before `sk`."""
        yield from self._pages("#pk = :pk AND #sk < :sk", {":pk": pk, ":sk": sk}, 0, ConsistentRead=True)

    def query_some(self, pk: str, low: str, high: str, *, newest_first: bool, limit: int) -> tuple[list[Item], bool]:
        """At most so many items of a partition from key to key, both counted, and whether these are all.

        One call, eventually consistent; it may answer fewer, as DynamoDB reads 1 MB at a time.
        """
        request = self._query("#pk = :pk AND #sk BETWEEN :low AND :high", {":pk": pk, ":low": low, ":high": high})
        answer = self._client.query(**request, ScanIndexForward=not newest_first, Limit=limit)
        return [from_wire(item) for item in answer["Items"]], "LastEvaluatedKey" not in answer

    def query_many(self, partitions: Sequence[str], sk_begins: str = "", *, consistent: bool = True) -> list[Item]:
        """Several partitions at once, in the order in which they are named."""
        if len(partitions) == 1:
            return list(self.query(partitions[0], sk_begins, consistent=consistent))
        with ThreadPoolExecutor(max_workers=16) as threads:
            pages = threads.map(lambda pk: list(self.query(pk, sk_begins, consistent=consistent)), partitions)
            return [item for page in pages for item in page]

    def query_each(self, beginnings: Sequence[Key]) -> list[Item]:
        """The items of several partitions whose keys begin with an `sk` each, strongly consistent."""
        with ThreadPoolExecutor(max_workers=16) as threads:
            pages = threads.map(lambda key: list(self.query(key.pk, key.sk)), beginnings)
            return [item for page in pages for item in page]

    def _pages(self, condition: str, values: Mapping[str, Any], limit: int, **options: Any) -> Iterator[Item]:
        request = {**self._query(condition, values), **options}
        given = 0
        while True:
            if limit:
                request["Limit"] = limit - given
            answer = self._client.query(**request)
            for wire in answer["Items"]:
                yield from_wire(wire)
            given += len(answer["Items"])
            if "LastEvaluatedKey" not in answer or (limit and given >= limit):
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _query(self, condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "TableName": self.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": _names(condition),
            "ExpressionAttributeValues": {name: value_to_wire(value) for name, value in values.items()},
        }

    def put_many(self, items: Mapping[Key, Mapping[str, Any]]) -> None:
        """Each by itself and unconditionally: for what may be written in part, and again. May raise LostRace."""
        self._write_many(
            [{"PutRequest": {"Item": to_wire({**item, "pk": key.pk, "sk": key.sk})}} for key, item in items.items()]
        )

    def delete_many(self, keys: Sequence[Key]) -> None:
        """Each by itself and unconditionally; one that is gone is no error."""
        self._write_many(
            [{"DeleteRequest": {"Key": to_wire({"pk": key.pk, "sk": key.sk})}} for key in dict.fromkeys(keys)]
        )

    def _write_many(self, requests: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(requests), 25):
            wanted = list(requests[start : start + 25])
            for _ in range(MAX_ROUNDS):
                if not wanted:
                    break
                answer = self._client.batch_write_item(RequestItems={self.name: wanted})
                wanted = answer.get("UnprocessedItems", {}).get(self.name, [])
            if wanted:
                raise LostRace("UnprocessedItems")

    def commit(self, writes: Sequence[Write]) -> None:
        """All or nothing. Raises the `refused` of the first write whose condition failed, or LostRace."""
        if len(writes) == 1 and writes[0].action != "ConditionCheck":
            self._commit_one(writes[0])
            return
        try:
            self._client.transact_write_items(
                TransactItems=[{write.action: write.request(self.name)} for write in writes]
            )
        except ClientError as error:
            self._raise_lost(error, writes)
            raise

    def _commit_one(self, write: Write) -> None:
        call = {
            "Put": self._client.put_item,
            "Update": self._client.update_item,
            "Delete": self._client.delete_item,
        }[write.action]
        try:
            call(**write.request(self.name))
        except ClientError as error:
            self._raise_lost(error, [write])
            raise

    def update(self, write: Write) -> Item:
        """One update, returning the item as it is then."""
        try:
            answer = self._client.update_item(**write.request(self.name), ReturnValues="ALL_NEW")
        except ClientError as error:
            self._raise_lost(error, [write])
            raise
        return from_wire(answer["Attributes"])

    @staticmethod
    def _raise_lost(error: ClientError, writes: Sequence[Write]) -> None:
        """A condition that failed, or another transaction on the same items, is a lost race and no fault."""
        code = error.response["Error"]["Code"]
        if code == "ConditionalCheckFailedException":
            raise writes[0].refused from error
        if code == "TransactionCanceledException":
            reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
            for write, reason in zip(writes, reasons, strict=False):
                if reason == "ConditionalCheckFailed":
                    raise write.refused from error
            if _LOST & set(reasons):
                raise LostRace("TransactionConflict") from error
        if code in _LOST:
            raise LostRace(code) from error
