"""Which images may go: what is needed, in use, or not ours stays, whatever the rules and the clock say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_anywhere_agent.runtime.image_choice import CleaningRules, LocalImage, Needed, Removal, local_image, removable
from ecs_anywhere_agent.runtime.image_memory import PulledImage

NOW = 1_000_000.0
HOUR = 3600.0
NOTHING = Needed(frozenset(), frozenset())
RULES = CleaningRules()


def image(image_id: str, *tags: str, size: int = 1, created: float = 0.0) -> LocalImage:
    return LocalImage(image_id, tags, (), size, created)


def pulled(
    image_id: str, name: str, *, age: float = 2 * HOUR, unused: float = 2 * HOUR, brought: bool = True
) -> PulledImage:
    return PulledImage(name, image_id, NOW - age, NOW - unused, brought)


A, B = image("A", "a:1"), image("B", "b:1")
OF_A, OF_B = pulled("A", "a:1"), pulled("B", "b:1", unused=3 * HOUR)
GOES_A, GOES_B = Removal("A", ("a:1",)), Removal("B", ("b:1",))


@pytest.mark.parametrize(
    ("images", "memory", "needed", "rules", "goes"),
    [
        pytest.param([A, B], [OF_A, OF_B], NOTHING, RULES, (GOES_B, GOES_A), id="the-longest-unused-first"),
        pytest.param([A], [pulled("A", "a:1", age=HOUR - 1)], NOTHING, RULES, (), id="too-young"),
        pytest.param([A], [pulled("A", "a:1", age=-HOUR)], NOTHING, RULES, (), id="pulled-when-the-clock-was-ahead"),
        pytest.param([A], [OF_A], Needed(frozenset({"a:1"}), frozenset()), RULES, (), id="a-task-needs-its-name"),
        pytest.param([A], [OF_A], Needed(frozenset(), frozenset({"A"})), RULES, (), id="a-container-has-it"),
        pytest.param([A], [], NOTHING, RULES, (), id="no-task-has-pulled-it"),
        pytest.param([A], [pulled("A", "a:1", brought=False)], NOTHING, RULES, (), id="it-was-there-before"),
        pytest.param(
            [A, B],
            [OF_A, OF_B],
            NOTHING,
            RULES._replace(images_per_cycle=1),
            (GOES_B,),
            id="not-more-than-a-cycle-allows",
        ),
        pytest.param([A], [OF_A], NOTHING, RULES._replace(excluded=frozenset({"a:1"})), (), id="excluded"),
        pytest.param(
            [image("A", "a:1", "mine:1")],
            [OF_A],
            Needed(frozenset({"mine:1"}), frozenset()),
            RULES,
            (),
            id="a-task-needs-another-name-of-it",
        ),
        pytest.param(
            [image("A", "a:1", "mine:1")], [OF_A], NOTHING, RULES, (GOES_A,), id="somebodys-own-name-for-it-stays"
        ),
        pytest.param([image("A", "mine:1")], [OF_A], NOTHING, RULES, (), id="only-somebodys-own-name-is-left"),
        pytest.param([image("A")], [OF_A], NOTHING, RULES, (Removal("A", ("A",)),), id="its-name-has-moved-on"),
        pytest.param(
            [LocalImage("A", (), ("a@sha256:1",), 1, 0)],
            [pulled("A", "a@sha256:1")],
            NOTHING,
            RULES,
            (Removal("A", ("a@sha256:1",)),),
            id="pulled-by-its-digest",
        ),
        pytest.param(
            [image("A", "a:1", size=9), image("B", "b:1", size=3)],
            [],
            NOTHING,
            RULES._replace(untracked=True),
            (Removal("B", ("B",)), Removal("A", ("A",))),
            id="untracked-the-smallest-first",
        ),
        pytest.param(
            [image("A", "a:1", created=NOW - 60)],
            [],
            NOTHING,
            RULES._replace(untracked=True),
            (),
            id="untracked-and-too-young",
        ),
        pytest.param(
            [image("A", "a:1", "a:2")],
            [],
            NOTHING,
            RULES._replace(untracked=True),
            (Removal("A", ("a:1", "a:2")),),
            id="untracked-with-several-names",
        ),
        pytest.param(
            [A, B],
            [OF_B],
            NOTHING,
            RULES._replace(untracked=True, images_per_cycle=2),
            (GOES_B, Removal("A", ("A",))),
            id="untracked-after-our-own",
        ),
    ],
)
def test_an_ordinary_cycle(
    images: list[LocalImage],
    memory: list[PulledImage],
    needed: Needed,
    rules: CleaningRules,
    goes: tuple[Removal, ...],
) -> None:
    assert removable(images, memory, needed, rules, NOW) == goes


def test_a_nearly_full_disk_waits_for_no_age_and_no_number() -> None:
    images = [image(f"{number}", f"app:{number}") for number in range(9)]
    memory = [pulled(f"{number}", f"app:{number}", age=1.0, unused=1.0) for number in range(9)]
    chosen = removable(images, memory, NOTHING, RULES, NOW, pressed=True)
    assert [each.image_id for each in chosen] == [f"{number}" for number in range(9)]


def test_dockers_list() -> None:
    listed = {"Id": "A", "RepoTags": ["<none>:<none>"], "RepoDigests": ["a@sha256:1"], "Size": 5, "Created": 7}
    assert local_image(listed) == LocalImage("A", (), ("a@sha256:1",), 5, 7)
    assert local_image({**listed, "RepoTags": None, "RepoDigests": None}) == LocalImage("A", (), (), 5, 7)


IDS, NAMES = st.sampled_from("ABCD"), st.sampled_from(["a:1", "b:1", "c:1", "mine:1"])
TIMES = st.floats(min_value=-2 * NOW, max_value=2 * NOW)
IMAGES = st.dictionaries(IDS, st.tuples(st.lists(NAMES, unique=True), st.integers(0, 9), TIMES), max_size=4).map(
    lambda found: [LocalImage(key, tuple(tags), (), size, at) for key, (tags, size, at) in found.items()]
)
PULLED = st.lists(st.builds(PulledImage, NAMES, IDS, TIMES, TIMES, st.booleans()), max_size=6)
NEEDED = st.builds(Needed, st.frozensets(NAMES, max_size=2), st.frozensets(IDS, max_size=2))
ANY_RULES = st.builds(
    CleaningRules,
    st.floats(0, NOW),
    st.integers(1, 9),
    st.booleans(),
    st.floats(0, NOW),
    st.frozensets(NAMES, max_size=2),
)


@given(images=IMAGES, memory=PULLED, needed=NEEDED, rules=ANY_RULES, now=TIMES, pressed=st.booleans())
def test_never_what_is_needed_nor_excluded_nor_by_default_what_is_not_ours(
    *,
    images: list[LocalImage],
    memory: list[PulledImage],
    needed: Needed,
    rules: CleaningRules,
    now: float,
    pressed: bool,
) -> None:
    by_id = {each.image_id: each for each in images}
    chosen = removable(images, memory, needed, rules, now, pressed=pressed)
    for removal in chosen:
        gone = by_id[removal.image_id]
        assert removal.image_id not in needed.image_ids
        assert not needed.names & {*gone.names, *removal.references}
        assert not rules.excluded & set(gone.names)
        if not rules.untracked:
            ours = {each.name for each in memory if each.image_id == gone.image_id}
            assert any(each.brought for each in memory if each.image_id == gone.image_id)
            assert set(removal.references) <= ours | {gone.image_id}
            assert gone.image_id not in removal.references or not gone.tags
    assert pressed or len(chosen) <= rules.images_per_cycle
