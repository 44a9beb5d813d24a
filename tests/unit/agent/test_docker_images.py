"""When images are pulled, how often, and by whom, and when they may be removed."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from ecs_anywhere_agent.execution_role import NoEcrTokenError, RegistryLogin
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError
from ecs_anywhere_agent.runtime.docker_images import CannotPullError, Images, PullBehavior
from ecs_anywhere_agent.runtime.image_memory import ImageMemory, PulledImage

NONE, OLD = None, {"Id": "old", "RepoDigests": ["app@sha256:1"]}
NEW = {"Id": "new", "RepoDigests": ["app@sha256:2"]}


class FakeEngine:
    """Has at most one image, and a registry that may fail."""

    def __init__(self, image: dict[str, Any] | None, *failures: EngineError) -> None:
        self.present = image
        self.failures = list(failures)
        self.pulls = 0
        self.removed: list[str] = []
        self.credentials: Mapping[str, str] | None = None
        self.asked = threading.Semaphore(0)
        self.before_answer: Callable[[], None] = lambda: None

    def image(self, name: str) -> dict[str, Any] | None:
        del name
        self.asked.release()
        return self.present

    def pull(self, name: str, credentials: Mapping[str, str] | None, told: Callable[[Mapping[str, Any]], None]) -> None:
        del name, told
        self.credentials = credentials
        self.pulls += 1
        self.before_answer()
        if self.failures:
            raise self.failures.pop(0)
        self.present = NEW

    def remove_image(self, reference: str) -> None:
        self.removed.append(reference)
        self.before_answer()
        self.present = None


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[ImageMemory]:
    memory = ImageMemory(tmp_path / "images.sqlite")
    yield memory
    memory.close()


def images(engine: FakeEngine, memory: ImageMemory, behavior: PullBehavior = PullBehavior.DEFAULT) -> Images:
    credentials: dict[str, Mapping[str, str]] = {"app": {"username": "me"}}
    return Images(cast("Engine", engine), behavior, 0.0, threading.Event(), memory=memory, credentials=credentials.get)


def broken() -> EngineError:
    return EngineError(500, "no route to host")


_RETRIED = r"^pull image manifest has been retried 4 time\(s\): Error response from daemon: no route to host$"

DEFAULT, ALWAYS, ONCE, PREFER_CACHED = PullBehavior


@pytest.mark.parametrize(
    ("behavior", "image", "pulled_before", "up", "got"),
    [
        pytest.param(DEFAULT, OLD, True, True, "new", id="default-pulls-each-time"),
        pytest.param(DEFAULT, OLD, True, False, "old", id="default-takes-what-is-there-if-it-must"),
        pytest.param(DEFAULT, NONE, False, False, None, id="default-with-nothing-there"),
        pytest.param(ALWAYS, OLD, True, True, "new", id="always-pulls"),
        pytest.param(ALWAYS, OLD, True, False, None, id="always-takes-nothing-else"),
        pytest.param(ONCE, OLD, True, True, "old", id="once-was-pulled-by-a-task"),
        pytest.param(ONCE, OLD, False, True, "new", id="once-was-pulled-by-somebody-else"),
        pytest.param(ONCE, OLD, False, False, "old", id="once-and-cannot"),
        pytest.param(ONCE, NONE, True, True, "new", id="once-and-removed-since"),
        pytest.param(PREFER_CACHED, OLD, False, True, "old", id="prefer-cached"),
        pytest.param(PREFER_CACHED, NONE, False, True, "new", id="prefer-cached-with-nothing-there"),
    ],
)
def test_the_four_behaviors(
    memory: ImageMemory,
    *,
    behavior: PullBehavior,
    image: dict[str, Any] | None,
    pulled_before: bool,
    up: bool,
    got: str | None,
) -> None:
    if pulled_before:
        memory.pulled("app:latest", "old", 0.0, was_there=False)
    engine = FakeEngine(image, *([] if up else [broken()] * 9))
    if got is None:
        with pytest.raises(CannotPullError):
            images(engine, memory, behavior).obtain("app")
    else:
        found = images(engine, memory, behavior).obtain("app")
        assert found is not None
        assert found["Id"] == got


def test_what_a_task_has_pulled_is_known_to_the_next_agent(memory: ImageMemory, tmp_path: Path) -> None:
    images(FakeEngine(NONE), memory).obtain("app")
    next_memory = ImageMemory(tmp_path / "images.sqlite")
    [row] = next_memory.all()
    next_memory.close()
    assert (row.name, row.image_id, row.brought) == ("app:latest", "new", True)


@pytest.mark.parametrize(
    ("image", "brought"),
    [
        pytest.param(NONE, True, id="was-not-there"),
        pytest.param(OLD, True, id="was-another"),
        pytest.param(NEW, False, id="was-there-already"),
    ],
)
def test_an_image_is_ours_if_a_task_has_brought_it(
    memory: ImageMemory, image: dict[str, Any] | None, brought: bool
) -> None:
    images(FakeEngine(image), memory).obtain("app")
    assert [row.brought for row in memory.all()] == [brought]


def test_a_memory_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "images.sqlite").write_text("no database" * 1000)
    memory = ImageMemory(tmp_path / "images.sqlite")
    memory.pulled("app:latest", "new", 1.0, was_there=False)
    assert memory.all() == (PulledImage("app:latest", "new", 1.0, 1.0, brought=True),)
    memory.close()


def test_the_credentials_of_its_registry_go_with_the_pull(memory: ImageMemory) -> None:
    engine = FakeEngine(NONE)
    images(engine, memory).obtain("app")
    assert engine.credentials == {"username": "me"}


def test_what_a_task_asks_for_after_the_look_is_not_removed(memory: ImageMemory) -> None:
    engine = FakeEngine(NONE)
    shared = images(engine, memory)
    since = time.monotonic()
    shared.obtain("app")
    assert not shared.remove("app:latest", since)
    assert not shared.remove("new", since, {"app:latest"}), "nor by its id"
    assert shared.remove("app:latest", time.monotonic())
    assert engine.removed == ["app:latest"]


def test_who_asks_while_an_image_is_removed_pulls_it_again(memory: ImageMemory) -> None:
    engine = FakeEngine(OLD)
    shared = images(engine, memory)
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(10)

    engine.before_answer = hold
    removing = threading.Thread(target=shared.remove, args=("app:latest", time.monotonic()))
    removing.start()
    assert begun.wait(10)
    found: list[object] = []
    asking = threading.Thread(target=lambda: found.append(shared.obtain("app")))
    asking.start()
    asking.join(0.2)
    engine.before_answer = lambda: None
    go_on.set()
    for thread in (removing, asking):
        thread.join(10)
    assert (found, engine.pulls) == ([NEW], 1)


@pytest.mark.parametrize(
    ("image", "failures", "pulls"),
    [
        pytest.param(NONE, 4, 5, id="tried-again-until-it-works"),
        pytest.param(OLD, 1, 1, id="not-tried-again-where-one-is-there"),
    ],
)
def test_a_failed_pull_is_tried_again(
    memory: ImageMemory, image: dict[str, Any] | None, failures: int, pulls: int
) -> None:
    engine = FakeEngine(image, *(broken() for _ in range(failures)))
    assert images(engine, memory).obtain("app") is not None
    assert engine.pulls == pulls


def test_in_the_end_it_is_given_up(memory: ImageMemory) -> None:
    engine = FakeEngine(NONE, *(broken() for _ in range(5)))
    with pytest.raises(CannotPullError, match=_RETRIED):
        images(engine, memory).obtain("app")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        *((status, "pull access denied for app") for status in (400, 401, 403, 404)),
        (500, "Get https://registry/v2/: no basic auth credentials"),
        (500, "unauthorized: authentication required"),
    ],
)
def test_a_registrys_no_is_final(memory: ImageMemory, status: int, words: str) -> None:
    engine = FakeEngine(NONE, EngineError(status, words))
    with pytest.raises(CannotPullError, match=rf"^Error response from daemon: {words}$"):
        images(engine, memory).obtain("app")
    assert engine.pulls == 1


@pytest.mark.parametrize("works", [True, False])
def test_who_comes_while_an_image_is_pulled_waits_for_that_pull(memory: ImageMemory, works: bool) -> None:
    engine = FakeEngine(NONE, *([] if works else [EngineError(404, "no such image")]))
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(10)

    engine.before_answer = hold
    shared = images(engine, memory)
    results: list[object] = []

    def obtain() -> None:
        try:
            results.append(shared.obtain("app"))
        except CannotPullError as error:
            results.append(str(error))

    threads = [threading.Thread(target=obtain) for _ in range(4)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    assert all(engine.asked.acquire(timeout=10) for _ in threads)
    threads[1].join(0.2)  # they have looked for the image, and wait
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert results == [NEW if works else "Error response from daemon: no such image"] * 4
    assert engine.pulls == 1


LOGIN = RegistryLogin("puller", "one")


def test_a_tasks_own_login_comes_before_the_machines(memory: ImageMemory) -> None:
    engine = FakeEngine(NONE)
    images(engine, memory).obtain("app", lambda: LOGIN)
    assert engine.credentials == {"username": "puller", "password": "one"}
    images(engine, memory).obtain("app")
    assert engine.credentials == {"username": "me"}


def test_nobody_logs_in_for_an_image_that_suffices(memory: ImageMemory) -> None:
    def refuse() -> RegistryLogin:
        raise AssertionError("nothing is to be pulled")

    assert images(FakeEngine(OLD), memory, PREFER_CACHED).obtain("app", refuse) == OLD


@pytest.mark.parametrize(
    ("behavior", "image", "got"),
    [
        pytest.param(DEFAULT, OLD, OLD, id="what-is-there-is-used"),
        pytest.param(DEFAULT, NONE, None, id="where-nothing-is-there-it-fails"),
        pytest.param(ALWAYS, OLD, None, id="who-always-pulls-fails"),
    ],
)
def test_a_token_of_ecr_that_cannot_be_had_is_a_failed_pull(
    memory: ImageMemory, behavior: PullBehavior, image: dict[str, Any] | None, got: dict[str, Any] | None
) -> None:
    def refuse() -> RegistryLogin:
        raise NoEcrTokenError("ecr auth: AccessDeniedException")

    engine = FakeEngine(image)
    if got is None:
        with pytest.raises(NoEcrTokenError):
            images(engine, memory, behavior).obtain("app", refuse)
    else:
        assert images(engine, memory, behavior).obtain("app", refuse) == got
    assert engine.pulls == 0


def test_who_has_another_login_pulls_by_itself(memory: ImageMemory) -> None:
    """While one pull is on its way: what one may have is not given to another."""
    engine = FakeEngine(NONE)
    both = threading.Barrier(2, timeout=10)

    def meet() -> None:
        both.wait()

    engine.before_answer = meet
    shared = images(engine, memory, ALWAYS)
    logins: tuple[Callable[[], RegistryLogin | None], ...] = (lambda: LOGIN, lambda: None)
    threads = [threading.Thread(target=shared.obtain, args=("app", login)) for login in logins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert engine.pulls == 2


def test_a_signed_url_of_ecr_is_not_told(memory: ImageMemory) -> None:
    url = "https://prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com/a?X-Amz-Signature=5"
    engine = FakeEngine(NONE, EngineError(404, f'Get "{url}": not found'))
    with pytest.raises(CannotPullError, match=r"^Error response from daemon: Get REDACTED ECR URL related to app not"):
        images(engine, memory).obtain("app")
