"""A certificate is replaced, whatever is lost, repeated or late, and a deregistered machine hears so."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane.flows.answer_agent_request import answer_agent_request
from control_plane.flows.container_instances import deregister_container_instance
from control_plane.flows.operate import operate
from control_plane.flows.run_task import run_task
from control_plane.store import identities, instances, tasks
from ecs_protocol.messages import (
    CertificateIssued,
    ControlPlaneMessage,
    Deregistered,
    DeregistrationNoted,
    MessageRejected,
    Reconcile,
    Reconciliation,
    Refused,
    RotateCertificate,
    RotationRequired,
)
from ecs_protocol.names import thing_name
from ecs_protocol.statuses import TaskStatus
from integration.flows.test_registration import CrashError, crash, csr, new_key
from world import PREFIX, World

S = TaskStatus


class Machine:
    """A machine and what it may say."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.cluster()
        self.id = world.machine()
        self.old = f"cert-{self.id}"
        world.registry.status[self.old] = "ACTIVE"
        self.key = new_key()
        world.agents.take(self.id)

    def asks(self, key: ec.EllipticCurvePrivateKey | None = None, *, principal: str | None = None) -> None:
        request = RotateCertificate(request_id="rotate", csr=csr(key or self.key))
        self.world.say(self.id, request, principal=principal)

    def reconciles(self, principal: str) -> None:
        self.world.say(self.id, Reconcile(request_id="r", digest="d"), principal=principal)

    def heard(self, kind: type[ControlPlaneMessage]) -> list[Any]:
        return [message for message in self.world.agents.take(self.id) if isinstance(message, kind)]

    @property
    def attached(self) -> set[str]:
        return self.world.registry.attached[thing_name(PREFIX, self.id)][0]

    @property
    def principal(self) -> str:
        identity = identities.load(self.world.table, self.id)
        assert identity
        return identity.principal


@pytest.fixture
def machine(world: World) -> Machine:
    return Machine(world)


NEW = "certificate-1"


def test_both_certificates_are_good_until_the_new_one_has_spoken(world: World, machine: Machine) -> None:
    machine.asks()
    assert machine.heard(CertificateIssued) == [CertificateIssued(request_id="rotate", certificate_pem="PEM")]
    assert world.registry.in_use == machine.attached == {machine.old, NEW}
    assert machine.principal == machine.old
    machine.reconciles(machine.old)
    assert machine.attached == {machine.old, NEW}

    machine.reconciles(NEW)
    assert world.registry.in_use == machine.attached == {NEW}
    assert machine.principal == NEW
    machine.heard(Reconciliation)
    machine.reconciles(machine.old)
    assert world.agents.sent == [], "the old one says nothing any more"


def test_the_same_key_gets_the_same_certificate_however_often_it_asks(world: World, machine: Machine) -> None:
    for _ in range(3):
        machine.asks()
        world.pass_time(3600)
    assert len(machine.heard(CertificateIssued)) == 3
    assert world.registry.made == 1


def test_a_machine_that_has_lost_its_new_key_asks_with_another(world: World, machine: Machine) -> None:
    machine.asks()
    machine.heard(CertificateIssued)
    other = new_key()
    machine.asks(other)
    [refused] = machine.heard(Refused)
    assert refused.error == "TooManyCertificates"
    world.pass_time(600)
    machine.asks(other)
    assert len(machine.heard(CertificateIssued)) == 1
    assert world.registry.in_use == machine.attached == {machine.old, "certificate-2"}


def test_a_request_that_lay_in_a_queue_is_not_answered(world: World, machine: Machine) -> None:
    late = world.envelope(machine.id, RotateCertificate(request_id="rotate", csr=csr(machine.key)))
    world.pass_time(600)
    answer_agent_request(world.cp, late)
    assert (world.agents.sent, world.registry.made) == ([], 0)


def test_a_weak_key_is_refused(machine: Machine) -> None:
    machine.asks(ec.generate_private_key(ec.SECP224R1()))
    [refused] = machine.heard(Refused)
    assert (refused.request_id, refused.error) == ("rotate", "InvalidCertificateSigningRequest")
    assert machine.attached == {machine.old}


def test_a_registry_that_is_busy_is_asked_again_by_the_machine(world: World, machine: Machine) -> None:
    world.registry.busy = True
    machine.asks()
    assert world.agents.sent == []
    world.registry.busy = False
    machine.asks()
    assert len(machine.heard(CertificateIssued)) == 1


def test_another_machines_certificate_is_not_replaced_by_asking_in_its_name(world: World, machine: Machine) -> None:
    other = world.machine()
    machine.asks(principal=f"cert-{other}")
    assert (world.registry.made, machine.attached) == (0, {machine.old})


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(4))
def test_a_crash_between_any_two_steps_of_issuing(
    world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch, at: int, done: bool
) -> None:
    """Certificate, note, attached, active."""
    with monkeypatch.context() as patched:
        crash(world, patched, at, done=done)
        with pytest.raises(CrashError):
            machine.asks()
    identity = identities.load(world.table, machine.id)
    assert identity
    assert world.registry.in_use <= set(identity.principals)
    machine.asks()
    assert len(machine.heard(CertificateIssued)) == 1
    identity = identities.load(world.table, machine.id)
    assert identity
    assert world.registry.in_use == machine.attached == set(identity.principals)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_crash_while_the_old_one_is_revoked(
    world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch, at: int, done: bool
) -> None:
    """The epoch (not counted), the old one, the note. The machine's message comes again."""
    machine.asks()
    machine.heard(CertificateIssued)
    with monkeypatch.context() as patched:
        crash(world, patched, at, done=done)
        try:
            machine.reconciles(NEW)
        except CrashError:
            machine.world.cp = world.function()
    machine.reconciles(NEW)
    assert world.registry.in_use == machine.attached == {NEW}
    assert machine.principal == NEW


def test_a_restored_table_that_knows_the_old_certificate_learns_the_new_one(world: World, machine: Machine) -> None:
    stored = identities.load(world.table, machine.id)
    machine.asks()
    machine.reconciles(NEW)
    assert stored
    current = identities.load(world.table, machine.id)
    world.table.commit([identities.written(current, stored)])
    machine.heard(Reconciliation)
    machine.reconciles(machine.old)
    machine.reconciles(NEW)
    assert machine.principal == NEW


# --- on demand


def rotate(world: World, name: str) -> dict[str, Any]:
    return operate(world.cp, {"operation": "RotateCertificate", "containerInstance": name})


def test_an_operator_has_a_certificate_replaced(world: World, machine: Machine) -> None:
    arn = world.cp.arns.container_instance("default", machine.id)
    assert rotate(world, arn) == {"containerInstanceArn": arn}
    assert machine.heard(RotationRequired) == [RotationRequired()]
    world.reconciles(machine.id)
    assert machine.heard(RotationRequired) == [RotationRequired()], "it may have been away"
    machine.asks()
    machine.reconciles(NEW)
    world.agents.take(machine.id)
    machine.reconciles(NEW)
    assert machine.heard(RotationRequired) == []


@pytest.mark.parametrize("name", ["0" * 32, "x" * 32, "nonsense", ""])
def test_what_is_no_instance_has_no_certificate(world: World, machine: Machine, name: str) -> None:
    assert rotate(world, name)["error"] == "InvalidParameterException"


# --- deregistered


@pytest.fixture
def gone(world: World, machine: Machine) -> Machine:
    deregister_container_instance(world.cp, {"containerInstance": machine.id})
    return machine


def looks(world: World, minutes: float) -> None:
    world.minutes(minutes, sweeps_each=minutes)


def test_a_machine_hears_that_it_is_deregistered_and_then_its_certificate_is_revoked(
    world: World, gone: Machine
) -> None:
    assert gone.heard(Deregistered) == [Deregistered()]
    assert world.registry.in_use == {gone.old}
    world.say(gone.id, DeregistrationNoted(request_id="noted"))
    assert (world.registry.retired, gone.attached) == ({gone.old}, set())
    assert world.agents.ended == [gone.id]


def test_it_hears_so_again_whatever_it_asks(world: World, gone: Machine) -> None:
    gone.heard(Deregistered)
    gone.reconciles(gone.old)
    assert gone.heard(Deregistered) == [Deregistered()]
    gone.asks()
    assert gone.heard(CertificateIssued) == []
    assert world.registry.made == 0


def test_and_without_asking_after_gaps_that_double(world: World, gone: Machine) -> None:
    gone.heard(Deregistered)
    told = []
    for minute in range(1, 128):
        looks(world, 1)
        told += [minute for _ in gone.heard(Deregistered)]
    assert {1, 2, 4, 8, 16, 32, 64} <= set(told)
    assert len(told) <= 8, "once more when it was to be probed"


def test_after_thirty_days_its_certificate_is_revoked_though_it_never_heard(world: World, gone: Machine) -> None:
    for _ in range(29):
        looks(world, 24 * 60)
    assert world.registry.in_use == {gone.old}
    looks(world, 24 * 60)
    assert (world.registry.in_use, world.registry.retired) == (set(), {gone.old})
    told = gone.heard(Deregistered)
    for _ in range(3):
        looks(world, 24 * 60)
    assert told
    assert gone.heard(Deregistered) == []


def test_a_stolen_machine_is_not_waited_for(world: World, gone: Machine) -> None:
    operation = {"operation": "RevokeCertificate", "containerInstance": gone.id}
    assert "error" not in operate(world.cp, operation)
    assert (world.registry.retired, gone.attached) == ({gone.old}, set())
    assert "error" not in operate(world.cp, operation)


def test_only_who_is_deregistered_is_revoked(world: World, machine: Machine) -> None:
    answer = operate(world.cp, {"operation": "RevokeCertificate", "containerInstance": machine.id})
    assert answer["message"] == "The referenced container instance is not deregistered."
    world.say(machine.id, DeregistrationNoted(request_id="noted"))
    assert world.registry.in_use == {machine.old}


def test_that_a_machine_rejects_a_message_is_logged_and_changes_nothing(
    world: World, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    before = instances.load(world.table, "default", machine.id)
    world.say(machine.id, MessageRejected(request_id="r", reason="it cannot be read"))
    [line] = [vars(record) for record in caplog.records if record.message == "A machine refused a message of ours"]
    assert (line["instance"], line["reason"]) == (machine.id, "it cannot be read")
    assert instances.load(world.table, "default", machine.id) == before
    assert not world.agents.sent


def test_a_certificate_that_waits_to_be_used_is_revoked_with_the_other(world: World, machine: Machine) -> None:
    machine.asks()
    deregister_container_instance(world.cp, {"containerInstance": machine.id})
    world.say(machine.id, DeregistrationNoted(request_id="noted"), principal=NEW)
    assert world.registry.in_use == set()
    assert world.registry.retired == {machine.old, NEW}


def test_that_its_tasks_have_stopped_is_believed(world: World, machine: Machine) -> None:
    """A task that stops after a time without contact holds its place until its machine says that it has stopped."""
    world.task_definition()
    tags = [{"key": "ecs-anywhere:disconnect", "value": "stop-after=1h"}]
    ran = run_task(world.cp, {"taskDefinition": "web", "tags": tags})
    assert not ran["failures"], ran
    task_id = ran["tasks"][0]["taskArn"].rsplit("/", 1)[1]
    world.report(world.report_of(task_id, S.RUNNING, 1), instance_id=machine.id)
    deregister_container_instance(world.cp, {"containerInstance": machine.id, "force": True})
    world.report(world.report_of(task_id, S.DEACTIVATING, 2), instance_id=machine.id)
    found = tasks.load(world.table, "default", task_id)
    assert found
    assert found.last_status is S.RUNNING
    world.report(world.report_of(task_id, S.STOPPED, 3), instance_id=machine.id)
    found = tasks.load(world.table, "default", task_id)
    assert found
    assert found.last_status is S.STOPPED
