"""What a run of the scheduler knows of a service, and keeps from one chunk of its work to the next.

Each chunk is committed under the service's lock: if that holds, nobody else has started, stopped or struck off any of
its tasks since they were read. What their machines have reported meanwhile wakes the scheduler anew; a task that is to
be stopped is written only as it was read. So a run reads all once, and not once for each chunk.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from control_plane.domain.container_instance import ContainerInstance
from control_plane.domain.placement.filters import take
from control_plane.domain.placement.rules import Strategy
from control_plane.domain.scheduling.ranking import Groups, group_of
from control_plane.domain.scheduling.standing import Connection, connection_of
from control_plane.domain.service import Service
from control_plane.domain.task import Task
from control_plane.store import instances, services
from control_plane.store.keys import Key
from control_plane.store.table import Table

KEPT = timedelta(seconds=5)
"""After which a run reads all again: what machines have reported meanwhile matters, too."""


@dataclass(frozen=True)
class Snapshot:
    """A service, and the tasks on its list with the key that lists each; None: a line without a task."""

    service: Service
    listed: Mapping[str, tuple[Key, Task | None]]
    read_at: datetime
    instances: dict[str, ContainerInstance | None] = field(default_factory=dict)
    """Those that were asked for, by id; None: gone."""

    @property
    def tasks(self) -> list[Task]:
        return [task for _, task in self.listed.values() if task is not None]

    @property
    def alive(self) -> list[Task]:
        """Those that have not stopped."""
        return [task for task in self.tasks if not task.stopped]

    def connections(self, table: Table) -> dict[str, Connection]:
        """Of the container instances of those, by id."""
        places = {task.instance_id for task in self.alive}
        unknown = [(self.service.cluster, instance_id) for instance_id in places if instance_id not in self.instances]
        if unknown:
            found = instances.load_many(table, unknown)
            self.instances.update({place[1]: found.get(place) for place in unknown})
        return {instance_id: connection_of(self.instances[instance_id]) for instance_id in places}

    def groups(self, strategy: Sequence[Strategy]) -> Groups:
        """What those count for, where tasks are spread."""
        return {name: group_of(each, strategy) for name, each in self.instances.items() if each is not None}

    def after(self, service: Service, changed: Sequence[Task], struck: Iterable[Key]) -> "Snapshot":
        """As a chunk that was committed has left it. `changed`: tasks that were started, or told to stop."""
        gone = {key.sk for key in struck}
        lines = {task_id: key for task_id, (key, _) in self.listed.items()}
        written = {
            task.task_id: (lines.get(task.task_id) or services.line_of(service, task.task_id), task) for task in changed
        }
        listed = {**self.listed, **written}
        instances = dict(self.instances)
        for task in changed:
            place = instances.get(task.instance_id)
            if task.task_id not in lines and place is not None:
                instances[task.instance_id] = take(place, task.resources)
        return replace(
            self,
            instances=instances,
            service=service.model_copy(update={"lock": self.service.lock + 1}),
            listed={task_id: each for task_id, each in listed.items() if task_id not in gone},
        )


def read(table: Table, service: Service, now: datetime) -> Snapshot:
    """`service` as it was read just now; strongly consistent."""
    return Snapshot(service, services.list_of(table, service), now)
