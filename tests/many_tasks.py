"""A cluster with so many tasks that nobody would start them one by one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from control_plane.domain.task import Task
from control_plane.flows.run_task import run_task
from control_plane.store import keys, tasks
from world import World

AT_ONCE = 500


class Crowd:
    """Tasks that run on `machines` container instances; all are copies of one that was started."""

    def __init__(self, world: World, machines: int) -> None:
        self._world = world
        world.cluster()
        world.task_definition(memory=10, cpu=1)
        self._machines = [world.machine() for _ in range(machines)]
        arn = run_task(world.cp, {"taskDefinition": "web", "startedBy": "me"})["tasks"][0]["taskArn"]
        first = tasks.load(world.table, "default", arn.rsplit("/", 1)[1])
        assert first is not None
        self.tasks: list[Task] = [first]

    def grow(self, count: int) -> None:
        """Until there are so many."""
        new = list(self._copies(count - len(self.tasks)))
        chunks = [new[start : start + AT_ONCE] for start in range(0, len(new), AT_ONCE)]
        with ThreadPoolExecutor(max_workers=8) as threads:
            list(threads.map(self._put, chunks))
        self.tasks += new

    def _copies(self, count: int) -> Iterator[Task]:
        for number in range(count):
            instance = self._machines[number % len(self._machines)]
            task_id = keys.task_id_on(instance, f"{self._world.random.getrandbits(128):032x}")
            yield self.tasks[0].model_copy(update={"task_id": task_id, "instance_id": instance})

    def _put(self, chunk: list[Task]) -> None:
        places = {keys.task(task.cluster, task.task_id): tasks.to_item(task) for task in chunk}
        self._world.table.put_many(places)
