"""What is none of a task's goes, too, if the machine's owner wants that: on an Engine of its own, which loses it."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.runtime.docker_engine import Engine
from ecs_anywhere_agent.runtime.docker_images import Images, PullBehavior
from ecs_anywhere_agent.runtime.image_cleaning import ImageCleaning
from ecs_anywhere_agent.runtime.image_memory import ImageMemory
from ecs_anywhere_agent.settings import Settings
from integration.agent.own_docker import OwnDocker

pytestmark = pytest.mark.docker

IMAGE = "busybox:test"
UNTRACKED = Settings(untracked_cleanup=True, task_cleanup_wait=1.0, untracked_image_minimum_age=1e-9)


def clean(engine: Engine, directory: Path, settings: Settings) -> None:
    memory = ImageMemory(directory / "images.sqlite")
    images = Images(engine, PullBehavior.DEFAULT, 0.0, threading.Event(), memory=memory)
    ImageCleaning(engine, images, memory, settings).clean(frozenset, None)
    memory.close()


def left(engine: Engine) -> set[str]:
    return {each["Names"][0].strip("/") for each in engine.all_containers()}


def test_untracked_containers_and_images(own_docker: OwnDocker, tmp_path: Path) -> None:
    engine = Engine(own_docker.socket)
    client = own_docker.client()
    client.images.get(IMAGE).tag("excluded", "1")
    client.close()
    config = {"Image": IMAGE, "HostConfig": {"NetworkMode": "none"}}
    made: dict[str, dict[str, Any]] = {
        "ended": {"Cmd": ["echo"]},
        "runs": {"Cmd": ["sleep", "1000"]},
        "of-a-task": {"Cmd": ["echo"], "Labels": {"com.amazonaws.ecs.task-arn": "of Amazon's agent"}},
    }
    for name, members in made.items():
        engine.start(engine.create(name, {**config, **members}))
    time.sleep(3)
    engine.create("about-to-start", {**config, "Cmd": ["echo"]})

    clean(engine, tmp_path, Settings(task_cleanup_wait=1.0))
    assert left(engine) == {"ended", "runs", "of-a-task", "about-to-start"}, "not unless it is wanted"
    clean(engine, tmp_path, UNTRACKED.model_copy(update={"task_cleanup_wait": 1.5}))
    assert left(engine) == {"runs", "of-a-task", "about-to-start"}
    assert engine.image(IMAGE) is not None, "containers have it"

    for name in left(engine):
        engine.remove(name)
    clean(engine, tmp_path, UNTRACKED.model_copy(update={"excluded_images": ("excluded:1",)}))
    assert engine.image(IMAGE) is not None, "it has a name that is excluded"
    clean(engine, tmp_path, UNTRACKED)
    assert engine.image(IMAGE) is None
    engine.close()
