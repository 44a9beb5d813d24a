"""A DAEMON service: one task on each container instance that is ACTIVE and satisfies its constraints.

A fleet is drawn as one word a machine: the revision and what becomes of its task (p: to start, r: runs, s: told to
stop), or `-` for none.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.inbox import ServiceKey
from control_plane.flows.attributes import put_attributes
from control_plane.flows.container_instances import deregister_container_instance, update_container_instances_state
from control_plane.flows.list_services import list_services
from control_plane.flows.list_tasks import list_tasks
from control_plane.flows.run_task import run_task
from control_plane.flows.schedule_service import schedule_services
from control_plane.flows.service_deployments import list_service_deployments
from control_plane.flows.services import create_service, delete_service, describe_services, update_service
from control_plane.flows.why import why
from control_plane.store import clusters, daemons, services, tasks
from ecs_protocol.messages import ContainerReport
from ecs_protocol.statuses import DesiredStatus, HealthStatus, StopCode, TaskStatus
from world import World

S = TaskStatus
UNKNOWN = HealthStatus.UNKNOWN


@pytest.fixture
def machines(world: World) -> list[str]:
    world.cluster()
    world.task_definition("agent", memory=100, cpu=100)
    return [world.machine(memory=400, cpu=1000) for _ in range(3)]


def create(world: World, **members: Any) -> dict[str, Any]:
    request = {"serviceName": "agent", "taskDefinition": "agent:1", "schedulingStrategy": "DAEMON", **members}
    answer: dict[str, Any] = create_service(world.cp, request)["service"]
    world.deliver()
    return answer


def update(world: World, **members: Any) -> None:
    update_service(world.cp, {"service": "agent", **members})
    world.deliver()


def replicas(world: World, desired: int) -> None:
    world.task_definition("web", memory=100, cpu=100)
    create_service(world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": desired})
    world.deliver()


def on(world: World, machine: str, service: str = "agent") -> list[Any]:
    return [task for task in tasks.of_instance(world.table, "default", machine) if task.service == service]


def fleet(world: World, machines: Sequence[str], service: str = "agent") -> str:
    def word(machine: str) -> str:
        return "+".join(_drawn(task) for task in on(world, machine, service)) or "-"

    return " ".join(word(machine) for machine in machines)


def _drawn(task: Any) -> str:
    status = "r" if task.last_status is S.RUNNING else "p"
    revision = str(task.task_definition).rpartition(":")[2]
    return revision + ("s" if task.desired_status is DesiredStatus.STOPPED else status)


def do_as_told(
    world: World, machines: Sequence[str], *, failing: str = "", health: HealthStatus = UNKNOWN, service: str = ""
) -> None:
    """Tasks run, or stop; those of the `failing` definition never run."""
    for machine in machines:
        for task in tasks.of_instance(world.table, "default", machine):
            if service not in {"", task.service}:
                continue
            members: dict[str, Any] = {}
            status = S.RUNNING if task.desired_status is DesiredStatus.RUNNING else S.STOPPED
            if status is S.RUNNING and task.task_definition == failing:
                status, members = S.STOPPED, {"stop_code": StopCode.TASK_FAILED_TO_START, "stopped_reason": "no image"}
            container = ContainerReport(name="main", last_status=status, health_status=health)
            number = task.report_number + 1
            report = world.report_of(task.task_id, status, number, containers=(container,), **members)
            world.report(report, instance_id=machine)
    world.deliver()


def running(world: World, machines: Sequence[str], **members: Any) -> None:
    """A service that is steady."""
    create(world, **members)
    do_as_told(world, machines)
    assert set(fleet(world, machines).split()) == {"1r"}


def described(world: World, name: str = "agent") -> dict[str, Any]:
    answer: dict[str, Any] = describe_services(world.cp, {"services": [name]})["services"][0]
    return answer


def counts(world: World) -> tuple[int, int, int]:
    found = described(world)
    return found["desiredCount"], found["runningCount"], found["pendingCount"]


def states(world: World) -> list[tuple[str, int, str]]:
    return [
        (each["taskDefinition"].rpartition(":")[2], each["runningCount"], each["rolloutState"])
        for each in described(world)["deployments"]
    ]


def said(world: World, words: str, name: str = "agent") -> list[str]:
    return [event["message"] for event in described(world, name)["events"] if words in event["message"]]


def set_status(world: World, status: str, machine: str) -> None:
    update_container_instances_state(world.cp, {"containerInstances": [machine], "status": status})
    world.deliver()


def set_attribute(world: World, machine: str, name: str, value: str) -> None:
    put_attributes(
        world.cp,
        {"attributes": [{"name": name, "value": value, "targetId": machine, "targetType": "container-instance"}]},
    )
    world.deliver()


def named_by_the_cluster(world: World) -> frozenset[str]:
    cluster = clusters.load(world.table, "default")
    assert cluster is not None
    return cluster.daemons


def test_one_on_each(world: World, machines: list[str]) -> None:
    answer = create(world)
    assert answer["schedulingStrategy"] == "DAEMON"
    assert answer["deploymentConfiguration"] == {"maximumPercent": 100, "minimumHealthyPercent": 0}
    assert (fleet(world, machines), counts(world)) == ("1p 1p 1p", (3, 0, 3))
    do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("1r 1r 1r", (3, 3, 0))
    assert states(world) == [("1", 3, "COMPLETED")]
    assert len(said(world, "has reached a steady state.")) == 1


def test_a_cluster_without_instances_is_steady(world: World) -> None:
    world.cluster()
    world.task_definition("agent")
    create(world)
    assert (counts(world), states(world)) == ((0, 0, 0), [("1", 0, "COMPLETED")])


def test_at_once_when_an_instance_joins(world: World, machines: list[str]) -> None:
    running(world, machines)
    fourth = world.machine()
    world.deliver()
    assert (fleet(world, [fourth]), counts(world)) == ("1p", (4, 3, 1))
    do_as_told(world, [fourth])
    assert counts(world) == (4, 4, 0)


def test_what_ends_is_started_again_there(world: World, machines: list[str]) -> None:
    running(world, machines)
    [task] = on(world, machines[1])
    end = world.report_of(task.task_id, S.STOPPED, 2, stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED)
    world.report(end, instance_id=machines[1])
    world.deliver()
    assert (fleet(world, machines), counts(world)) == ("1r 1p 1r", (3, 2, 1))


def test_constraints_say_where(world: World, machines: list[str]) -> None:
    set_attribute(world, machines[0], "site", "oslo")
    set_attribute(world, machines[2], "site", "oslo")
    create(world, placementConstraints=[{"type": "memberOf", "expression": "attribute:site == oslo"}])
    do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("1r - 1r", (2, 2, 0))
    set_attribute(world, machines[1], "site", "oslo")
    assert (fleet(world, machines), counts(world)) == ("1r 1p 1r", (3, 2, 1))
    set_attribute(world, machines[0], "site", "rome")
    do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("- 1r 1r", (2, 2, 0))
    update(world, placementConstraints=[])
    assert (fleet(world, machines), counts(world)) == ("1p 1r 1r", (3, 2, 1))


def test_a_machine_that_is_away_keeps_its_task_and_is_no_shortfall(world: World, machines: list[str]) -> None:
    running(world, machines)
    world.disconnects(machines[0])
    world.minutes(61, sweeps_each=61)
    assert (fleet(world, machines), counts(world)) == ("1r 1r 1r", (3, 3, 0))
    update_service(world.cp, {"service": "agent", "forceNewDeployment": True})
    world.deliver()
    for _ in range(2):
        do_as_told(world, machines[1:])
    assert states(world)[0][2] == "COMPLETED"
    first = on(world, machines[0])[0]
    world.connects(machines[0])
    world.deliver()
    assert fleet(world, machines) == "1s 1r 1r"
    for _ in range(2):
        do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("1r 1r 1r", (3, 3, 0))
    assert on(world, machines[0])[0].deployment_id == described(world)["deployments"][0]["id"] != first.deployment_id


def test_one_that_joins_while_it_is_away_gets_its_task_on_return(world: World, machines: list[str]) -> None:
    world.disconnects(machines[0])
    running(world, machines[1:])
    assert (fleet(world, machines), counts(world)) == ("- 1r 1r", (2, 2, 0))
    world.connects(machines[0])
    assert (fleet(world, machines), counts(world)) == ("1p 1r 1r", (3, 2, 1))


def test_the_last_to_stop_on_a_draining_instance(world: World, machines: list[str]) -> None:
    running(world, machines)
    replicas(world, 3)
    do_as_told(world, machines)
    set_status(world, "DRAINING", machines[0])
    assert fleet(world, machines) == "1r 1r 1r"
    do_as_told(world, machines[1:])
    assert (fleet(world, machines[:1], "web"), fleet(world, machines)) == ("1s", "1r 1r 1r")
    do_as_told(world, machines[:1], service="web")
    assert (fleet(world, machines[:1], "web"), fleet(world, machines)) == ("-", "1s 1r 1r")
    do_as_told(world, machines)
    assert (fleet(world, machines), counts(world)) == ("- 1r 1r", (2, 2, 0))
    set_status(world, "ACTIVE", machines[0])
    assert fleet(world, machines) == "1p 1r 1r"


def test_before_replicas_when_an_instance_joins(world: World, machines: list[str]) -> None:
    """The new machine has room for one task, and replicas wait for room."""
    replicas(world, 13)
    create(world)
    assert fleet(world, machines) == "- - -"
    fourth = world.machine(memory=100, cpu=1000)
    assert world.instance(fourth).daemons_due == {"agent"}
    schedule_services(world.cp, [ServiceKey("default", "web")])
    assert fleet(world, [fourth], "web") == "-", "it waits, though it was looked at first"
    world.deliver()
    assert (fleet(world, [fourth]), fleet(world, [fourth], "web")) == ("1p", "-")


def test_replicas_wait_a_minute_at_most(world: World, machines: list[str]) -> None:
    """No message about the new machine reaches the DAEMON service."""
    replicas(world, 13)
    create(world)
    fourth = world.machine(memory=100, cpu=1000)
    world.table.stream.clear()
    for seconds, drawn in ((30, "-"), (31, "1p")):
        world.pass_time(seconds)
        schedule_services(world.function(), [ServiceKey("default", "web")])
        assert fleet(world, [fourth], "web") == drawn


def test_replicas_do_not_wait_for_a_daemon_without_room(world: World, machines: list[str]) -> None:
    del machines
    replicas(world, 13)
    world.task_definition("agent", memory=200)
    create(world, taskDefinition="agent:2")
    world.minutes(180, sweeps_each=15)
    fourth = world.machine(memory=100, cpu=1000)
    world.deliver()
    assert fleet(world, [fourth], "web") == "1p"


def test_a_daemon_without_room_keeps_no_replica_away_however_often_the_instance_changes(
    world: World, machines: list[str]
) -> None:
    """Each change makes its DAEMON services look again."""
    del machines
    world.task_definition("agent", memory=200)
    create(world, taskDefinition="agent:2")
    fourth = world.machine(memory=100, cpu=1000)
    world.deliver()
    for number in range(4):
        set_attribute(world, fourth, "position", str(number))
        world.pass_time(30)
    assert (world.instance(fourth).daemons_due, world.instance(fourth).daemons_waiting) == (set(), {"agent"})
    replicas(world, 13)
    assert fleet(world, [fourth], "web") == "1p"


def test_one_without_room_delays_no_other_and_is_named(world: World, machines: list[str]) -> None:
    run_task(world.cp, {"taskDefinition": "agent", "count": 1})
    [full] = [each for each in machines if tasks.of_instance(world.table, "default", each)]
    run_task(world.cp, {"taskDefinition": world.task_definition("big", memory=300), "count": 3})
    others = [each for each in machines if each != full]
    create(world)
    do_as_told(world, others)
    assert (fleet(world, others), fleet(world, [full]), counts(world)) == ("1r 1r", "-", (3, 2, 0))
    lacks = "has insufficient memory available. (memory: wants 100 MiB, has 0 left)"
    assert len(said(world, f"(container-instance {full}) {lacks}")) == 1
    world.minutes(60, sweeps_each=10)
    assert len(said(world, "was unable to place a task")) == 1
    in_the_way = tasks.of_instance(world.table, "default", full)[0]
    world.report(world.report_of(in_the_way.task_id, S.STOPPED, 1), instance_id=full)
    world.deliver()
    assert (fleet(world, [full]), counts(world)) == ("1p", (3, 2, 1))


# --- deployments


@pytest.mark.parametrize(
    ("least", "drawn"),
    [
        pytest.param(0, ["1s 1s 1s", "2p 2p 2p", "2r 2r 2r"], id="all-at-once-by-default"),
        pytest.param(
            50,
            ["1s 1r 1r", "2p 1r 1r", "2r 1s 1r", "2r 2p 1r", "2r 2r 1s", "2r 2r 2p", "2r 2r 2r"],
            id="as-many-as-may-be-down",
        ),
    ],
)
def test_each_machine_gets_the_new_revision(world: World, machines: list[str], least: int, drawn: list[str]) -> None:
    machines.sort()
    running(world, machines, deploymentConfiguration={"minimumHealthyPercent": least, "maximumPercent": 100})
    world.task_definition("agent", memory=100, cpu=100)
    update(world, taskDefinition="agent:2")
    for number, expected in enumerate(drawn):
        assert fleet(world, machines) == expected, number
        do_as_told(world, machines)
    assert (counts(world), states(world)) == ((3, 3, 0), [("2", 3, "COMPLETED")])


def test_a_revision_that_does_not_start_is_rolled_back(world: World, machines: list[str]) -> None:
    running(
        world,
        machines,
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
    )
    world.task_definition("agent", memory=100, cpu=100)
    update(world, taskDefinition="agent:2")
    do_as_told(world, machines)
    assert fleet(world, machines) == "2p 2p 2p"
    do_as_told(world, machines, failing="agent:2")
    for _ in range(3):
        do_as_told(world, machines)
    assert (fleet(world, machines), states(world)) == ("1r 1r 1r", [("1", 3, "COMPLETED")])
    assert said(world, "deployment failed: tasks failed to start.")
    told = list_service_deployments(world.cp, {"service": "agent"})["serviceDeployments"]
    assert [each["status"] for each in told] == ["ROLLBACK_SUCCESSFUL", "SUCCESSFUL"]


def test_a_revision_that_fits_nowhere_is_rolled_back(world: World, machines: list[str]) -> None:
    running(
        world,
        machines,
        deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
    )
    world.task_definition("agent", memory=4000)
    update(world, taskDefinition="agent:2")
    for _ in range(3):
        do_as_told(world, machines)
    assert (fleet(world, machines), states(world)) == ("1r 1r 1r", [("1", 3, "COMPLETED")])


def test_starts_that_fail_on_one_machine_are_spaced_out_there_alone(world: World, machines: list[str]) -> None:
    create(world)
    do_as_told(world, machines[1:])
    for _ in range(3):
        do_as_told(world, machines[:1], failing="agent:1")
    assert (fleet(world, machines), counts(world)) == ("- 1r 1r", (3, 2, 0))
    fourth = world.machine()
    world.deliver()
    assert fleet(world, [*machines, fourth]) == "- 1r 1r 1p"
    world.minutes(1)
    assert fleet(world, [*machines, fourth]) == "1p 1r 1r 1p"


def test_an_unhealthy_task_ends_first(world: World) -> None:
    world.cluster()
    world.task_definition("agent", healthCheck={"command": ["CMD", "true"]})
    machines = [world.machine() for _ in range(2)]
    create(world)
    do_as_told(world, machines, health=HealthStatus.HEALTHY)
    assert states(world) == [("1", 2, "COMPLETED")]
    do_as_told(world, machines[:1], health=HealthStatus.UNHEALTHY)
    assert fleet(world, machines) == "1s 1r"
    do_as_told(world, machines[:1])
    assert fleet(world, machines) == "1p 1r"


def test_bounds_that_allow_no_step(world: World, machines: list[str]) -> None:
    for machine in machines[1:]:
        deregister_container_instance(world.cp, {"containerInstance": machine})
    running(world, machines[:1], deploymentConfiguration={"minimumHealthyPercent": 50, "maximumPercent": 100})
    update(world, forceNewDeployment=True)
    assert fleet(world, machines[:1]) == "1r"
    assert said(world, "Lower minimumHealthyPercent")


# --- the end of instances and of the service


def test_an_instance_that_is_deregistered_is_not_counted(world: World, machines: list[str]) -> None:
    running(world, machines)
    deregister_container_instance(world.cp, {"containerInstance": machines[0], "force": True})
    world.deliver()
    assert (fleet(world, machines), counts(world)) == ("- 1r 1r", (2, 2, 0))


def test_deleted_it_leaves_nothing(world: World, machines: list[str]) -> None:
    running(world, machines)
    assert named_by_the_cluster(world) == {"agent"}
    world.disconnects(machines[0])
    deleted = delete_service(world.cp, {"service": "agent"})["service"]
    world.deliver()
    assert (deleted["status"], fleet(world, machines)) == ("DRAINING", "1s 1s 1s")
    assert named_by_the_cluster(world) == frozenset()
    do_as_told(world, machines[1:])
    assert (described(world)["status"], fleet(world, machines)) == ("INACTIVE", "1s - -")
    stored = services.load(world.table, "default", "agent")
    assert stored is not None
    assert list(daemons.lines_of(world.table, stored)) == machines[:1], "a later service of that name is to know"
    assert all(not world.instance(machine).daemons_due for machine in machines)
    create(world)
    assert fleet(world, machines) == "1s 1p 1p"
    world.connects(machines[0])
    assert fleet(world, machines) == "1s 1p 1p"
    do_as_told(world, machines)
    assert fleet(world, machines) == "1p 1r 1r"


# --- messages that are lost, and requests


def test_a_message_that_is_lost_only_delays(world: World, machines: list[str]) -> None:
    running(world, machines)
    fourth = world.machine()
    world.table.stream.clear()
    world.minutes(61, sweeps_each=61)
    assert fleet(world, [*machines, fourth]) == "1r 1r 1r 1p"


def test_looking_again_writes_nothing(world: World, machines: list[str]) -> None:
    running(world, machines)
    before = services.load(world.table, "default", "agent")
    keys = [ServiceKey("default", "agent"), *(ServiceKey("default", "agent", machine) for machine in machines)]
    for key in keys:
        assert not schedule_services(world.cp, [key])
    assert services.load(world.table, "default", "agent") == before


def test_more_than_one_transaction_holds(world: World) -> None:
    world.cluster()
    world.task_definition("agent", memory=10, cpu=10)
    machines = [world.machine() for _ in range(25)]
    running(world, machines)
    assert counts(world) == (25, 25, 0)
    update(world, forceNewDeployment=True)
    for _ in range(2):
        do_as_told(world, machines)
    assert (counts(world), states(world)) == ((25, 25, 0), [("1", 25, "COMPLETED")])


EXPRESSION = {"type": "memberOf", "expression": "runningTasksCount < 3"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(
            {"desiredCount": 0},
            "The daemon scheduling strategy does not support a desired count for services. Remove the desired count "
            "value and try again",
            id="desired-count",
        ),
        pytest.param(
            {"placementStrategy": [{"type": "random"}]},
            "The daemon scheduling strategy does not support placement strategies. Remove the placement strategy and "
            "try again",
            id="placement-strategy",
        ),
        pytest.param(
            {"deploymentConfiguration": {"maximumPercent": 200}},
            "The daemon scheduling strategy does not support values above 100 for maximumPercent on a deployment "
            "configuration. Change the maximumPercent value to 100, and try again",
            id="maximum-percent",
        ),
        pytest.param(
            {"capacityProviderStrategy": [{"capacityProvider": "EXTERNAL"}]},
            "Specifying a capacity provider strategy is not supported when you create a service using the DAEMON "
            "scheduling strategy.",
            id="capacity-provider-strategy",
        ),
        pytest.param(
            {"placementConstraints": [EXPRESSION]},
            "The daemon scheduling strategy does not support placement constraints about task:group or "
            "runningTasksCount: its tasks would come and go with those of others. Use attributes of the container "
            "instances.",
            id="constraints-about-tasks",
        ),
    ],
)
@pytest.mark.parametrize("operation", ["create", "update"])
def test_what_makes_no_sense_is_refused(
    world: World, machines: list[str], operation: str, members: dict[str, Any], message: str
) -> None:
    if operation == "update":
        running(world, machines)
    with pytest.raises(InvalidParameterException) as raised:
        create(world, **members) if operation == "create" else update(world, **members)
    assert raised.value.message == message


def test_they_are_listed_by_their_strategy(world: World, machines: list[str]) -> None:
    create(world)
    replicas(world, 1)
    for strategy, name in (("DAEMON", "agent"), ("REPLICA", "web")):
        arns = list_services(world.cp, {"schedulingStrategy": strategy})["serviceArns"]
        assert [arn.rpartition("/")[2] for arn in arns] == [name]


def test_their_tasks_are_listed_and_explained(world: World, machines: list[str]) -> None:
    create(world)
    listed = list_tasks(world.cp, {"serviceName": "agent"})["taskArns"]
    assert sorted(arn.rpartition("/")[2] for arn in listed) == sorted(
        task.task_id for machine in machines for task in on(world, machine)
    )
    placement = why(world.cp, "default", "agent")["placement"]
    assert (placement["placeable"], placement["instances"]) == (False, 3), "each has its task"
