"""What a nextToken is good for."""

from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.pages import Asked, Paging, Place

PLACE = Place("tasks 07", "T#00c0ffee#0123456789abcdef0123456700c0ffee", "line")


def paging(key: bytes = b"key", operation: str = "ListTasks", **request: Any) -> Paging:
    return Paging(key, operation, request)


def test_a_token_leads_to_its_place() -> None:
    token = paging(cluster="edge", maxResults=3).more(PLACE)["nextToken"]
    assert paging(cluster="edge", nextToken=token).asked() == Asked(100, PLACE)
    assert paging(cluster="edge", nextToken=token, maxResults=7).asked() == Asked(7, PLACE), "of another size"
    assert (paging().more(None), paging(nextToken="").asked()) == ({}, Asked(100))


def test_no_character_can_be_changed() -> None:
    token = paging().more(PLACE)["nextToken"]
    changed = [
        token[:at] + other + token[at + 1 :] for at in range(len(token)) for other in "AB_=~" if token[at] != other
    ]
    for each in (*changed, token[1:], token[:-1], token + "A", token + "\n", token * 2):
        with pytest.raises(InvalidParameterException, match="Invalid token"):
            paging(nextToken=each).asked()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(paging(operation="ListServices", cluster="edge"), id="another operation"),
        pytest.param(paging(cluster="core"), id="another filter"),
        pytest.param(paging(), id="no filter"),
        pytest.param(paging(cluster="edge", family="web"), id="one filter more"),
        pytest.param(paging(key=b"other", cluster="edge"), id="another deployment, or a replaced key"),
    ],
)
def test_a_token_is_good_for_one_list(other: Paging) -> None:
    token = paging(cluster="edge").more(PLACE)["nextToken"]
    with pytest.raises(InvalidParameterException, match="Invalid token"):
        Paging(other.token_key, other.operation, {**other.request, "nextToken": token}).asked()


def test_a_sorted_list_goes_on_after_what_was_shown() -> None:
    first, more = paging(maxResults=2).page_of(["a", "c", "e", "g"])
    rest, none = paging(maxResults=2, nextToken=more["nextToken"]).page_of(["a", "b", "d", "f"])
    assert (first, rest, none) == (["a", "c"], ["d", "f"], {})
    first, more = paging(maxResults=2).page_of(["g", "e", "c", "a"], descending=True)
    rest, none = paging(maxResults=2, nextToken=more["nextToken"]).page_of(["f", "d", "b"], descending=True)
    assert (first, rest, none) == (["g", "e"], ["d", "b"], {})
