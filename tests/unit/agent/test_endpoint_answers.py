"""Who gets what of the local endpoint: a container what is its own task's, and nobody anything else."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from ecs_anywhere_agent.core import Instant, State
from ecs_anywhere_agent.core.roles import Credentials, Role, RoleRef
from ecs_anywhere_agent.core.values import Container, ContainerRef, Phase, Task
from ecs_anywhere_agent.endpoint.answers import Answers, World
from ecs_anywhere_agent.endpoint.identifiers import Identifiers
from ecs_anywhere_agent.endpoint.limiting import Limiter, Rate
from ecs_anywhere_agent.endpoint.server import Answer, Request
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.runtime.view import CannotLookError, Seen
from ecs_protocol.messages import RoleCredentials

ROLE = "arn:aws:iam::111122223333:role/app"
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
MINE, OTHER = ContainerRef("a" * 32, "app"), ContainerRef("b" * 32, "app")
SIDECAR = ContainerRef("a" * 32, "sidecar")
ADDRESSES = {MINE: "172.17.0.2", SIDECAR: "172.17.0.3", OTHER: "172.17.0.4"}
NOT_FOUND = {
    "code": "InvalidIdInRequest",
    "message": "CredentialsV2Request: Credentials not found",
    "HTTPErrorCode": 400,
}


class Containers:
    """A runtime in which each container has an address of its own, but those of `local`, which have the machine's."""

    def __init__(self, local: frozenset[ContainerRef] = frozenset()) -> None:
        self.local = local
        self.looks = 0
        self.silent = False

    def look(self, ref: ContainerRef, runtime_id: str | None) -> Seen | None:
        self.looks += 1
        if self.silent:
            raise CannotLookError("unable to get it from Docker")
        if runtime_id is None:
            return None
        return Seen(ref.name, addresses=None if ref in self.local else frozenset({ADDRESSES[ref]}))

    def stats(self, ref: ContainerRef, runtime_id: str | None) -> Mapping[str, Any]:
        return {"name": ref.name, "id": runtime_id}

    def close(self) -> None:
        self.silent = True


def credentials(task_id: str) -> RoleCredentials:
    return RoleCredentials(
        task_id=task_id,
        role="task",
        role_arn=ROLE,
        access_key_id=f"ASIA{task_id[:4]}",
        secret_access_key=f"secret-of-{task_id[:4]}",
        session_token=f"token-of-{task_id[:4]}",
        expiration=NOW + timedelta(minutes=30),
    )


class Agent:
    """All that the answers are made of: two tasks with a role, the first with two containers."""

    def __init__(self, *, local: frozenset[ContainerRef] = frozenset(), rate: Rate = Rate()) -> None:  # noqa: B008
        self.view = Containers(local)
        self.held = HeldCredentials()
        self.held.put([credentials(MINE.task_id), credentials(OTHER.task_id)])
        self.elapsed = 0.0
        self.cut_off_since: datetime | None = None
        good = Credentials(expires_at=1800.0)
        self.state = State(
            tasks={MINE.task_id: self._task(MINE, SIDECAR), OTHER.task_id: self._task(OTHER)},
            credentials={RoleRef(each.task_id, "task"): good for each in (MINE, OTHER)},
        )
        self.identifiers = Identifiers(b"k" * 32)
        world = World(
            state=lambda: self.state,
            now=lambda: Instant(self.elapsed, NOW),
            cut_off_since=lambda: self.cut_off_since,
            held=self.held,
            view=self.view,
        )
        self.answers = Answers(self.identifiers, world, rate)

    @staticmethod
    def _task(*refs: ContainerRef) -> Task:
        containers = tuple(
            Container(each.name, phase=Phase.RUNNING, runtime_id=f"{each.task_id[0]}-{each.name}") for each in refs
        )
        return Task(refs[0].task_id, containers=containers, roles=(Role("task", ROLE),))

    def change(self, ref: ContainerRef, **members: Any) -> None:
        tasks = {**self.state.tasks, ref.task_id: replace(self.state.tasks[ref.task_id], **members)}
        self.state = replace(self.state, tasks=tasks)

    def know(self, ref: ContainerRef, known: Credentials) -> None:
        self.state = replace(self.state, credentials={**self.state.credentials, RoleRef(ref.task_id, "task"): known})

    def ask(self, path: str, peer: str = ADDRESSES[MINE], token: str | None = None, *, local: bool = False) -> Answer:
        headers = {} if token is None else {"authorization": token}
        return self.answers(Request("GET", path, headers, peer, local))

    def credentials(
        self, of: ContainerRef = MINE, peer: str = ADDRESSES[MINE], token_of: ContainerRef | None = MINE
    ) -> Answer:
        token = None if token_of is None else self.identifiers.token_of(token_of)
        return self.ask(f"/v2/credentials/{self.identifiers.of(of)}", peer, token)


@pytest.fixture
def agent() -> Agent:
    return Agent()


def test_a_container_gets_the_credentials_of_its_task(agent: Agent) -> None:
    answer = agent.credentials()
    assert (answer.status, json.loads(answer.content)) == (
        HTTPStatus.OK,
        {
            "RoleArn": ROLE,
            "AccessKeyId": "ASIAaaaa",
            "SecretAccessKey": "secret-of-aaaa",
            "Token": "token-of-aaaa",
            "Expiration": "2030-01-01T12:30:00Z",
        },
    )


@pytest.mark.parametrize(
    ("of", "peer", "token_of"),
    [
        pytest.param(OTHER, ADDRESSES[MINE], MINE, id="the-id-of-another-task"),
        pytest.param(OTHER, ADDRESSES[MINE], OTHER, id="id-and-token-of-another-task"),
        pytest.param(MINE, ADDRESSES[OTHER], MINE, id="id-and-token-from-where-another-task-is"),
        pytest.param(MINE, "192.0.2.7", MINE, id="from-outside-of-the-machine"),
        pytest.param(MINE, ADDRESSES[MINE], None, id="without-a-token"),
        pytest.param(MINE, ADDRESSES[MINE], OTHER, id="with-the-token-of-another-task"),
        pytest.param(SIDECAR, ADDRESSES[SIDECAR], MINE, id="with-the-token-of-another-container"),
    ],
)
def test_who_forges_learns_no_more_than_that_there_is_no_such_id(
    agent: Agent, of: ContainerRef, peer: str, token_of: ContainerRef | None
) -> None:
    answer = agent.credentials(of, peer, token_of)
    assert (answer.status, json.loads(answer.content)) == (HTTPStatus.BAD_REQUEST, NOT_FOUND)


@pytest.mark.parametrize(
    "identifier",
    [
        pytest.param("nothing", id="nothing"),
        pytest.param(MINE.task_id, id="the-task"),
        pytest.param(f"{MINE.task_id}-{'0' * 32}", id="a-guess"),
        pytest.param("é" * 32, id="no-ascii"),
        pytest.param("x/../y", id="a-path"),
    ],
)
def test_an_id_that_no_container_has(agent: Agent, identifier: str) -> None:
    answer = agent.ask(f"/v2/credentials/{identifier}", token=agent.identifiers.token_of(MINE))
    assert (answer.status, json.loads(answer.content)) == (HTTPStatus.BAD_REQUEST, NOT_FOUND)


def test_a_request_that_names_no_id(agent: Agent) -> None:
    answer = agent.ask("/v2/credentials/")
    assert (answer.status, json.loads(answer.content)) == (
        HTTPStatus.BAD_REQUEST,
        {
            "code": "NoIdInRequest",
            "message": "CredentialsV2Request: No Credential ID in the request",
            "HTTPErrorCode": 400,
        },
    )


@pytest.mark.parametrize(
    ("refusal", "cut_off_since", "reason"),
    [
        pytest.param(None, None, "", id="connected"),
        pytest.param(
            None,
            datetime(2030, 1, 1, 11, 1, tzinfo=UTC),
            "; this machine has been cut off since 2030-01-01T11:01:00Z",
            id="cut-off",
        ),
        pytest.param("AccessDenied", None, "; the control plane gives no others: AccessDenied", id="refused"),
    ],
)
def test_credentials_end_at_their_expiry_with_the_reason(
    agent: Agent, refusal: str | None, cut_off_since: datetime | None, reason: str
) -> None:
    agent.know(MINE, Credentials(expires_at=1800.0, refusal=refusal))
    agent.elapsed, agent.cut_off_since = 1800.0, cut_off_since
    answer = agent.credentials()
    assert (answer.status, json.loads(answer.content)) == (
        HTTPStatus.SERVICE_UNAVAILABLE,
        {
            "code": "CredentialsUninitialized",
            "message": f"CredentialsV2Request: Credentials expired at 2030-01-01T12:30:00Z{reason}",
            "HTTPErrorCode": 503,
        },
    )


def test_credentials_that_have_not_come(agent: Agent) -> None:
    agent.held.drop(MINE.task_id)
    answer = agent.credentials()
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(answer.content)["message"] == (
        "CredentialsV2Request: Credentials uninitialized for ID: none have come from the control plane yet"
    )


def test_a_task_that_has_no_task_role_gets_none(agent: Agent) -> None:
    agent.change(MINE, roles=(Role("execution", ROLE),))
    answer = agent.credentials()
    assert (answer.status, json.loads(answer.content)["code"]) == (HTTPStatus.BAD_REQUEST, "NoCredentialsAssociated")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param(
            "",
            "V4 container metadata handler: unable to get container ID from request: "
            "unable to get docker ID from v3 endpoint ID: {}",
            id="container",
        ),
        pytest.param(
            "/task",
            "V4 task metadata handler: unable to get task arn from request: "
            "unable to get task Arn from v3 endpoint ID: {}",
            id="task",
        ),
        pytest.param(
            "/taskWithTags",
            "V4 task metadata handler: unable to get task arn from request: "
            "unable to get task Arn from v3 endpoint ID: {}",
            id="tags",
        ),
        pytest.param(
            "/stats",
            "V4 container stats handler: unable to get task arn from request: "
            "unable to get task Arn from v3 endpoint ID: {}",
            id="stats",
        ),
        pytest.param(
            "/task/stats",
            "V4 task stats handler: unable to get task arn from request: "
            "unable to get task Arn from v3 endpoint ID: {}",
            id="task-stats",
        ),
    ],
)
def test_metadata_of_another_task_is_not_there(agent: Agent, path: str, error: str) -> None:
    """Neither with its own id from here, nor with a guess; with its own id each of them is."""
    for identifier in (agent.identifiers.of(OTHER), "x" * 32):
        answer = agent.ask(f"/v4/{identifier}{path}")
        assert (answer.status, json.loads(answer.content)) == (HTTPStatus.NOT_FOUND, error.format(identifier))
    assert agent.ask(f"/v4/{agent.identifiers.of(MINE)}{path}").status == HTTPStatus.OK


def test_the_task_has_all_its_containers_and_their_statistics_are_by_docker_id(agent: Agent) -> None:
    base = f"/v4/{agent.identifiers.of(MINE)}"
    task = json.loads(agent.ask(f"{base}/task").content)
    assert [each["Name"] for each in task["Containers"]] == ["app", "sidecar"]
    assert json.loads(agent.ask(f"{base}/task/stats").content) == {
        "a-app": {"name": "app", "id": "a-app"},
        "a-sidecar": {"name": "sidecar", "id": "a-sidecar"},
    }
    assert json.loads(agent.ask(f"{base}/stats").content) == {"name": "app", "id": "a-app"}


@pytest.mark.parametrize("path", ["/", "/v3/x", "/v4", "/v4/x/tasks", "/v2/other", "", "http://169.254.170.2/v4/x"])
def test_what_is_not_served(agent: Agent, path: str) -> None:
    assert agent.ask(path) == Answer(HTTPStatus.NOT_FOUND, "404 page not found\n", "text/plain; charset=utf-8")


def test_a_container_with_the_machines_network_asks_from_the_machine() -> None:
    agent = Agent(local=frozenset({MINE}))
    path = f"/v4/{agent.identifiers.of(MINE)}"
    assert agent.ask(path, "127.0.0.1", local=True).status == HTTPStatus.OK
    assert agent.ask(path, ADDRESSES[OTHER]).status == HTTPStatus.NOT_FOUND


def test_requests_are_limited_for_each_task_before_the_runtime_is_asked() -> None:
    agent = Agent(rate=Rate(steady=0.001, burst=3))
    mine = [agent.ask(f"/v4/{agent.identifiers.of(MINE)}").status for _ in range(4)]
    assert mine == [HTTPStatus.OK] * 3 + [HTTPStatus.TOO_MANY_REQUESTS]
    assert agent.view.looks == 3
    assert agent.ask(f"/v4/{agent.identifiers.of(OTHER)}", ADDRESSES[OTHER]).status == HTTPStatus.OK


def test_guesses_are_limited_for_each_source() -> None:
    agent = Agent(rate=Rate(steady=0.001, burst=2))
    guesses = [agent.ask(f"/v4/{'0' * 30}{number}", "192.0.2.7").status for number in range(3)]
    assert guesses == [HTTPStatus.NOT_FOUND] * 2 + [HTTPStatus.TOO_MANY_REQUESTS]
    assert agent.ask(f"/v4/{agent.identifiers.of(MINE)}").status == HTTPStatus.OK


def test_a_limiter_fills_again_up_to_its_burst() -> None:
    limiter = Limiter(Rate(steady=2, burst=3))
    taken = [[limiter.allows("x", now) for _ in range(4)] for now in (0.0, 1.0, 60.0)]
    assert taken == [[True, True, True, False], [True, True, False, False], [True, True, True, False]]


def test_a_refusal_is_logged_once_a_source_and_no_secret_ever(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    agent.credentials()
    for _ in range(3):
        agent.credentials(OTHER, token_of=OTHER)
        agent.ask("/v4/guess", "192.0.2.7")
    assert [record.getMessage() for record in caplog.records] == [
        f"refused metadata or credentials to 172.17.0.2, which asked with the id of app of task {OTHER.task_id}",
        "refused metadata or credentials to 192.0.2.7, which asked with an id that no container has",
    ]


def test_a_runtime_that_does_not_answer_is_an_error_of_the_machine_and_logged_once(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.view.silent = True
    answers = {(answer.status, answer.content) for answer in (agent.credentials(), agent.credentials())}
    assert answers == {(HTTPStatus.INTERNAL_SERVER_ERROR, '"unable to get it from Docker"')}
    assert [record.getMessage() for record in caplog.records] == [
        "a container asked for metadata or credentials: unable to get it from Docker (None)"
    ]


def test_ids_and_tokens_are_told_apart_by_key_container_and_purpose() -> None:
    one, other = Identifiers(b"1" * 32), Identifiers(b"2" * 32)
    made = [each for key in (one, other) for ref in (MINE, SIDECAR, OTHER) for each in (key.of(ref), key.token_of(ref))]
    assert len(set(made)) == len(made)
    assert one.of(MINE) == Identifiers(b"1" * 32).of(MINE)


def of_log_driver(agent: Agent, ref: ContainerRef = MINE, *, local: bool = True) -> Answer:
    path = f"/v2/credentials/{agent.identifiers.of_execution_role(ref.task_id)}"
    return agent.ask(path, "169.254.170.2" if local else ADDRESSES[ref], local=local)


def test_dockers_log_driver_gets_the_execution_roles_credentials(agent: Agent) -> None:
    agent.held.put([credentials(MINE.task_id).model_copy(update={"role": "execution", "access_key_id": "ASIAexec"})])
    good = Credentials(expires_at=1800.0)
    agent.state = replace(agent.state, credentials={RoleRef(MINE.task_id, "execution"): good})
    answer = of_log_driver(agent)
    assert (answer.status, json.loads(answer.content)["AccessKeyId"]) == (HTTPStatus.OK, "ASIAexec")
    agent.elapsed = 1800.0
    expired = of_log_driver(agent)
    assert expired.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(expired.content)["code"] == "CredentialsUninitialized"


def test_a_container_does_not_get_them_whatever_id_it_has(agent: Agent) -> None:
    agent.held.put([credentials(MINE.task_id).model_copy(update={"role": "execution"})])
    refused = of_log_driver(agent, local=False)
    assert (refused.status, json.loads(refused.content)) == (HTTPStatus.BAD_REQUEST, NOT_FOUND)
    other = f"/v2/credentials/{MINE.task_id}-{'0' * 32}"
    assert json.loads(agent.ask(other, "127.0.0.1", local=True).content) == NOT_FOUND
