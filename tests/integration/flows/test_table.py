"""Items read without botocore's parser are those that it would have read."""

import uuid
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from control_plane.domain.races import ItemChangedError
from control_plane.store.items import Item
from control_plane.store.keys import Key
from control_plane.store.table import Table, Write
from world import World

ITEM: Item = {
    "text": "Grüße",
    "number": -7,
    "fraction": 0.5,
    "large": 100000000000000000000,
    "yes": True,
    "bytes": bytes(range(256)),
    "list": [1, "two", {"three": [3]}],
    "map": {"key": {"key": "value"}},
    "names": {"a", "b"},
    "numbers": {1, 2},
}


@pytest.fixture
def tables(dynamodb_local: Any, dynamodb_local_url: str) -> tuple[Table, Table]:
    """One with the client of the functions, and one with boto3's own."""
    world = World(dynamodb_local, table_name=f"table-{uuid.uuid4().hex}")
    plain = boto3.client(
        "dynamodb",
        endpoint_url=dynamodb_local_url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    return world.table, Table(plain, world.table.name)


@pytest.mark.dynamodb_local
def test_every_type_is_read_as_it_was_written(tables: tuple[Table, Table]) -> None:
    key = Key("a", "1")
    tables[0].commit([Write("Put", key, ItemChangedError("a"), item=ITEM)])
    expected = {**ITEM, "pk": "a", "sk": "1"}
    for table in tables:
        assert list(table.query("a")) == [expected]
        assert table.get_many([key]) == {key: expected}
        assert table.get(key) == expected


@pytest.mark.dynamodb_local
def test_what_takes_several_pages_is_read_whole(tables: tuple[Table, Table]) -> None:
    """An answer has at most 1 MB."""
    places = [Key("a", f"{number:02d}") for number in range(12)]
    tables[0].put_many({place: {"content": b"x" * 100_000} for place in places})
    for table in tables:
        assert [item["sk"] for item in table.query("a")] == [place.sk for place in places]
        assert set(table.get_many(places)) == set(places)
        assert table.query_some("a", "00", "99", newest_first=False, limit=3)[1] is False


@pytest.mark.dynamodb_local
def test_an_error_is_an_error(tables: tuple[Table, Table]) -> None:
    for table in tables:
        nowhere = Table(table._client, "nowhere")
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            list(nowhere.query("a"))
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            nowhere.get_many([Key("a", "1")])
