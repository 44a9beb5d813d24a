"""What is told of a service's deployments, how long, and how one is stopped."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.domain.errors import (
    ConflictException,
    EcsError,
    InvalidParameterException,
    ServiceDeploymentNotFoundException,
    ServiceNotFoundException,
)
from control_plane.flows.service_deployments import (
    describe_service_deployments,
    describe_service_revisions,
    list_service_deployments,
    stop_service_deployment,
)
from control_plane.flows.services import create_service, delete_service, update_service
from control_plane.store import keys, service_deployments
from control_plane.store.table import Table, Write
from integration.flows.test_delete_cluster import Dying
from integration.flows.test_deployments import BREAKER, create, deployments, do_as_told, event_names, service, update
from world import START, World

PREFIX = "arn:aws:ecs:eu-west-1:123456789012"


@pytest.fixture
def machine(world: World) -> str:
    world.cluster()
    for _ in range(3):
        world.task_definition(memory=100, cpu=100)
    return world.machine(memory=2000, cpu=2000)


def listed(world: World, **members: Any) -> list[dict[str, Any]]:
    answer = list_service_deployments(world.cp, {"service": "web", **members})
    found: list[dict[str, Any]] = answer["serviceDeployments"]
    return found


def newest(world: World) -> dict[str, Any]:
    arn = service(world)["currentServiceDeployment"]
    [found] = describe_service_deployments(world.cp, {"serviceDeploymentArns": [arn]})["serviceDeployments"]
    return dict(found)


def statuses(world: World) -> list[str]:
    return [each["status"] for each in listed(world)]


def counts(revision: dict[str, Any]) -> tuple[int, int, int]:
    return revision["requestedTaskCount"], revision["runningTaskCount"], revision["pendingTaskCount"]


def number(arn: str) -> str:
    return arn.rpartition("/")[2]


def stop(world: World) -> str:
    arn = service(world)["currentServiceDeployment"]
    answer: str = stop_service_deployment(world.cp, {"serviceDeploymentArn": arn})["serviceDeploymentArn"]
    return answer


def test_from_its_beginning_to_its_end(world: World, machine: str) -> None:
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 2})
    [pending] = listed(world)
    assert (pending["status"], "startedAt" in pending) == ("PENDING", False)
    world.pass_time(1)
    world.deliver()
    began = newest(world)
    assert (began["status"], began["startedAt"]) == ("IN_PROGRESS", world.now)
    assert counts(began["targetServiceRevision"]) == (2, 0, 2)
    world.pass_time(5)
    do_as_told(world, machine)
    [primary] = service(world)["deployments"]
    revision = f"{PREFIX}:service-revision/default/web/{number(primary['id'])}"
    assert newest(world) == {
        "serviceDeploymentArn": f"{PREFIX}:service-deployment/default/web/{number(primary['id'])}",
        "serviceArn": f"{PREFIX}:service/default/web",
        "clusterArn": f"{PREFIX}:cluster/default",
        "createdAt": START,
        "startedAt": START + timedelta(seconds=1),
        "finishedAt": world.now,
        "updatedAt": world.now,
        "status": "SUCCESSFUL",
        "sourceServiceRevisions": [],
        "targetServiceRevision": {
            "arn": revision,
            "requestedTaskCount": 2,
            "runningTaskCount": 2,
            "pendingTaskCount": 0,
        },
        "deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 100},
        "deploymentCircuitBreaker": {"status": "DISABLED", "failureCount": 0, "threshold": 3},
        "alarms": {"status": "DISABLED"},
    }
    assert service(world)["currentServiceRevisions"] == [newest(world)["targetServiceRevision"]]


def test_the_next_one_has_the_former_revision_for_its_source(world: World, machine: str) -> None:
    create(world, machine)
    before = newest(world)
    world.pass_time(60)
    update(world, taskDefinition="web:2")
    during = newest(world)
    assert counts(during["targetServiceRevision"]) == (2, 0, 2)
    [source] = during["sourceServiceRevisions"]
    assert (source["arn"], counts(source)) == (before["targetServiceRevision"]["arn"], (2, 2, 0))
    assert statuses(world) == ["IN_PROGRESS", "SUCCESSFUL"], "the newest first"
    for _ in range(2):
        do_as_told(world, machine)
    assert statuses(world) == ["SUCCESSFUL", "SUCCESSFUL"]
    assert counts(newest(world)["sourceServiceRevisions"][0]) == (0, 0, 0)
    assert newest(world)["createdAt"] == START + timedelta(seconds=60)


def test_a_change_of_the_service_that_is_no_deployment_is_none_here(world: World, machine: str) -> None:
    create(world, machine)
    update(world, desiredCount=3)
    assert len(listed(world)) == 1
    update(world, forceNewDeployment=True)
    assert len(listed(world)) == 2


def test_one_that_another_takes_the_place_of_has_stopped(world: World, machine: str) -> None:
    create(world, machine)
    for definition in ("web:2", "web:3"):
        world.pass_time(1)
        update(world, taskDefinition=definition)
    assert statuses(world) == ["IN_PROGRESS", "STOPPED", "SUCCESSFUL"]
    replaced = listed(world)[1]
    assert replaced["statusReason"] == "Service deployment stopped because a new service deployment started."
    for _ in range(3):
        do_as_told(world, machine)
    assert statuses(world) == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


def test_the_circuit_breaker_rolls_back_within_one_service_deployment(world: World, machine: str) -> None:
    create(world, machine, deploymentConfiguration=BREAKER)
    good = newest(world)["targetServiceRevision"]["arn"]
    world.pass_time(1)
    update(world, taskDefinition="web:2")
    assert newest(world)["deploymentCircuitBreaker"]["status"] == "MONITORING"
    for _ in range(3):
        do_as_told(world, machine, failing="web:2")
    failed = newest(world)
    assert failed["status"] == "ROLLBACK_SUCCESSFUL"
    assert failed["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 4, "threshold": 3}
    assert failed["rollback"]["serviceRevisionArn"] == good
    assert failed["rollback"]["reason"].startswith("ECS deployment circuit breaker: rolling back to deploymentId")
    assert statuses(world) == ["ROLLBACK_SUCCESSFUL", "SUCCESSFUL"], "a rollback is no service deployment of its own"
    assert [each["arn"] for each in service(world)["currentServiceRevisions"]] == [good]


def test_a_circuit_breaker_that_comes_while_it_is_on_its_way(world: World, machine: str) -> None:
    create(world, machine)
    world.pass_time(1)
    update(world, taskDefinition="web:2")
    update(world, deploymentConfiguration={**BREAKER, "minimumHealthyPercent": 50}, desiredCount=10)
    found = newest(world)
    assert found["deploymentCircuitBreaker"] == {"status": "MONITORING", "failureCount": 0, "threshold": 5}
    assert found["deploymentConfiguration"] == {**BREAKER, "maximumPercent": 200, "minimumHealthyPercent": 50}


def test_one_that_never_began_has_no_time_when_it_did(world: World, machine: str) -> None:
    create(world, machine)
    for definition in ("web:2", "web:3"):
        world.pass_time(1)
        update_service(world.cp, {"service": "web", "taskDefinition": definition})
    replaced = listed(world)[1]
    assert (replaced["status"], "startedAt" in replaced, replaced["finishedAt"]) == ("STOPPED", False, world.now)


def test_without_a_rollback_it_has_stopped(world: World, machine: str) -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    create(world, machine, deploymentConfiguration=breaker)
    world.pass_time(1)
    update(world, taskDefinition="web:2")
    for _ in range(4):
        do_as_told(world, machine, failing="web:2")
    failed = newest(world)
    assert (failed["status"], failed["stoppedAt"], "rollback" in failed) == ("STOPPED", world.now, False)
    assert failed["statusReason"] == "ECS deployment circuit breaker: tasks failed to start."


def test_a_rollback_that_fails_too(world: World, machine: str) -> None:
    create(world, machine, deploymentConfiguration={**BREAKER, "minimumHealthyPercent": 0, "maximumPercent": 100})
    world.pass_time(1)
    update(world, taskDefinition="web:2")
    seen = []
    for _ in range(12):
        seen += statuses(world)[:1]
        do_as_told(world, machine, failing="web:2" if seen[-1] == "IN_PROGRESS" else "web:1")
        world.minutes(20, sweeps_each=10)
    assert list(dict.fromkeys(seen)) == ["IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED"]


@pytest.mark.parametrize("desired", [1, 12])
def test_it_is_written_three_times_however_many_tasks_there_are(world: World, machine: str, desired: int) -> None:
    """When it begins, when the scheduler has seen it, and when it has ended."""
    written: list[str] = []
    commit = world.table.commit

    def counting(writes: Sequence[Write]) -> None:
        commit(writes)
        written.extend(write.item["status"] for write in writes if write.item.get("kind") == service_deployments.KIND)

    world.table.commit = counting  # type: ignore[method-assign]
    create(world, machine, desired)
    assert written == ["PENDING", "IN_PROGRESS", "SUCCESSFUL"]


class TestStopping:
    def test_it_rolls_back_to_the_last_that_was_completed(self, world: World, machine: str) -> None:
        create(world, machine)
        [good] = service(world)["currentServiceRevisions"]
        world.pass_time(1)
        update(world, taskDefinition="web:2")
        world.events.entries.clear()
        arn = stop(world)
        assert arn == service(world)["currentServiceDeployment"]
        assert statuses(world) == ["ROLLBACK_REQUESTED", "SUCCESSFUL"]
        assert service(world)["taskDefinition"].endswith("web:1")
        world.deliver()
        assert statuses(world)[0] == "ROLLBACK_IN_PROGRESS"
        assert stop(world) == arn, "it continues the rollback"
        do_as_told(world, machine)
        assert newest(world)["rollback"]["serviceRevisionArn"] == good["arn"]
        assert newest(world)["deploymentCircuitBreaker"]["status"] == "DISABLED"
        assert statuses(world) == ["ROLLBACK_SUCCESSFUL", "SUCCESSFUL"]
        assert deployments(world) == [("PRIMARY", "web:1", 2, 0, "COMPLETED")]
        assert [name for name in event_names(world) if "DEPLOYMENT" in name] == [
            "SERVICE_DEPLOYMENT_FAILED",
            "SERVICE_DEPLOYMENT_IN_PROGRESS",
            "SERVICE_DEPLOYMENT_COMPLETED",
        ]

    def test_one_that_has_ended_cannot_be_stopped(self, world: World, machine: str) -> None:
        create(world, machine)
        first = service(world)["currentServiceDeployment"]
        with pytest.raises(ConflictException, match="has ended"):
            stop(world)
        world.pass_time(1)
        update(world, taskDefinition="web:2")
        with pytest.raises(ConflictException, match="has ended"):
            stop_service_deployment(world.cp, {"serviceDeploymentArn": first})
        assert statuses(world) == ["IN_PROGRESS", "SUCCESSFUL"]

    def test_nor_can_the_first_one(self, world: World, machine: str) -> None:
        assert world.instance(machine)
        create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1", "desiredCount": 2})
        with pytest.raises(ConflictException, match="no service revision to roll back to"):
            stop(world)
        assert statuses(world) == ["PENDING"]

    @pytest.mark.parametrize(
        ("arn", "error"),
        [
            pytest.param("service-deployment/default/web/1", ServiceDeploymentNotFoundException, id="no-such-one"),
            pytest.param("service-deployment/default/none/1", ServiceDeploymentNotFoundException, id="no-such-service"),
            pytest.param("service-deployment/none/web/1", ServiceDeploymentNotFoundException, id="no-such-cluster"),
            pytest.param("service-revision/default/web/1", InvalidParameterException, id="another-kind"),
            pytest.param("service-deployment/default/web", InvalidParameterException, id="too-short"),
        ],
    )
    def test_what_is_not_there(self, world: World, machine: str, arn: str, error: type[EcsError]) -> None:
        create(world, machine)
        with pytest.raises(error):
            stop_service_deployment(world.cp, {"serviceDeploymentArn": f"{PREFIX}:{arn}"})

    def test_wherever_it_dies_the_record_and_the_service_agree(self, world: World, machine: str) -> None:
        create(world, machine)
        world.pass_time(1)
        update(world, taskDefinition="web:2")
        arn = service(world)["currentServiceDeployment"]
        for calls in range(20):
            function = world.function()
            function.table = Table(Dying(world.table._client, calls), world.table.name)
            try:
                stop_service_deployment(function, {"serviceDeploymentArn": arn})
            except Dying.DeadError:
                assert statuses(world)[0] == "IN_PROGRESS"
                assert service(world)["taskDefinition"].endswith("web:2")
                continue
            break
        assert statuses(world)[0] == "ROLLBACK_REQUESTED"
        assert service(world)["taskDefinition"].endswith("web:1")
        world.minutes(1)  # nobody told the scheduler: the sweeper brings it
        assert statuses(world)[0] == "ROLLBACK_IN_PROGRESS"
        do_as_told(world, machine)
        assert statuses(world)[0] == "ROLLBACK_SUCCESSFUL"


class TestRevisions:
    def revision(self, world: World, arn: str) -> dict[str, Any]:
        [found] = describe_service_revisions(world.cp, {"serviceRevisionArns": [arn]})["serviceRevisions"]
        return dict(found)

    def test_what_the_service_was(self, world: World, machine: str) -> None:
        create(world, machine)
        arn = newest(world)["targetServiceRevision"]["arn"]
        world.pass_time(1)
        update(world, taskDefinition="web:2", capacityProviderStrategy=[{"capacityProvider": "EXTERNAL"}])
        assert self.revision(world, arn) == {
            "serviceRevisionArn": arn,
            "serviceArn": f"{PREFIX}:service/default/web",
            "clusterArn": f"{PREFIX}:cluster/default",
            "taskDefinition": f"{PREFIX}:task-definition/web:1",
            "launchType": "EXTERNAL",
            "containerImages": [{"containerName": "main", "image": "busybox"}],
            "guardDutyEnabled": False,
            "serviceConnectConfiguration": {"enabled": False},
            "createdAt": START,
        }
        now = self.revision(world, newest(world)["targetServiceRevision"]["arn"])
        assert now["taskDefinition"].endswith("web:2")
        assert now["capacityProviderStrategy"] == [{"capacityProvider": "EXTERNAL", "weight": 0, "base": 0}]

    def test_one_that_runs_is_known_however_old_and_others_for_90_days(self, world: World, machine: str) -> None:
        create(world, machine)
        first = newest(world)
        world.pass_time(1)
        update(world, taskDefinition="web:2")
        for _ in range(2):
            do_as_told(world, machine)
        second = newest(world)
        world.now = START + timedelta(days=90)
        assert [number(each["serviceDeploymentArn"]) for each in listed(world)] == [
            number(second["serviceDeploymentArn"])
        ]
        world.pass_time(2)
        assert listed(world) == []
        arns = [each["targetServiceRevision"]["arn"] for each in (first, second)]
        answer = describe_service_revisions(world.cp, {"serviceRevisionArns": arns})
        assert [each["serviceRevisionArn"] for each in answer["serviceRevisions"]] == [arns[1]]
        assert answer["failures"] == [{"arn": arns[0], "reason": "MISSING"}]

    def test_dynamodb_deletes_the_record_after_90_days(self, world: World, machine: str) -> None:
        create(world, machine)
        revision = number(newest(world)["serviceDeploymentArn"])
        item = world.table.get(keys.service_deployment("default", "web", revision))
        assert item is not None
        assert datetime.fromtimestamp(item["expiresAt"], UTC) == START + timedelta(days=90)


class TestListing:
    @pytest.fixture
    def three(self, world: World, machine: str) -> list[str]:
        """The newest first, a minute between them."""
        create(world, machine)
        for definition in ("web:2", "web:3"):
            world.pass_time(60)
            update(world, taskDefinition=definition)
        return [each["serviceDeploymentArn"] for each in listed(world)]

    def test_page_by_page(self, world: World, three: list[str]) -> None:
        first = list_service_deployments(world.cp, {"service": "web", "maxResults": 2})
        world.pass_time(60)
        update(world, forceNewDeployment=True)
        token = first["nextToken"]
        rest = list_service_deployments(world.cp, {"service": "web", "maxResults": 2, "nextToken": token})
        pages = [each["serviceDeploymentArn"] for each in first["serviceDeployments"] + rest["serviceDeployments"]]
        assert (pages, "nextToken" in rest) == (three, False)

    @pytest.mark.parametrize(
        ("members", "which"),
        [
            pytest.param({"status": ["STOPPED", "SUCCESSFUL"]}, [1, 2], id="by-status"),
            pytest.param({"createdAt": {"after": START}}, [0, 1], id="after"),
            pytest.param({"createdAt": {"before": START + timedelta(seconds=90)}}, [1, 2], id="before"),
            pytest.param({"service": f"{PREFIX}:service/default/web"}, [0, 1, 2], id="by-arn"),
        ],
    )
    def test_filters(self, world: World, three: list[str], members: dict[str, Any], which: list[int]) -> None:
        assert [each["serviceDeploymentArn"] for each in listed(world, **members)] == [three[each] for each in which]

    def test_with_the_service_goes_its_history(self, world: World, machine: str, three: list[str]) -> None:
        delete_service(world.cp, {"service": "web", "force": True})
        with pytest.raises(ServiceNotFoundException):
            listed(world)
        answer = describe_service_deployments(world.cp, {"serviceDeploymentArns": three})
        assert [each["reason"] for each in answer["failures"]] == ["MISSING"] * 3
        world.pass_time(1)
        world.deliver()
        do_as_told(world, machine)
        create_service(world.cp, {"serviceName": "web", "taskDefinition": "web:1"})
        assert statuses(world) == ["PENDING"], "those of the former service of that name are not its own"


def test_a_service_of_an_older_release_has_no_history_until_its_next_deployment(world: World, machine: str) -> None:
    create(world, machine)
    key = keys.service("default", "web")
    item = world.table.get(key)
    assert item is not None
    revision = item.pop("serviceDeployment")["target"]["revisionId"]
    world.table.put_many({key: item})
    world.table.delete_many([keys.service_deployment("default", "web", revision)])
    assert listed(world) == []
    assert "currentServiceDeployment" not in service(world)
    arn = service(world)["currentServiceRevisions"][0]["arn"]
    assert describe_service_revisions(world.cp, {"serviceRevisionArns": [arn]})["failures"] == []
    update(world, taskDefinition="web:2")
    for _ in range(2):
        do_as_told(world, machine)
    assert statuses(world) == ["SUCCESSFUL"]
