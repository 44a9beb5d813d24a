"""An agent that serves its local endpoint, as `run_agent` puts it together, and what its tasks can ask of it."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.agent import Agent
from ecs_anywhere_agent.core import Instant, Rules
from ecs_anywhere_agent.core.actions import RemoveContainer
from ecs_anywhere_agent.core.events import Connected, Disconnected, MessageReceived, ReportAcknowledged
from ecs_anywhere_agent.core.values import Container
from ecs_anywhere_agent.endpoint.answers import Answers, World
from ecs_anywhere_agent.endpoint.endpoint import Endpoint
from ecs_anywhere_agent.endpoint.limiting import Rate
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.running import make_runtime, make_view
from ecs_anywhere_agent.settings import Settings
from ecs_anywhere_agent.store import open_store
from ecs_protocol.messages import AgentRequest, RoleCredentials, TaskStateChanges
from ecs_protocol.statuses import TaskStatus
from integration.agent.runtimes import ARN, eventually
from unit.agent.world import Cloud, registration, task_id

SETTINGS = Settings(pull_behavior="prefer-cached")
ROLE = "arn:aws:iam::000000000000:role/app"


class Machine:
    def __init__(self, runtime: str, data_dir: Path, *containers: dict[str, Any], **members: Any) -> None:
        least = {"image": "busybox:test", "memory": 64}
        definition = {
            "family": "web",
            "revision": 1,
            "taskRoleArn": ROLE,
            "containerDefinitions": [{**least, **each} for each in containers],
        }
        self.runtime_name = runtime
        self.data_dir = data_dir
        self.cloud = Cloud(definition={**definition, **members}, wall=datetime.now(UTC))
        self.sessions = 0
        self.ahead = timedelta(0)
        self.begin()

    def begin(self) -> None:
        self.held = HeldCredentials()
        self.endpoint = Endpoint.open(self.data_dir)
        self.runtime = make_runtime(
            self.runtime_name, self.data_dir, SETTINGS, credentials=self.held, endpoint=self.endpoint
        )
        self.store = open_store(self.data_dir / "state.sqlite")
        self.agent = Agent(self.store, self.runtime, Rules(answer_after=0.2, company=0.05), self.held)
        self.agent.publish_with(self._request, self._report)
        self.agent.start(ARN)
        self.view = make_view(self.runtime_name, self.data_dir)
        world = World(
            state=lambda: self.agent.state,
            now=self._now,
            cut_off_since=self.agent.cut_off_since,
            held=self.held,
            view=self.view,
        )
        self.serving = self.endpoint.serving(Answers(self.endpoint.identifiers, world, Rate()))
        self.serving.__enter__()
        self.thread = threading.Thread(target=self.agent.run)
        self.thread.start()
        self.sessions += 1
        self.agent.emit(Connected(f"s{self.sessions}", registration()))

    def end(self) -> None:
        self.agent.end()
        self.thread.join()
        self.view.close()
        self.serving.__exit__(None, None, None)
        self.endpoint.close()
        self.runtime.close()
        self.store.close()

    def run(self, number: int = 1, **members: Any) -> None:
        self.agent.emit(MessageReceived(self.cloud.run(number, **members)))
        eventually(lambda: self.cloud.tasks[task_id(number)].last_status is TaskStatus.RUNNING, 30)

    def be_cut_off(self) -> None:
        self.agent.emit(Disconnected())
        eventually(lambda: self.agent.cut_off_since() is not None)

    def pass_time(self, passed: timedelta) -> None:
        """For the endpoint."""
        self.ahead += passed

    def clean(self) -> None:
        """The agent has ended; what it has made goes."""
        runtime = make_runtime(self.runtime_name, self.data_dir, SETTINGS)
        for snapshot in runtime.open(lambda _: None):
            runtime.perform(RemoveContainer(snapshot.ref))
        runtime.close(finish=True)

    def container(self, name: str = "main", number: int = 1) -> Container:
        return next(each for each in self.agent.state.tasks[task_id(number)].containers if each.name == name)

    def credentials(self, number: int = 1) -> RoleCredentials:
        """That the control plane has given for the task's role."""
        held = self.held.get(task_id(number), "task")
        assert held is not None
        return held

    def _now(self) -> Instant:
        now = self.agent.now()
        return now._replace(elapsed=now.elapsed + self.ahead.total_seconds())

    def _request(self, message: AgentRequest) -> None:
        for answer in self.cloud.answer(message):
            self.agent.emit(MessageReceived(answer))

    def _report(self, token: int, message: TaskStateChanges) -> None:
        for report in message.reports:
            self.cloud.take(report)
        self.agent.emit(ReportAcknowledged(token))
