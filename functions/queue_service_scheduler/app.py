"""SQS FIFO, a message is a service's key -> here: bring services to what is wanted of them.

Or it is a large cluster's, of whose instances a snapshot is to be kept.
"""

from typing import Any

from aws_lambda_powertools import Logger

from control_plane.domain.inbox import FleetKey, ServiceKey
from control_plane.flows.keep_fleet_snapshot import keep_fleet_snapshots
from control_plane.flows.schedule_service import schedule_services
from control_plane.gateways import inbox
from control_plane.handling import Failures, come_again, parsed, records_of
from control_plane.runtime import control_plane

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> Failures:
    """All keys of a batch in one run, services first. What failed fails with every message of its group."""
    records = records_of(event)
    keys, indexes, unreadable = parsed(records, inbox.scheduler_key)
    cp = control_plane()
    failed: set[ServiceKey | FleetKey] = set()
    failed |= schedule_services(cp, [key for key in keys if isinstance(key, ServiceKey)])
    failed |= keep_fleet_snapshots(cp, [key for key in keys if isinstance(key, FleetKey)])
    return come_again(records, unreadable | {index for key, index in zip(keys, indexes, strict=True) if key in failed})
