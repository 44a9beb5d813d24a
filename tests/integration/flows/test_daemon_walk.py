"""The walk of a deployment over the lines of a DAEMON service, of which it looks for those that are behind."""

import pytest

from control_plane.domain.scheduling.daemon_line import Line
from control_plane.domain.service import Service
from control_plane.store import daemons
from unit.scheduling.test_daemon import a_daemon
from world import World

COUNT = 3 * daemons.PAGE


def a_service_with_lines(world: World, shards: int, *, behind: range) -> Service:
    service = a_daemon(shards=shards)
    for number in range(COUNT):
        line = Line(instance_id=f"{number:032x}", wanted=True, behind=number in behind)
        world.table.commit([daemons.written(service, line.instance_id, None, line)])
    return service


def walked(world: World, service: Service, *counts: int) -> list[list[int]]:
    found = []
    for count in counts:
        ids = daemons.behind(world.table, service, count)
        service = service.model_copy(update={"rolled_up_to": ids[-1] if ids else service.rolled_up_to})
        found.append([int(each, 16) for each in ids])
    return found


@pytest.mark.parametrize("shards", [1, 8])
def test_each_round_comes_to_each_of_them_once(world: World, shards: int) -> None:
    service = a_service_with_lines(world, shards, behind=range(COUNT))
    found = walked(world, service, *[7] * 17, 1, COUNT)
    one_round = [number for each in found[:-1] for number in each]
    assert sorted(one_round) == list(range(COUNT))
    assert sorted(found[-1]) == list(range(COUNT)), "and the next one begins anew"
    assert found[-1] == one_round, "in the same order"


def test_those_that_are_not_behind_are_passed_over_page_by_page(world: World) -> None:
    service = a_service_with_lines(world, 1, behind=range(COUNT - 3, COUNT))
    assert walked(world, service, 2, 2, 9) == [
        [COUNT - 3, COUNT - 2],
        [COUNT - 1, COUNT - 3],
        [COUNT - 2, COUNT - 1, COUNT - 3],
    ]


def test_none_is_behind(world: World) -> None:
    service = a_service_with_lines(world, 8, behind=range(0))
    assert walked(world, service, 5) == [[]]
