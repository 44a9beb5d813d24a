"""What the tests of the Docker runtime's members share: containers on the real Engine, and what they see and say."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.container_spec import ContainerSpec, container_specs
from ecs_anywhere_agent.core.events import Condition, ContainerSnapshot
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.endpoint.endpoint import Endpoint
from ecs_anywhere_agent.execution_role import ExecutionRoles
from ecs_anywhere_agent.runtime.docker import DockerRuntime
from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_images import PullBehavior
from ecs_anywhere_agent.runtime.docker_labels import ref_of
from integration.agent.runtimes import ARN, TASK_ID, Driver

LEAST: Mapping[str, Any] = {"name": "main", "image": "busybox:test", "memory": 64}


class Containers:
    """The containers of one task, made by the driver, without the agent's core."""

    def __init__(
        self,
        engine: Engine,
        data_dir: Path,
        pull: PullBehavior = PullBehavior.PREFER_CACHED,
        *,
        roles: ExecutionRoles | None = None,
        family: str = "web",
        endpoint: Endpoint | None = None,
    ) -> None:
        self.family = family
        self.engine = engine
        self.data_dir = data_dir
        self.driver = Driver(
            DockerRuntime.connect(data_dir, pull=pull, pull_pause_seconds=0.01, roles=roles, endpoint=endpoint)
        )

    def specs(self, *containers: Mapping[str, Any], **members: Any) -> dict[str, ContainerSpec]:
        definition = {
            "family": self.family,
            "revision": 1,
            "containerDefinitions": [{**LEAST, **each} for each in containers],
        }
        made = container_specs(
            {**definition, **members},
            {},
            container_instance_arn=ARN,
            cluster="default",
            task_arn=f"arn:aws:ecs:us-east-1:000000000000:task/default/{TASK_ID}",
        )
        return {each.name: each for each in made}

    def start(self, *containers: Mapping[str, Any], **members: Any) -> dict[str, ContainerSnapshot]:
        """In the order given; each as it was told after its start."""
        return {
            name: self.driver.start(spec, ContainerRef(TASK_ID, name))
            for name, spec in self.specs(*containers, **members).items()
        }

    def inspect(self, snapshot: ContainerSnapshot) -> dict[str, Any]:
        assert snapshot.runtime_id is not None
        found = self.engine.inspect(snapshot.runtime_id)
        assert found is not None
        return found

    def output(self, snapshot: ContainerSnapshot, *, tty: bool = False) -> str:
        """All that it writes, once it has ended."""
        assert snapshot.runtime_id is not None
        ended = self.driver.ended(snapshot)
        written = self.engine.logs(snapshot.runtime_id, tty=tty, tail=None, follow=False)
        assert ended.condition is Condition.EXITED
        return b"".join(content for _, content in written).decode()

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.driver.remove(ContainerRef(TASK_ID, name))

    def close(self) -> None:
        """What is left is removed as the agent does it."""
        label = f"ecs-anywhere.data-dir={self.data_dir.resolve()}"
        refs = (ref_of(each["Labels"]) for each in self.engine.containers(label))
        self.remove([ref.name for ref in refs if ref is not None])
        self.driver.runtime.close(finish=True)
        for container in self.engine.containers(label):
            self.engine.remove(container["Id"])
        for volume in self.engine.volumes(label):
            self.engine.remove_volume(volume["Name"])


@contextmanager
def closing(containers: Containers) -> Iterator[Containers]:
    try:
        yield containers
    finally:
        containers.close()


def at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[name]
    return value
