"""Every paginator of botocore's model of Amazon ECS: whatever the size of the pages, the list is the same."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore import xform_name
from moto import mock_aws

from contract.conftest import Client, client_of
from ecs_protocol.statuses import TaskStatus
from world import World

FAMILIES = {"api": 3, "api-old": 1, "web": 12, "worker": 2}
"""How many revisions each has."""

CASES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "ListClusters": ({},),
    "ListContainerInstances": (
        {},
        {"status": "ACTIVE"},
        {"filter": "attribute:rack in [a, b]"},
        {"status": "DRAINING"},
    ),
    "ListTaskDefinitions": (
        {},
        {"sort": "DESC"},
        {"familyPrefix": "web"},
        {"familyPrefix": "web", "sort": "DESC"},
        {"status": "INACTIVE"},
    ),
    "ListTaskDefinitionFamilies": ({}, {"familyPrefix": "api"}, {"status": "INACTIVE"}, {"status": "ACTIVE"}),
    "ListTasks": (
        {},
        {"serviceName": "service-0"},
        {"family": "worker"},
        {"startedBy": "me"},
        {"startedBy": "nobody"},
        {"desiredStatus": "STOPPED"},
        {"desiredStatus": "STOPPED", "family": "worker"},
        {"desiredStatus": "PENDING"},
        {"launchType": "EXTERNAL"},
        {"launchType": "FARGATE"},
    ),
    "ListServices": ({}, {"launchType": "EXTERNAL"}, {"schedulingStrategy": "REPLICA"}, {"launchType": "EC2"}),
    "ListAccountSettings": ({"effectiveSettings": True}, {}),
    "ListAttributes": (
        {"targetType": "container-instance"},
        {"targetType": "container-instance", "attributeName": "rack"},
        {"targetType": "container-instance", "attributeName": "rack", "attributeValue": "a"},
    ),
}
PAGED = [
    pytest.param(operation, request_, id=" ".join([operation, *map(str, request_.values())]))
    for operation, requests in CASES.items()
    for request_ in requests
]
EMPTY = ("nobody", "PENDING", "FARGATE", "EC2")
"""What filters say that let nothing through."""


@dataclass(frozen=True)
class Full:
    """A deployment with several of everything, and things in it that no list shows."""

    world: World
    client: Client
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def ecs(self) -> Any:
        return self.client.ecs

    def fill(self) -> None:
        for name in ("default", *"fedcba", "gone"):
            self.world.cluster(name)
        self.ecs.delete_cluster(cluster="gone")
        for family, revisions in FAMILIES.items():
            for _ in range(revisions):
                self.world.task_definition(family, memory=10, cpu=1)
        for name in ("api-old:1", "web:3", "web:12"):
            self.ecs.deregister_task_definition(taskDefinition=name)
        machines = [self.world.machine(attributes={"rack": rack, "floor": "1"}) for rack in "abcab"]
        for number in range(7):
            desired = 2 * (number < 2)
            self.ecs.create_service(serviceName=f"service-{number}", taskDefinition="web:1", desiredCount=desired)
        self.world.deliver()
        for family, by in (("api", "me"), ("worker", "you"), ("worker", "me")):
            for task in self.ecs.run_task(taskDefinition=family, startedBy=by, count=3)["tasks"][1:]:
                self.ecs.stop_task(task=task["taskArn"])
                if by == "me":  # the others are on their way still
                    task_id, machine = (task[arn].rsplit("/", 1)[1] for arn in ("taskArn", "containerInstanceArn"))
                    self.world.report(self.world.report_of(task_id, TaskStatus.STOPPED, 1), instance_id=machine)
        self.ecs.update_container_instances_state(containerInstances=machines[-1:], status="DRAINING")
        self.ecs.put_account_setting(name="containerInsights", value="enabled")

    def add(self, operation: str, first: str) -> None:
        """One more of what the operation lists, whose name begins so."""
        name = f"{first}-{next(self.numbers)}-"
        match operation:
            case "ListClusters":
                self.world.cluster(f"{name}new")
            case "ListTaskDefinitions" | "ListTaskDefinitionFamilies":
                self.world.task_definition(f"{name}new", memory=10, cpu=1)
                self.world.task_definition("web", memory=10, cpu=1)
            case "ListContainerInstances" | "ListAttributes":
                self.world.machine(attributes={"rack": "a"})
            case "ListServices":
                self.ecs.create_service(serviceName=f"{name}new", taskDefinition="web:1", desiredCount=0)
            case "ListTasks":
                self.ecs.run_task(taskDefinition="worker", startedBy="me", count=2)


@pytest.fixture(scope="module")
def full() -> Iterator[Full]:
    with pytest.MonkeyPatch.context() as monkeypatch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        world = World(boto3.client("dynamodb", region_name="eu-west-1"))
        full = Full(world, client_of(world, monkeypatch))
        full.fill()
        yield full


def pages(full: Full, operation: str, request: Mapping[str, Any], size: int) -> Iterator[list[Any]]:
    paginator = full.ecs.get_paginator(xform_name(operation))
    [result] = paginator.result_keys
    for page in paginator.paginate(**request, PaginationConfig={"PageSize": size}):
        yield page[result.expression]


def whole(full: Full, operation: str, request: Mapping[str, Any]) -> list[Any]:
    most = 10 if operation == "ListAccountSettings" else 100
    return list(itertools.chain(*pages(full, operation, request, most)))


def test_every_paginator_of_the_model_is_tried(full: Full) -> None:
    model = boto3.Session()._session.get_component("data_loader").load_service_model("ecs", "paginators-1")
    assert set(model["pagination"]) == {*CASES, "ListServicesByNamespace"}
    with pytest.raises(full.ecs.exceptions.NamespaceNotFoundException, match="The specified namespace wasn't found"):
        list(full.ecs.get_paginator("list_services_by_namespace").paginate(namespace="local"))


@pytest.mark.parametrize(("operation", "request_"), PAGED)
def test_small_pages_are_the_list(full: Full, operation: str, request_: dict[str, Any]) -> None:
    every = whole(full, operation, request_)
    assert bool(every) is not any(value in EMPTY for value in request_.values())
    size = 1 if len(every) < 10 else 7
    found = list(pages(full, operation, request_, size))
    assert (list(itertools.chain(*found)), max(map(len, found)) <= size) == (every, True)
    assert len(found) <= max(1, -(-len(every) // size))


@pytest.mark.parametrize(
    ("operation", "request_"), [case for case in PAGED if not set(EMPTY) & {*str(case.id).split()}]
)
def test_what_comes_between_two_pages_neither_hides_nor_repeats(
    full: Full, operation: str, request_: dict[str, Any]
) -> None:
    """The first pages are followed by something new before, after and among what there is."""
    before = whole(full, operation, request_)
    added = iter("0mz")
    found = []
    for page in pages(full, operation, request_, 3 if len(before) < 40 else 13):
        found += page
        if (first := next(added, None)) is not None:
            full.add(operation, first)
    texts = [str(each) for each in found]
    assert len(set(texts)) == len(texts)
    assert [each for each in texts if each in {*map(str, before)}] == [str(each) for each in before]


@pytest.mark.parametrize("operation", CASES)
def test_a_token_is_good_for_its_list_only(full: Full, operation: str) -> None:
    call, request = getattr(full.ecs, xform_name(operation)), CASES[operation][0]
    token = call(**request, maxResults=1)["nextToken"]
    assert call(**request, maxResults=2, nextToken=token), "the size may change"
    another = full.ecs.list_clusters if operation != "ListClusters" else full.ecs.list_task_definitions
    others = another(maxResults=1)["nextToken"]
    changed = ("A" if token[0] != "A" else "B") + token[1:]
    for wrong in (changed, token[:-4], others, token + "=", "0", "é", "[" * 9999, "W10="):
        with pytest.raises(full.ecs.exceptions.InvalidParameterException, match="Invalid token"):
            call(**request, nextToken=wrong)


@pytest.mark.parametrize(
    ("operation", "filters", "other"),
    [
        pytest.param("list_tasks", {"startedBy": "me"}, {"startedBy": "you"}, id="another filter"),
        pytest.param("list_tasks", {"startedBy": "me"}, {}, id="no filter"),
        pytest.param("list_services", {}, {"cluster": "f"}, id="another cluster"),
        pytest.param("list_task_definitions", {}, {"sort": "DESC"}, id="the other way round"),
    ],
)
def test_a_token_is_good_for_its_filters_only(
    full: Full, operation: str, filters: dict[str, Any], other: dict[str, Any]
) -> None:
    call = getattr(full.ecs, operation)
    token = call(**filters, maxResults=1)["nextToken"]
    with pytest.raises(full.ecs.exceptions.InvalidParameterException, match="Invalid token"):
        call(**other, nextToken=token)
