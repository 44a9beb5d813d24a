"""Capacity providers of one's own, from creation to deletion."""

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from control_plane.domain.errors import ClientException, EcsError, InvalidParameterException
from control_plane.flows.capacity_providers import (
    create_capacity_provider,
    delete_capacity_provider,
    describe_capacity_providers,
    update_capacity_provider,
)
from control_plane.flows.clusters import create_cluster, describe_clusters, put_cluster_capacity_providers
from control_plane.flows.delete_cluster import delete_cluster
from control_plane.flows.run_task import run_task
from control_plane.flows.tags import list_tags_for_resource, tag_resource, untag_resource
from control_plane.runtime import ControlPlane
from control_plane.store import capacity_providers, clusters, keys
from control_plane.store.table import Table
from integration.flows.test_delete_cluster import Dying
from world import World

GROUP = {"autoScalingGroupArn": "group"}
SCALING: dict[str, Any] = {
    "status": "DISABLED",
    "targetCapacity": 100,
    "minimumScalingStepSize": 1,
    "maximumScalingStepSize": 10_000,
    "instanceWarmupPeriod": 300,
}
SHOWN: dict[str, Any] = {
    "autoScalingGroupArn": "group",
    "managedScaling": SCALING,
    "managedTerminationProtection": "DISABLED",
    "managedDraining": "ENABLED",
}
TAGS = [{"key": "team", "value": "dev"}]


def create(cp: ControlPlane, name: str = "mine", **request: Any) -> dict[str, Any]:
    made = create_capacity_provider(cp, {"name": name, "autoScalingGroupProvider": GROUP, **request})
    return dict(made["capacityProvider"])


def delete(cp: ControlPlane, name: str = "mine") -> dict[str, Any]:
    return dict(delete_capacity_provider(cp, {"capacityProvider": name})["capacityProvider"])


def put(cp: ControlPlane, providers: Sequence[str]) -> None:
    """To the cluster `default`, in place of those that it had."""
    request = {"cluster": "default", "capacityProviders": providers, "defaultCapacityProviderStrategy": []}
    put_cluster_capacity_providers(cp, request)


def described(world: World, name: str = "mine", **request: Any) -> dict[str, Any]:
    [found] = describe_capacity_providers(world.cp, {"capacityProviders": [name], **request})["capacityProviders"]
    return dict(found)


def names(world: World, **request: Any) -> list[str]:
    return [each["name"] for each in describe_capacity_providers(world.cp, request)["capacityProviders"]]


def test_it_is_shown_with_what_was_left_out_filled_in(world: World) -> None:
    arn = world.cp.arns.capacity_provider("mine")
    made = {
        "capacityProviderArn": arn,
        "name": "mine",
        "status": "ACTIVE",
        "autoScalingGroupProvider": SHOWN,
        "updateStatus": "CREATE_COMPLETE",
        "tags": TAGS,
        "type": "EC2_AUTOSCALING",
    }
    assert create(world.cp, tags=TAGS) == made
    assert described(world, arn, include=["TAGS"]) == made
    assert described(world) == {**made, "tags": []}, "tags are for whoever asks for them"


def test_an_update_leaves_what_it_does_not_name(world: World) -> None:
    create(world.cp, tags=TAGS)
    scaling = {"status": "ENABLED", "instanceWarmupPeriod": 0}
    change = {"managedScaling": scaling, "managedDraining": "DISABLED"}
    update_capacity_provider(world.cp, {"name": "mine", "autoScalingGroupProvider": change})
    found = described(world, include=["TAGS"])
    assert found["autoScalingGroupProvider"] == {**SHOWN, **change, "managedScaling": {**SCALING, **scaling}}
    assert (found["status"], found["updateStatus"], found["tags"]) == ("ACTIVE", "UPDATE_COMPLETE", TAGS)


def test_it_is_listed_with_those_that_are_always_there_in_pages(world: World) -> None:
    for name in ("mine", "another"):
        create(world.cp, name)
    first = describe_capacity_providers(world.cp, {"maxResults": 2})
    rest = describe_capacity_providers(world.cp, {"nextToken": first["nextToken"]})
    assert [each["name"] for page in (first, rest) for each in page["capacityProviders"]] == [
        *("EXTERNAL", "FARGATE", "FARGATE_SPOT", "another", "mine")
    ]


def test_a_cluster_may_have_it_but_no_strategy(world: World) -> None:
    create(world.cp)
    create_cluster(world.cp, {"capacityProviders": ["mine"]})
    assert names(world, cluster="default") == ["EXTERNAL", "mine"]
    put(world.cp, ["FARGATE", "mine"])
    assert describe_clusters(world.cp, {})["clusters"][0]["capacityProviders"] == ["FARGATE", "mine"]
    world.task_definition()
    world.machine()
    with pytest.raises(EcsError, match="Capacity provider mine is not supported yet in a strategy: use EXTERNAL") as no:
        run_task(world.cp, {"taskDefinition": "web", "capacityProviderStrategy": [{"capacityProvider": "mine"}]})
    assert no.value.code == "UnsupportedFeatureException"


@pytest.mark.parametrize(
    ("providers", "words"),
    [
        pytest.param(["mine", "other"], "The specified capacity provider was not found", id="none-of-that-name"),
        pytest.param(["a/b", ""], "The specified capacity provider was not found", id="no-name-at-all"),
        pytest.param(["mine", "mine"], "given twice", id="twice"),
        pytest.param([f"p{number}" for number in range(21)], "a maximum of 20", id="more-than-twenty"),
        pytest.param(["gone"], "'gone' is not in an ACTIVE state", id="a-deleted-one"),
    ],
)
def test_what_no_cluster_takes(world: World, providers: list[str], words: str) -> None:
    create(world.cp)
    create(world.cp, "gone")
    delete(world.cp, "gone")
    world.cluster()
    with pytest.raises(InvalidParameterException, match=words):
        put(world.cp, providers)
    with pytest.raises(InvalidParameterException, match=words):
        create_cluster(world.cp, {"clusterName": "edge", "capacityProviders": providers})
    assert clusters.load(world.table, "edge") is None
    assert describe_clusters(world.cp, {})["clusters"][0]["capacityProviders"] == []


class TestDeleting:
    def test_it_is_shown_as_inactive_for_a_month(self, world: World) -> None:
        create(world.cp, tags=TAGS)
        gone = delete(world.cp, world.cp.arns.capacity_provider("mine"))
        assert (gone["status"], gone["updateStatus"], gone["tags"]) == ("INACTIVE", "DELETE_COMPLETE", [])
        assert described(world) == gone == delete(world.cp), "also to whoever deletes it once more"
        item = world.table.get(keys.capacity_provider("mine"))
        assert item is not None
        expires = datetime.fromtimestamp(item["expiresAt"], UTC)
        assert 29 <= (expires - world.cp.clock()).days <= 30

    def test_not_while_a_cluster_has_it(self, world: World) -> None:
        create(world.cp)
        create_cluster(world.cp, {"capacityProviders": ["mine"]})
        kept = delete(world.cp)
        assert (kept["status"], kept["updateStatus"], kept["updateStatusReason"]) == (
            "ACTIVE",
            "DELETE_FAILED",
            "The capacity provider cannot be deleted because it is associated with cluster: default. Remove the "
            "capacity provider from the cluster and try again.",
        )
        assert described(world) == kept
        delete_cluster(world.cp, {"cluster": "default"})
        gone = delete(world.cp)
        assert (gone["status"], "updateStatusReason" in gone) == ("INACTIVE", False)

    def test_its_name_may_be_used_again(self, world: World) -> None:
        create(world.cp, tags=TAGS)
        delete(world.cp)
        again = create(world.cp, autoScalingGroupProvider={**GROUP, "managedDraining": "DISABLED"})
        assert again == described(world)
        assert (again["status"], again["tags"]) == ("ACTIVE", [])
        item = world.table.get(keys.capacity_provider("mine"))
        assert item is not None
        assert "expiresAt" not in item

    def test_wherever_it_dies_it_is_not_of_use_until_the_next_has_deleted_it(self, world: World) -> None:
        world.cluster()
        stages = []
        for calls in range(100):
            name = f"mine-{calls}"
            create(world.cp, name)
            function = world.function()
            function.table = Table(Dying(world.table._client, calls), world.table.name)
            try:
                delete(function, name)
            except Dying.DeadError:
                stages.append(described(world, name)["updateStatus"])
            else:
                break
            if stages[-1] != "CREATE_COMPLETE":
                with pytest.raises(InvalidParameterException, match=f"'{name}' is not in an ACTIVE state"):
                    put(world.cp, [name])
                with pytest.raises(ClientException, match="already exists"):
                    create(world.cp, name)
            assert delete(world.cp, name)["status"] == "INACTIVE"
        assert list(dict.fromkeys(stages)) == ["CREATE_COMPLETE", "DELETE_IN_PROGRESS"]
        assert stages.count("DELETE_IN_PROGRESS") >= 2


def of_name(operation: Callable[..., Any], name: str) -> Callable[[ControlPlane], Any]:
    member = "capacityProvider" if operation is delete_capacity_provider else "name"
    return lambda cp: operation(cp, {member: name, "autoScalingGroupProvider": GROUP})


ALREADY = (
    "The specified capacity provider already exists. To change the configuration of an existing capacity provider, "
    "update the capacity provider."
)
NOWHERE = "The specified capacity provider does not exist. Specify a valid name or ARN and try again."


@pytest.mark.parametrize(
    ("refused", "error", "words"),
    [
        pytest.param(of_name(create_capacity_provider, "mine"), ClientException, ALREADY, id="a-name-in-use"),
        pytest.param(of_name(update_capacity_provider, "other"), ClientException, NOWHERE, id="update-of-nothing"),
        pytest.param(of_name(delete_capacity_provider, "other"), ClientException, NOWHERE, id="deletion-of-nothing"),
        pytest.param(of_name(delete_capacity_provider, "a b/"), ClientException, NOWHERE, id="of-what-is-no-name"),
        pytest.param(of_name(delete_capacity_provider, "FARGATE"), ClientException, "cannot be deleted", id="reserved"),
        pytest.param(
            of_name(update_capacity_provider, "EXTERNAL"), ClientException, "cannot be updated", id="reserved, too"
        ),
        pytest.param(
            of_name(update_capacity_provider, "gone"), InvalidParameterException, "not in an ACTIVE state", id="gone"
        ),
    ],
)
def test_what_is_refused_changes_nothing(
    world: World, refused: Callable[[ControlPlane], Any], error: type[EcsError], words: str
) -> None:
    create(world.cp)
    create(world.cp, "gone")
    delete(world.cp, "gone")
    before = capacity_providers.everyone(world.table)
    with pytest.raises(error, match=words):
        refused(world.cp)
    assert capacity_providers.everyone(world.table) == before


def test_tags(world: World) -> None:
    arn = create(world.cp, tags=TAGS)["capacityProviderArn"]
    tag_resource(world.cp, {"resourceArn": arn, "tags": [{"key": "site", "value": "roof"}]})
    untag_resource(world.cp, {"resourceArn": arn, "tagKeys": ["team"]})
    left = [{"key": "site", "value": "roof"}]
    assert list_tags_for_resource(world.cp, {"resourceArn": arn})["tags"] == left
    assert described(world, include=["TAGS"])["tags"] == left
    assert described(world)["updateStatus"] == "CREATE_COMPLETE", "tagging is no update"
    delete(world.cp)
    with pytest.raises(InvalidParameterException, match="The specified capacity provider is inactive"):
        tag_resource(world.cp, {"resourceArn": arn, "tags": TAGS})


@pytest.mark.dynamodb_local
class TestAtOnce:
    @pytest.fixture
    def world(self, dynamodb_local: Any) -> World:
        return World(dynamodb_local, table_name=f"providers-{uuid.uuid4().hex}")

    @staticmethod
    def together(*works: Callable[[], Any]) -> list[str]:
        """What each answered: a status, or the error's name."""

        def tried(work: Callable[[], Any]) -> str:
            try:
                return str(work())
            except EcsError as error:
                return error.code

        with ThreadPoolExecutor(len(works)) as threads:
            return list(threads.map(tried, works))

    def test_many_creations_make_one(self, world: World) -> None:
        def creation(number: int) -> Callable[[], str]:
            return lambda: str(create(world.function(), tags=[{"key": "by", "value": str(number)}])["status"])

        answers = self.together(*map(creation, range(16)))
        assert sorted(answers) == ["ACTIVE"] + ["ClientException"] * 15
        assert described(world, include=["TAGS"])["tags"] == [{"key": "by", "value": str(answers.index("ACTIVE"))}]

    @pytest.mark.parametrize("seed", range(8))
    def test_no_cluster_has_a_deleted_one(self, world: World, seed: int) -> None:
        world.random.seed(seed)
        create(world.cp)
        world.cluster()

        def has(*providers: str) -> Callable[[], Any]:
            return lambda: put(world.function(), providers)

        def found(name: str) -> Callable[[], Any]:
            return lambda: create_cluster(world.function(), {"clusterName": name, "capacityProviders": ["mine"]})

        def remove() -> Any:
            return delete(world.function())

        works = [has("mine"), remove, has(), found("edge"), remove, has("mine"), remove]
        self.together(*works[seed % 4 :], *works[: seed % 4])
        provider = capacity_providers.load(world.table, "mine")
        assert provider is not None
        having = [each.name for each in clusters.everyone(world.table) if "mine" in each.capacity_providers]
        assert provider.status != "INACTIVE" or having == []
        assert provider.status == "ACTIVE" or having == []
