"""Removes images that nothing needs, and, if the machine's owner wants that, what was never a task's."""

import logging
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError
from ecs_anywhere_agent.runtime.docker_images import Images, PullBehavior
from ecs_anywhere_agent.runtime.docker_labels import is_of_ecs
from ecs_anywhere_agent.runtime.image_choice import CleaningRules, Needed, Removal, local_image, removable
from ecs_anywhere_agent.runtime.image_memory import ImageMemory, PulledImage
from ecs_anywhere_agent.runtime.image_names import listed_name
from ecs_anywhere_agent.settings import Settings

_log = logging.getLogger(__name__)
_NEVER = "0001-"
_LISTED_BY_THEN_SECONDS = 60.0


class ImageCleaning:
    """One cycle each time that it is called."""

    def __init__(self, engine: Engine, images: Images, memory: ImageMemory, settings: Settings) -> None:
        self._engine = engine
        self._images = images
        self._memory = memory
        self._settings = settings
        # Who prefers what is there must find it there.
        self._off = settings.image_cleanup_disabled or settings.pull_behavior == PullBehavior.PREFER_CACHED
        self._rules = CleaningRules(
            minimum_age=settings.image_minimum_age,
            images_per_cycle=settings.images_per_cycle,
            untracked=settings.untracked_cleanup,
            untracked_minimum_age=settings.untracked_image_minimum_age,
            excluded=frozenset(map(listed_name, settings.excluded_images)),
        )

    def clean(self, needed: Callable[[], frozenset[str]], pressed: Callable[[], bool] | None) -> None:
        """`needed` says which images tasks that should run use, by their names in task definitions.

        `pressed` says whether the disk is still too full; None: an ordinary cycle.
        Raises EngineUnreachableError, EngineError.
        """
        if self._off:
            return
        if self._rules.untracked:
            self._remove_containers_of_nobody()
        since = time.monotonic()  # what is asked for from now on is not among what is needed, and stays all the same
        names = frozenset(map(listed_name, needed()))
        used = frozenset(str(each["ImageID"]) for each in self._engine.all_containers())
        images = {image.image_id: image for image in map(local_image, self._engine.images())}
        pulled = self._memory.all()
        self._forget_what_is_gone(pulled, images)
        chosen = removable(
            tuple(images.values()), pulled, Needed(names, used), self._rules, time.time(), pressed=pressed is not None
        )
        for removal in chosen:
            if pressed is not None and not pressed():
                return
            of_tasks = {each.name for each in pulled if each.image_id == removal.image_id}
            self._remove(removal, since, of_tasks.union(images[removal.image_id].names))

    def _remove(self, removal: Removal, since: float, names: Collection[str]) -> None:
        for reference in removal.references:
            try:
                if not self._images.remove(reference, since, names):
                    return
            except EngineError as error:
                _log.info("image %s stays: %s", reference, error)
                return
            _log.info("removed image %s, which nothing has needed", reference)
        if self._engine.image(removal.image_id) is None:
            self._memory.forget(removal.image_id)

    def _forget_what_is_gone(self, pulled: Collection[PulledImage], there: Collection[str]) -> None:
        """Somebody else has removed it. What is pulled just now may be missing from the list, and is not forgotten."""
        now = time.time()
        for each in pulled:
            if each.image_id not in there and abs(now - each.pulled_at) > _LISTED_BY_THEN_SECONDS:
                self._memory.forget(each.image_id)

    def _remove_containers_of_nobody(self) -> None:
        """Ended for as long as those of tasks are kept, and of no agent, neither ours nor Amazon's."""
        removed = 0
        for listed in self._engine.all_containers():
            if removed == self._settings.untracked_containers_per_cycle:
                return
            if listed["State"] not in {"exited", "dead", "created"} or is_of_ecs(listed.get("Labels") or {}):
                continue
            inspected = self._engine.inspect(listed["Id"])
            if inspected is None or not self._is_old(inspected["State"]["FinishedAt"], inspected["Created"]):
                continue
            try:
                self._engine.remove(listed["Id"])
            except EngineError as error:
                _log.info("container %s stays: %s", listed["Id"][:12], error)
                continue
            _log.info("removed container %s, which was none of a task's", listed["Id"][:12])
            removed += 1

    def _is_old(self, finished_at: str, created_at: str) -> bool:
        """One that was never started counts from when it was made: its maker may be about to start it."""
        text = created_at if finished_at.startswith(_NEVER) else finished_at
        moment = datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
        return time.time() - moment.timestamp() > self._settings.task_cleanup_wait
