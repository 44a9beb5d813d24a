"""What is logged of an instance says all that placement looks at, or that the instance is to be read."""

import json
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.container_instance import ContainerInstance, InstanceStatus
from control_plane.domain.fleet_change import Change, applied, decoded, encoded, newest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN = ContainerInstance(
    instance_id="0123456789abcdef0123456789abcdef",
    cluster="default",
    registration=1,
    version=7,
    cpu=1024,
    memory=512,
    ports=frozenset({"80/tcp"}),
    capabilities="digest",
    attributes={"site": "north", "ecs.os-type": "linux"},
    agent_connected=True,
    updated_at=NOW,
)


def other(**members: object) -> ContainerInstance:
    return KNOWN.model_copy(update={"version": 8, **members})


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(other(cpu=900, memory=400, tasks=1), id="a task was placed"),
        pytest.param(other(ports=frozenset({"80/tcp", "81/udp"})), id="one with host ports"),
        pytest.param(other(ports=frozenset()), id="one has stopped"),
        pytest.param(other(agent_connected=False, connection_changed_at=NOW), id="it was cut off"),
        pytest.param(other(status=InstanceStatus.DRAINING, settings_changed_at=NOW), id="it is to be emptied"),
    ],
)
def test_counters_are_in_the_line(after: ContainerInstance) -> None:
    seen = applied(KNOWN, Change.of(after))
    assert seen is not None
    assert Change.of(seen) == Change.of(after)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(other(registration=2), id="it has registered again"),
        pytest.param(other(attributes={"site": "south"}), id="with other attributes"),
        pytest.param(other(put_attributes={"rack": "1"}, attributes_version=1), id="it was given an attribute"),
        pytest.param(other(deleted_attributes=frozenset({"site"})), id="one was taken away"),
        pytest.param(other(reserved_ports=frozenset({"443/tcp"})), id="something else listens on a port"),
        pytest.param(
            KNOWN.model_copy(update={"daemons_due": frozenset({"logs"}), "daemons_due_at": NOW}),
            id="a daemon is due, which raises no version",
        ),
    ],
)
def test_for_anything_else_it_is_read(after: ContainerInstance) -> None:
    assert applied(KNOWN, Change.of(after)) is None


@pytest.mark.parametrize("version", [6, 7], ids=["an older line", "the line of what is known"])
def test_what_is_no_newer_changes_nothing(version: int) -> None:
    """A task that was placed since is counted already, under the version that was read."""
    placed_since = KNOWN.model_copy(update={"cpu": 1, "tasks": 5})
    assert applied(placed_since, Change.of(KNOWN.model_copy(update={"version": version}))) is placed_since


def test_the_newest_line_counts_in_any_order() -> None:
    lines = [Change.of(other(version=version, cpu=version)) for version in (9, 11, 10, 11)]
    assert newest(lines) == newest(reversed(lines)) == {KNOWN.instance_id: lines[1]}


names = st.text("abcdef0123456789", min_size=32, max_size=32)


@given(
    st.lists(
        st.builds(
            Change,
            instance_id=names,
            version=st.integers(1, 10**9),
            status=st.sampled_from(InstanceStatus),
            agent_connected=st.booleans(),
            tasks=st.integers(0, 1000),
            cpu=st.integers(-10_000, 10**6),
            memory=st.integers(-10_000, 10**6),
            ports=st.frozensets(st.sampled_from(["80/tcp", "53/udp", "65535/tcp"])),
            rest=st.integers(0, 2**32 - 1),
            connection_changed_at=st.none() | st.integers(0, 2**41).map(lambda at: NOW + timedelta(milliseconds=at)),
        ),
        max_size=20,
    )
)
def test_a_line_is_read_as_it_was_written(changes: list[Change]) -> None:
    assert decoded(encoded(changes)) == changes


def test_of_a_line_of_an_older_release_the_instance_is_read() -> None:
    """It does not say when the connection changed."""
    line = [KNOWN.instance_id, 8, "ACTIVE", 1, 2, 900, 400, ["80/tcp"], Change.of(KNOWN).rest]
    [change] = decoded(zlib.compress(json.dumps([line]).encode()))
    assert (change.version, change.tasks, change.ports) == (8, 2, frozenset({"80/tcp"}))
    assert applied(KNOWN, change) is None
