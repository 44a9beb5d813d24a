"""Whatever is sent is answered as Amazon's model says, or refused in a documented way; what is refused changes nothing.

`make fuzz` goes on with the same cases without an end.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from moto import mock_aws

from contract.any_request import Request, cases, large
from contract.front_door import FrontDoor, front_door

FIXED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def door() -> Iterator[FrontDoor]:
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        environment.delenv("AWS_PROFILE", raising=False)
        with front_door() as made:
            yield made


@given(requests=cases())
@settings(FIXED, max_examples=400)
def test_no_request_is_a_fault_of_ours(door: FrontDoor, requests: list[Request]) -> None:
    assert door.faults(requests) == []


def test_many_are_answered_and_many_refused(door: FrontDoor) -> None:
    """By the cases above; else they would say nothing."""
    answered, refused = door.answered[200], door.answered[400]
    assert min(answered, refused) * 8 > answered + refused > 200, door.answered


@given(request=large())
@settings(FIXED, max_examples=5)
def test_nor_is_one_of_more_than_a_mebibyte(door: FrontDoor, request: Request) -> None:
    assert door.faults([request]) == []
