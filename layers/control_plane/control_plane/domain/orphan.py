"""A task that runs on a machine and that the table knows nothing of: kept there, until an operator decides."""

from datetime import datetime
from typing import Any

from pydantic import Field

from control_plane.domain.entity import Entity
from control_plane.domain.gpus import all_gpu_ids
from control_plane.domain.resources import Resources


class OrphanTask(Entity):
    """What it takes of its instance counts as held until it is adopted, or has stopped."""

    task_id: str
    cluster: str
    instance_id: str
    registration: int
    task_definition: str
    """`family:revision`."""
    earlier_identity: bool = False
    """Started under an identity that is gone: it cannot be adopted, since its id names another instance."""
    group: str | None = None
    started_by: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    cpu: int = 0
    memory: int = 0
    ports: tuple[str, ...] = ()
    """0 and none where its task definition is not known."""
    gpu_ids: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """By container, as its machine says."""
    stopping: bool = False
    """An operator has decided that it is to stop."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    found_at: datetime

    @property
    def resources(self) -> Resources:
        pairs = (port.split("/") for port in self.ports)
        return Resources(
            cpu=self.cpu,
            memory=self.memory,
            ports=frozenset((int(number), protocol) for number, protocol in pairs),
            gpu_ids=all_gpu_ids(self.gpu_ids),
        )
