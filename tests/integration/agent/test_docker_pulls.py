"""Pulls by the real Engine from a real registry, what Amazon ECS calls their failures, and what goes when unused."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ecs_anywhere_agent.core.actions import PullImage
from ecs_anywhere_agent.core.events import ActionFailed, Attempt, ImagePulled
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker import DockerRuntime
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError, Patience
from ecs_anywhere_agent.runtime.docker_images import PullBehavior
from ecs_anywhere_agent.settings import Settings
from integration.agent.registry import PASSWORD, USERNAME, Registry, registry
from integration.agent.runtimes import Driver
from shows import shows

pytestmark = pytest.mark.docker

REF = ContainerRef("f" * 32, "main")
Make = Callable[[Settings], "Puller"]
OLD_ENOUGH = Settings(image_minimum_age=1e-9)


class Puller:
    """The Docker runtime of an agent that has pulled nothing but what a test asks it for."""

    def __init__(self, engine: Engine, data_dir: Path, settings: Settings) -> None:
        self.engine = engine
        self.runtime = DockerRuntime.connect(
            data_dir, pull=PullBehavior(settings.pull_behavior), pull_pause_seconds=0.2, settings=settings
        )
        self.driver = Driver(self.runtime)

    def pull(self, image: str) -> ImagePulled | ActionFailed:
        told = self.driver.do(PullImage(REF, image))
        assert isinstance(told, ImagePulled | ActionFailed)
        return told

    def fails(self, image: str) -> str:
        told = self.pull(image)
        assert isinstance(told, ActionFailed), told
        assert told.attempt is Attempt.PULL
        return told.reason

    def digest(self, image: str) -> str | None:
        told = self.pull(image)
        assert isinstance(told, ImagePulled), told
        return told.image_digest

    def clean(self, *needed: str, pressed: Callable[[], bool] | None = None) -> None:
        self.runtime.clean_up(lambda: frozenset(needed), pressed)

    def has(self, image: str) -> bool:
        return self.engine.image(image) is not None


@pytest.fixture
def make(engine: Engine, tmp_path: Path) -> Iterator[Make]:
    made: list[Puller] = []

    def make_puller(settings: Settings) -> Puller:
        for each in made:
            each.driver.close()
        made.append(Puller(engine, tmp_path, settings))
        return made[-1]

    yield make_puller
    for each in made:
        each.driver.close()


@pytest.fixture
def open_registry(engine: Engine, tmp_path: Path) -> Iterator[Registry]:
    del engine
    with registry(tmp_path / "registry") as made:
        yield made


@pytest.fixture
def closed_registry(engine: Engine, tmp_path: Path) -> Iterator[Registry]:
    """It wants a password."""
    del engine
    with registry(tmp_path / "registry", passwords=True) as made:
        yield made


@shows("image")
@pytest.mark.parametrize(
    ("behavior", "while_up", "while_down"),
    [
        pytest.param("default", "second", "second", id="default-has-the-newest-that-it-can"),
        pytest.param("always", "second", None, id="always-has-the-newest-or-nothing"),
        pytest.param("once", "first", "first", id="once-stays-with-what-it-pulled"),
        pytest.param("prefer-cached", "first", "first", id="prefer-cached-too"),
    ],
)
def test_the_four_behaviors(
    make: Make, open_registry: Registry, behavior: str, while_up: str, while_down: str | None
) -> None:
    image = f"{open_registry.host}/app:1"
    digests = {"first": open_registry.push("app:1", "first")}
    settings = Settings(pull_behavior=behavior)
    assert make(settings).digest(image) == digests["first"]
    digests["second"] = open_registry.push("app:1", "second") if while_up == "second" else "-"
    next_agent = make(settings)
    assert next_agent.digest(image) == digests[while_up]
    open_registry.stop()
    if while_down is None:
        assert "connection refused" in next_agent.fails(image)
    else:
        assert next_agent.digest(image) == digests[while_down]


def test_once_pulls_what_only_somebody_else_has_pulled(make: Make, engine: Engine, open_registry: Registry) -> None:
    image = f"{open_registry.host}/app:1"
    open_registry.push("app:1", "first")
    engine.pull(image)
    second = open_registry.push("app:1", "second")
    assert make(Settings(pull_behavior="once")).digest(image) == second


def test_an_image_by_its_digest(make: Make, open_registry: Registry) -> None:
    digest = open_registry.push("app:1", "first")
    open_registry.push("app:1", "second")
    assert make(Settings()).digest(f"{open_registry.host}/app@{digest}") == digest


def test_an_image_is_pulled_once_for_all_who_wait_for_it(make: Make, open_registry: Registry) -> None:
    digest = open_registry.push("app:1", "x" * 5_000_000)
    before = open_registry.manifests_asked_for("app")
    puller = make(Settings(pull_behavior="prefer-cached"))
    refs = [ContainerRef("f" * 32, f"c{number}") for number in range(3)]
    for ref in refs:
        puller.runtime.perform(PullImage(ref, f"{open_registry.host}/app:1"))
    assert {puller.driver.next() for _ in refs} == {ImagePulled(ref, digest) for ref in refs}
    assert open_registry.manifests_asked_for("app") - before == 1


def test_a_registry_that_is_away_for_a_moment_is_waited_for(make: Make, open_registry: Registry) -> None:
    digest = open_registry.push("app:1", "first")
    open_registry.stop()
    back = threading.Timer(0.5, open_registry.start)
    back.start()
    assert make(Settings()).digest(f"{open_registry.host}/app:1") == digest
    back.join()


def test_what_is_not_there_is_refused_at_once_in_the_engines_words(make: Make, open_registry: Registry) -> None:
    open_registry.push("app:1", "first")
    puller = make(Settings())
    for name in ("app:2", "nothing:1"):
        image = f"{open_registry.host}/{name}"
        assert puller.fails(image).startswith(f"Error response from daemon: manifest for {image} not found")


def test_a_registry_that_is_not_there(make: Make, open_registry: Registry) -> None:
    open_registry.stop()
    reason = make(Settings()).fails(f"{open_registry.host}/app:1")
    assert reason.startswith("pull image manifest has been retried 4 time(s): Error response from daemon: Get ")
    assert reason.endswith("connect: connection refused")


@pytest.mark.parametrize(
    ("password", "works"),
    [pytest.param(PASSWORD, True, id="the-right-one"), pytest.param("guess", False, id="a-wrong-one")],
)
def test_a_registry_with_passwords(make: Make, closed_registry: Registry, password: str, works: bool) -> None:
    digest = closed_registry.push("app:1", "first")
    image = f"{closed_registry.host}/app:1"
    assert make(Settings()).fails(image).endswith("no basic auth credentials")
    data = f'{{"http://{closed_registry.host}": {{"username": "{USERNAME}", "password": "{password}"}}}}'
    puller = make(Settings.model_validate({"registry_auth_type": "docker", "registry_auth_data": data}))
    if works:
        assert puller.digest(image) == digest
    else:
        assert "unauthorized" in puller.fails(image) or "no basic auth" in puller.fails(image)


def test_a_pull_that_stands_still_is_given_up(engine: Engine) -> None:
    """Something listens there and never answers."""
    impatient = Engine(engine.socket_path, patience=Patience(pull_silence=0.5))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(EngineError, match="inactivity time exceeded timeout while pulling image"):
            impatient.pull(f"127.0.0.1:{silent.getsockname()[1]}/app:1")


def test_images_that_nothing_needs_go_and_only_those(make: Make, engine: Engine, open_registry: Registry) -> None:
    names = ["unused", "needed", "held", "somebodys"]
    images = {name: f"{open_registry.host}/{name}:1" for name in names}
    for name in names:
        open_registry.push(f"{name}:1", name)
    engine.pull(images["somebodys"])
    puller = make(OLD_ENOUGH)
    for image in images.values():
        puller.digest(image)
    container = engine.create(f"ecs-anywhere-held-{time.monotonic_ns()}", {"Image": images["held"], "Cmd": ["x"]})
    try:
        time.sleep(0.01)
        puller.clean(images["needed"])
        assert {name: puller.has(images[name]) for name in names} == {
            "unused": False,
            "needed": True,
            "held": True,
            "somebodys": True,
        }
    finally:
        engine.remove(container)
    make(OLD_ENOUGH).clean()
    assert {name: puller.has(images[name]) for name in names} == {
        "unused": False,
        "needed": False,
        "held": False,
        "somebodys": True,
    }


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(Settings(), id="too-young"),
        pytest.param(OLD_ENOUGH.model_copy(update={"image_cleanup_disabled": True}), id="switched-off"),
        pytest.param(OLD_ENOUGH.model_copy(update={"pull_behavior": "prefer-cached"}), id="it-is-to-be-found-there"),
    ],
)
def test_when_no_image_goes(make: Make, open_registry: Registry, settings: Settings) -> None:
    open_registry.push("app:1", "first")
    image = f"{open_registry.host}/app:1"
    puller = make(settings)
    puller.digest(image)
    puller.clean()
    assert puller.has(image)


def test_on_a_nearly_full_disk_images_go_until_there_is_room(make: Make, open_registry: Registry) -> None:
    images = [f"{open_registry.host}/app{number}:1" for number in range(2)]
    puller = make(Settings())
    for number, image in enumerate(images):
        open_registry.push(f"app{number}:1", image)
        puller.digest(image)
    looks = iter([True, False])
    puller.clean(pressed=lambda: next(looks))
    assert [puller.has(image) for image in images].count(True) == 1


def test_an_earlier_image_of_a_name_that_has_moved_on_goes_too(
    make: Make, engine: Engine, open_registry: Registry
) -> None:
    image = f"{open_registry.host}/app:1"
    puller = make(OLD_ENOUGH)
    open_registry.push("app:1", "first")
    puller.digest(image)
    first = engine.image(image)
    assert first is not None
    open_registry.push("app:1", "second")
    puller.digest(image)
    time.sleep(0.01)
    puller.clean(image)
    assert not puller.has(first["Id"])
    assert puller.has(image)
