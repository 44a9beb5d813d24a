"""What handlers of queues have in common: which messages of a batch are to come again."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from aws_lambda_powertools import Logger

T = TypeVar("T")
Failures = dict[str, list[dict[str, str]]]

logger = Logger(child=True)


def records_of(event: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The messages of an SQS event; one line in the log for each batch."""
    records: Sequence[Mapping[str, Any]] = event["Records"]
    logger.info("Batch", extra={"messages": len(records)})
    return records


def come_again(records: Sequence[Mapping[str, Any]], failed: Collection[int]) -> Failures:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html"""
    return {"batchItemFailures": [{"itemIdentifier": records[index]["messageId"]} for index in sorted(failed)]}


def one_by_one(event: Mapping[str, Any], handle: Callable[[str], None]) -> Failures:
    """Handle the body of each message; one that fails is logged and comes again by itself."""
    records = records_of(event)
    failed = set()
    for index, record in enumerate(records):
        try:
            handle(record["body"])
        except Exception:  # a fault of ours or of AWS's: the queue brings it again, and then to the dead letters
            logger.exception("Message failed", extra={"messageId": record["messageId"]})
            failed.add(index)
    return come_again(records, failed)


def parsed(records: Sequence[Mapping[str, Any]], parse: Callable[[str], T]) -> tuple[list[T], list[int], set[int]]:
    """What could be parsed, the index of each, and the indexes of those that could not."""
    values, indexes, unreadable = [], [], set()
    for index, record in enumerate(records):
        try:
            values.append(parse(record["body"]))
            indexes.append(index)
        except (KeyError, TypeError, ValueError):
            logger.exception("Unreadable message", extra={"messageId": record["messageId"]})
            unreadable.add(index)
    return values, indexes, unreadable
