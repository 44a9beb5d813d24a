"""A copied machine: two agents' cores under one identity and one client id, of which the broker keeps one connected."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest

from control_plane.domain.inbox import Presence
from control_plane.flows.answer_agent_request import answer_agent_request
from control_plane.flows.check import check
from control_plane.flows.container_instances import describe_container_instances
from control_plane.flows.note_presence import note_presence
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from control_plane.flows.services import create_service
from control_plane.flows.submit_task_state_change import submit_task_state_changes
from control_plane.gateways.identities import Certificate
from control_plane.store import keys, tasks
from control_plane.store.table import Write
from ecs_protocol.messages import DUPLICATE_IDENTITY, Refused, TaskStateChanges
from ecs_protocol.names import thing_name
from simulation.machines import Machine
from unit.agent.world import Runtime
from world import PREFIX, World

INSTANCE = "a" * 32
CLIENT = thing_name(PREFIX, INSTANCE)


class Net:
    """Messages are carried at once; a machine that hears that it is a duplicate leaves, as the MQTT link does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.versions = 0
        self.on: Machine | None = None
        world.cluster()
        world.task_definition()
        world.registry.attach(Certificate(f"arn:aws:iot:::cert/cert-{INSTANCE}", "PEM"), CLIENT, "default")

    def machine(self, boot_id: str) -> Machine:
        machine = Machine(INSTANCE, random.Random(boot_id), boot_id=boot_id)
        machine.now = self.world.now
        machine.random.random = lambda: 0.0  # type: ignore[method-assign]
        machine.boot()
        return machine

    def connects(self, machine: Machine) -> None:
        """The broker ends whoever is connected under the same client id."""
        before, self.on = self.on, machine
        self.versions += 1
        if before is not None:
            before.disconnect()
        machine.connect()
        self._presence("connected", self.versions)
        if before is not None:
            self._presence("disconnected", self.versions - 1, "DUPLICATE_CLIENTID")
        self.carry()

    def vanishes(self) -> None:
        """Whoever is connected says goodbye."""
        if self.on is not None:
            self.on.disconnect()
            self.on = None
            self._presence("disconnected", self.versions, "CLIENT_INITIATED_DISCONNECT")

    def _presence(self, event: Literal["connected", "disconnected"], version: int, reason: str | None = None) -> None:
        session = f"session-{version}"
        note_presence(
            self.world.cp, Presence(CLIENT, event, session, version, self.world.now, reason, f"cert-{INSTANCE}")
        )

    def passes(self, seconds: float, *machines: Machine) -> None:
        self.world.pass_time(seconds)
        for machine in machines:
            machine.now = self.world.now
            machine.keep_time()
        self.carry()

    def carry(self) -> None:
        """Until nothing is on its way any more."""
        while True:
            self.world.deliver()
            machine = self.on
            if machine is None:
                self.world.agents.sent.clear()
                return
            for _ in range(100):
                machine.work()
            if not machine.up and not self.world.agents.sent:
                return
            sent, machine.up = machine.up, []
            for received_at, message in sent:
                envelope = replace(self.world.envelope(INSTANCE, message), received_at=received_at)
                if isinstance(message, TaskStateChanges):
                    assert submit_task_state_changes(self.world.cp, [envelope]) == set()
                else:
                    answer_agent_request(self.world.cp, envelope)
            answers, self.world.agents.sent = self.world.agents.sent, []
            for _, answer in answers:
                machine.hear(answer)
                if isinstance(answer, Refused) and answer.error == DUPLICATE_IDENTITY and self.on is machine:
                    self.vanishes()

    def statuses(self) -> list[str]:
        return [str(task.last_status) for task in tasks.of_instance(self.world.table, "default", INSTANCE)]


@pytest.fixture
def net(world: World) -> Net:
    return Net(world)


def clone_of(net: Net, original: Machine, boot_id: str = "copy") -> Machine:
    """With its disk: state, and containers that do not run. It has just started."""
    copy = Machine(INSTANCE, random.Random(boot_id), boot_id=boot_id, stored=original.stored)
    copy.now, copy.runtime = net.world.now, Runtime()
    copy.boot()
    return copy


def with_a_service(net: Net) -> Machine:
    original = net.machine("original")
    net.connects(original)
    create_service(net.world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1})
    net.carry()
    assert (net.statuses(), len(original.running())) == (["RUNNING"], 1)
    net.passes(3600, original)
    return original


def test_a_copy_beside_the_original_changes_nothing_but_that_no_task_is_placed(net: Net) -> None:
    original = with_a_service(net)
    [before] = tasks.of_instance(net.world.table, "default", INSTANCE)
    copy = clone_of(net, original)
    net.connects(copy)
    net.passes(2, original, copy)
    net.connects(original)
    net.passes(2, original, copy)
    net.connects(copy)
    assert (net.on, copy.state.duplicate) == (None, True), "it is refused, and leaves"
    net.passes(2, original, copy)
    net.connects(original)
    for _ in range(120):
        net.passes(60, original, copy)
    assert copy.runtime.starts == {}
    [after] = tasks.of_instance(net.world.table, "default", INSTANCE)
    assert (after.task_id, after.last_status, len(original.running())) == (before.task_id, before.last_status, 1)
    answered = run_task(net.world.cp, {"taskDefinition": "web"})
    assert [failure["reason"] for failure in answered["failures"]] == ["AGENT"]


def test_a_copy_that_came_while_the_original_was_away_is_told_when_that_is_back(net: Net) -> None:
    original = with_a_service(net)
    net.vanishes()
    net.passes(300, original)
    copy = clone_of(net, original)
    net.connects(copy)
    assert net.world.instance(INSTANCE).duplicate_found_at is None, "a machine that was started again looks the same"
    net.passes(60, original, copy)
    net.connects(original)
    net.passes(2, original, copy)
    net.connects(copy)
    started = dict(copy.runtime.starts)
    net.connects(original)
    for _ in range(60):
        net.passes(60, original, copy)
    assert net.world.instance(INSTANCE).duplicate_found_at is not None
    assert copy.state.duplicate
    assert copy.runtime.starts == started, "from then on it starts nothing"


def test_what_a_refused_machine_was_told_to_restart_or_to_stop_when_cut_off_it_leaves_as_it_is(net: Net) -> None:
    original = net.machine("original")
    net.connects(original)
    tags = [{"key": "ecs-anywhere:disconnect", "value": "stop-after=2m"}]
    create_service(net.world.cp, {"serviceName": "web", "taskDefinition": "web", "desiredCount": 1, "tags": tags})
    net.carry()
    net.passes(3600, original)
    copy = net.machine("copy")
    net.connects(copy)
    net.passes(2, original, copy)
    net.connects(original)
    chosen = {"containerInstance": INSTANCE, "bootId": "copy"}
    operate(net.world.cp, {"operation": "KeepMachine", **chosen})
    net.passes(2, original, copy)
    net.connects(original)
    assert original.state.duplicate
    running = original.running()
    for _ in range(60):
        net.passes(60, original)
    assert original.running() == running != set()


def test_two_machines_that_are_known_before_one_of_them_has_registered(net: Net) -> None:
    """What the first connection asked is on its way when the copy connects, and again when the original does."""
    original, copy = net.machine("original"), net.machine("copy")
    for machine in (original, copy, original):
        machine.connect()
        [(received_at, opening), *_] = machine.up
        machine.up, machine.connected = [], False
        envelope = replace(net.world.envelope(INSTANCE, opening), received_at=received_at)
        answer_agent_request(net.world.cp, envelope)
        net.world.pass_time(2)
        original.now = copy.now = net.world.now
    assert net.world.instance(INSTANCE) is None
    net.connects(original)
    net.passes(2, original)
    net.connects(original)
    assert net.world.instance(INSTANCE).duplicate_found_at is not None
    assert len(operate(net.world.cp, {"operation": "ListDuplicates"})["duplicates"]) == 1


def test_an_operator_sees_it_and_chooses(net: Net) -> None:
    original = with_a_service(net)
    copy = clone_of(net, original)
    net.connects(copy)
    net.passes(2, original, copy)
    net.connects(original)
    arn = net.world.cp.arns.container_instance("default", INSTANCE)
    found = operate(net.world.cp, {"operation": "ListDuplicates"})
    at = net.world.now.isoformat(timespec="seconds")
    one = {"containerInstanceArn": arn, "foundAt": at, "servedBootId": "original", "refusedBootIds": ["copy"]}
    assert found == {"duplicates": [one]}
    assert check(net.world.cp, "default", None, repair=False)["duplicates"] == [arn]
    [described] = describe_container_instances(
        net.world.cp, {"containerInstances": [INSTANCE], "include": ["CONTAINER_INSTANCE_HEALTH"]}
    )["containerInstances"]
    assert described["healthStatus"]["overallStatus"] == "IMPAIRED"
    told = {
        (tuple(each["Resources"]), json.loads(each["Detail"])["containerInstanceArn"])
        for each in net.world.events.entries
        if each["DetailType"] == "Container Instance Duplicate Identity"
    }
    assert told == {((arn,), arn)}

    wrong = operate(net.world.cp, {"operation": "KeepMachine", "containerInstance": INSTANCE, "bootId": "nobody's"})
    assert wrong == {"error": "InvalidParameterException", "message": "No machine has told the boot id nobody's."}
    kept = operate(net.world.cp, {"operation": "KeepMachine", "containerInstance": INSTANCE, "bootId": "copy"})
    assert kept == {"containerInstanceArn": arn, "servedBootId": "copy"}
    assert operate(net.world.cp, {"operation": "ListDuplicates"}) == {"duplicates": []}
    net.passes(2, original, copy)
    net.connects(copy)
    assert (copy.state.duplicate, net.on) == (False, copy)
    net.passes(2, original, copy)
    net.connects(original)
    assert (original.state.duplicate, net.on) == (True, None)
    net.connects(copy)
    net.passes(10, copy)
    assert run_task(net.world.cp, {"taskDefinition": "web"})["failures"] == []


def test_a_machine_that_lost_power_is_served_again_within_seconds(net: Net) -> None:
    original = with_a_service(net)
    again = clone_of(net, original, boot_id="second boot")
    net.connects(again)
    for _ in range(20):
        net.passes(1, again)
    assert again.state.link
    assert again.state.link.epoch > 0
    assert net.world.instance(INSTANCE).duplicate_found_at is None


def test_a_connection_that_flaps_is_one_machine(net: Net) -> None:
    """Each of its connections ends the one before, of which the broker has not noticed that it is dead."""
    original = with_a_service(net)
    for _ in range(50):
        net.connects(original)
        net.passes(2, original)
    assert net.world.instance(INSTANCE).duplicate_found_at is None
    assert net.statuses() == ["RUNNING"]


def test_a_boot_that_was_heard_before_costs_no_write(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    original = with_a_service(net)
    commit = net.world.table.commit
    committed: list[object] = []

    def recorded(writes: Sequence[Write]) -> None:
        committed.extend(write.key for write in writes)
        commit(writes)

    monkeypatch.setattr(net.world.table, "commit", recorded)
    net.connects(original)
    assert keys.identity(INSTANCE) not in committed
    again = clone_of(net, original, boot_id="second boot")
    net.vanishes()
    net.connects(again)
    assert committed.count(keys.identity(INSTANCE)) == 1
