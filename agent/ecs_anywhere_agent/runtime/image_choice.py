"""Which images may go, and in which order. Pure.

As Amazon's agent chooses, but that it takes every image that a task has used for its own, also one that somebody has
loaded or built on the machine and that no registry has.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/automated_image_cleanup.html
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ecs_anywhere_agent.runtime.image_memory import PulledImage


class CleaningRules(NamedTuple):
    """Ages in seconds."""

    minimum_age: float = 3600.0
    images_per_cycle: int = 5
    untracked: bool = False
    """Also what no task has pulled."""
    untracked_minimum_age: float = 3600.0
    excluded: frozenset[str] = frozenset()
    """Names as Docker lists them."""


class LocalImage(NamedTuple):
    """An image on the machine."""

    image_id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    created_at: float

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.tags, *self.digests)


class Needed(NamedTuple):
    """What must stay, whatever else holds."""

    names: frozenset[str]
    """As Docker lists them, of the images of tasks that should run."""
    image_ids: frozenset[str]
    """Of every container that there is, running or not, ours or not."""

    def holds(self, image: LocalImage) -> bool:
        return image.image_id in self.image_ids or not self.names.isdisjoint(image.names)


class Removal(NamedTuple):
    """An image, and the names to take from it, or its id."""

    image_id: str
    references: tuple[str, ...]


def local_image(listed: Mapping[str, Any]) -> LocalImage:
    """From Docker's list, where one without a name has `<none>:<none>`."""

    def named(names: Sequence[str] | None) -> tuple[str, ...]:
        return tuple(name for name in names or () if "<none>" not in name)

    return LocalImage(
        listed["Id"], named(listed.get("RepoTags")), named(listed.get("RepoDigests")), listed["Size"], listed["Created"]
    )


def removable(
    images: Collection[LocalImage],
    pulled: Collection[PulledImage],
    needed: Needed,
    rules: CleaningRules,
    now: float,
    *,
    pressed: bool = False,
) -> tuple[Removal, ...]:
    """In the order in which to remove them.

    `pressed`: the disk is nearly full: then neither age nor number keeps what nothing needs.
    """
    free = [image for image in images if not needed.holds(image) and rules.excluded.isdisjoint(image.names)]
    by_id: dict[str, list[PulledImage]] = {}
    for each in pulled:
        by_id.setdefault(each.image_id, []).append(each)
    ours = tuple(_ours(free, by_id, rules, now, pressed))
    others = tuple(_others(free, by_id, rules, now)) if rules.untracked else ()
    chosen = (*ours, *others)
    return chosen if pressed else chosen[: rules.images_per_cycle]


def _ours(
    free: Collection[LocalImage],
    pulled: Mapping[str, Sequence[PulledImage]],
    rules: CleaningRules,
    now: float,
    pressed: bool,
) -> Iterator[Removal]:
    """The longest unused first. Only the names that tasks have pulled it by: another name is somebody else's."""
    mine = [
        (image, pulled[image.image_id])
        for image in free
        if any(each.brought for each in pulled.get(image.image_id, ()))
        and (pressed or _age(now, (each.pulled_at for each in pulled[image.image_id])) > rules.minimum_age)
    ]
    for image, rows in sorted(mine, key=lambda each: (max(row.used_at for row in each[1]), each[0].image_id)):
        by_us = {row.name for row in rows}
        tags = tuple(tag for tag in image.tags if tag in by_us)
        if tags:
            yield Removal(image.image_id, tags)
        elif not image.tags:
            digests = tuple(digest for digest in image.digests if digest in by_us)
            yield Removal(image.image_id, digests or (image.image_id,))


def _others(
    free: Collection[LocalImage], pulled: Mapping[str, Sequence[PulledImage]], rules: CleaningRules, now: float
) -> Iterator[Removal]:
    """The smallest first."""
    theirs = [
        image
        for image in free
        if not any(each.brought for each in pulled.get(image.image_id, ()))
        and now - image.created_at > rules.untracked_minimum_age
    ]
    for image in sorted(theirs, key=lambda each: (each.size, each.image_id)):
        yield Removal(image.image_id, image.tags if len(image.tags) > 1 else (image.image_id,))


def _age(now: float, times: Iterator[float]) -> float:
    """Of the newest. A clock that was set back makes it negative, which is young."""
    return now - max(times)
