"""Ports of the machine for a range."""

import socket
from contextlib import closing

import pytest

from ecs_anywhere_agent.container_network import PortRange
from ecs_anywhere_agent.runtime.docker_ports import NoFreePortsError, PortRanges

FIRST = 28_000
THREE, TWO_UDP = PortRange(8000, 8002, "tcp"), PortRange(9000, 9001, "udp")


def test_ranges_are_chosen_downwards_and_never_the_same_twice_in_a_row() -> None:
    ranges = PortRanges((FIRST, FIRST + 9))
    assert ranges.choose([THREE, TWO_UDP]) == {THREE: FIRST + 7, TWO_UDP: FIRST + 5}
    assert ranges.choose([THREE]) == {THREE: FIRST + 2}
    assert ranges.choose([THREE]) == {THREE: FIRST + 7}


def test_what_somebody_listens_at_is_passed_over() -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", FIRST + 8))
        assert PortRanges((FIRST, FIRST + 9)).choose([THREE]) == {THREE: FIRST + 5}
        assert PortRanges((FIRST, FIRST + 9)).choose([TWO_UDP]) == {TWO_UDP: FIRST + 8}


def test_where_there_is_no_room_it_says_so() -> None:
    with pytest.raises(NoFreePortsError, match="no 3 contiguous host ports are free for 8000-8002"):
        PortRanges((FIRST, FIRST + 1)).choose([THREE])
