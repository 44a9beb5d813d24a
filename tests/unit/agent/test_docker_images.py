"""When images are pulled, how often, and by whom."""

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from ecs_anywhere_agent.execution_role import RegistryLogin
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError
from ecs_anywhere_agent.runtime.docker_images import CannotPullError, Images, PullBehavior

NONE, LOADED, PULLED = None, {"Id": "old", "RepoDigests": []}, {"Id": "old", "RepoDigests": ["app@sha256:1"]}
NEW = {"Id": "new", "RepoDigests": ["app@sha256:2"]}


class FakeEngine:
    """Has at most one image, and a registry that may fail."""

    def __init__(self, image: dict[str, Any] | None, *failures: EngineError) -> None:
        self.present = image
        self.failures = list(failures)
        self.pulls = 0
        self.logins: list[RegistryLogin | None] = []
        self.asked = threading.Semaphore(0)
        self.before_answer: Callable[[], None] = lambda: None

    def image(self, name: str) -> dict[str, Any] | None:
        del name
        self.asked.release()
        return self.present

    def pull(self, name: str, login: RegistryLogin | None = None) -> None:
        del name
        self.logins.append(login)
        self.pulls += 1
        self.before_answer()
        if self.failures:
            raise self.failures.pop(0)
        self.present = NEW


def images(engine: FakeEngine, behavior: PullBehavior = PullBehavior.DEFAULT) -> Images:
    return Images(cast("Engine", engine), behavior, 0.0, threading.Event())


def broken() -> EngineError:
    return EngineError(500, "no route to host")


DEFAULT, ALWAYS, ONCE, PREFER_CACHED = PullBehavior


@pytest.mark.parametrize(
    ("behavior", "image", "up", "got"),
    [
        pytest.param(DEFAULT, PULLED, True, "new", id="default-pulls-each-time"),
        pytest.param(DEFAULT, PULLED, False, "old", id="default-takes-what-is-there-if-it-must"),
        pytest.param(DEFAULT, NONE, False, None, id="default-with-nothing-there"),
        pytest.param(ALWAYS, PULLED, True, "new", id="always-pulls"),
        pytest.param(ALWAYS, PULLED, False, None, id="always-takes-nothing-else"),
        pytest.param(ONCE, PULLED, True, "old", id="once-was-pulled-before"),
        pytest.param(ONCE, LOADED, True, "new", id="once-was-never-pulled"),
        pytest.param(ONCE, LOADED, False, "old", id="once-and-cannot"),
        pytest.param(ONCE, NONE, True, "new", id="once-is-now"),
        pytest.param(PREFER_CACHED, LOADED, True, "old", id="prefer-cached"),
        pytest.param(PREFER_CACHED, NONE, True, "new", id="prefer-cached-with-nothing-there"),
    ],
)
def test_the_four_behaviors(behavior: PullBehavior, image: dict[str, Any] | None, up: bool, got: str | None) -> None:
    engine = FakeEngine(image, *([] if up else [broken()] * 9))
    if got is None:
        with pytest.raises(CannotPullError):
            images(engine, behavior).obtain("app")
    else:
        found = images(engine, behavior).obtain("app")
        assert found is not None
        assert found["Id"] == got


@pytest.mark.parametrize(
    ("image", "failures", "pulls"),
    [
        pytest.param(NONE, 4, 5, id="tried-again-until-it-works"),
        pytest.param(PULLED, 1, 1, id="not-tried-again-where-one-is-there"),
    ],
)
def test_a_failed_pull_is_tried_again(image: dict[str, Any] | None, failures: int, pulls: int) -> None:
    engine = FakeEngine(image, *(broken() for _ in range(failures)))
    assert images(engine).obtain("app") is not None
    assert engine.pulls == pulls


def test_in_the_end_it_is_given_up() -> None:
    engine = FakeEngine(NONE, *(broken() for _ in range(5)))
    with pytest.raises(CannotPullError, match=r"^pull image manifest has been retried 4 time\(s\): no route to host$"):
        images(engine).obtain("app")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_registrys_no_is_final(status: int) -> None:
    engine = FakeEngine(NONE, EngineError(status, "pull access denied for app"))
    with pytest.raises(CannotPullError, match=r"^pull access denied for app$"):
        images(engine).obtain("app")
    assert engine.pulls == 1


@pytest.mark.parametrize("works", [True, False])
def test_who_comes_while_an_image_is_pulled_waits_for_that_pull(works: bool) -> None:
    engine = FakeEngine(NONE, *([] if works else [EngineError(404, "no such image")]))
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(10)

    engine.before_answer = hold
    shared = images(engine)
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
    assert results == [NEW if works else "no such image"] * 4
    assert engine.pulls == 1
