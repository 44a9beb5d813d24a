"""Which certificate is shown when, and when another one is asked for."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from ecs_anywhere_agent.identity import IdentityFiles, identity_files, validity
from ecs_anywhere_agent.registering import new_key
from ecs_anywhere_agent.rotating import Rotation
from ecs_anywhere_agent.sealing import Sealing
from ecs_protocol.messages import CertificateIssued, Probe, Reconciliation, RotateCertificate, RotationRequired

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ANSWERED = Reconciliation(request_id="r", page=1, pages=1, epoch=1, version=1)


def certificate(key_pem: str, *, begin: datetime = BEGIN, days: float = 365) -> str:
    key = load_pem_private_key(key_pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


class Machine:
    """A data directory with an identity, and a clock."""

    def __init__(self, directory: Path, days: float = 365) -> None:
        self.files = identity_files(directory)
        self.files.prepare()
        key, _ = new_key()
        self.files.key.write_text(key)
        self.files.certificate.write_text(certificate(key, days=days))
        self.elapsed, self.now = 0.0, BEGIN
        self.old = self.files.certificate.read_text()
        self.rotation = self.starts()

    def starts(self) -> Rotation:
        self.rotation = Rotation(self.files, self.context, elapsed=lambda: self.elapsed, now=lambda: self.now)
        return self.rotation

    def pass_time(self, **time: float) -> None:
        self.now += timedelta(**time)
        self.elapsed += timedelta(**time).total_seconds()

    def context(self, files: IdentityFiles) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.load_cert_chain(files.certificate, files.key)
        self.shown = "old" if files.certificate.read_text() == self.old else "new"
        return context

    def connects(self, *, refused: bool = False) -> str:
        """Which certificate it shows."""
        self.rotation.context()
        if not refused:
            self.rotation.connected()
        return "new" if self.rotation._shows_next else "old"

    def wants_to_reconnect(self) -> bool:
        return self.rotation.reconnect

    def issued(self, request: RotateCertificate | None) -> CertificateIssued:
        assert request is not None
        key = self.files.next.key.read_text()
        return CertificateIssued(request_id=request.request_id, certificate_pem=certificate(key, begin=self.now))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_a_certificate_says_of_its_validity() -> None:
    key, _ = new_key()
    for begin, days in ((BEGIN, 365), (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), 1)):
        assert validity(certificate(key, begin=begin, days=days)) == (begin, begin + timedelta(days=days))
    with pytest.raises(ValueError, match="DER"):
        validity("no certificate")


@pytest.mark.parametrize(
    ("life", "after", "asks"),
    [
        pytest.param(365, 334, False, id="thirty-one days before the end"),
        pytest.param(365, 336, True, id="twenty-nine days before it"),
        pytest.param(9, 5.9, False, id="two thirds of a short life"),
        pytest.param(9, 6.1, True, id="the last third of one"),
        pytest.param(365, 400, True, id="after its end, should anybody still be there"),
    ],
)
def test_when_it_asks_for_another_one(tmp_path: Path, life: float, after: float, asks: bool) -> None:
    machine = Machine(tmp_path, days=life)
    machine.pass_time(days=after)
    assert (machine.rotation.due() is not None) == asks


def test_it_asks_again_with_the_same_key_after_gaps_that_double(machine: Machine) -> None:
    machine.pass_time(days=340)
    requests = []
    asked = []
    for second in range(0, 600, 10):
        request = machine.rotation.due()
        if request is not None:
            requests.append(request)
            asked.append(second)
        machine.pass_time(seconds=10)
    assert asked == [0, 60, 180, 420]
    assert machine.starts().due() in requests, "also after it has started anew"
    assert len(set(requests)) == 1


def test_it_asks_when_it_is_told_to(machine: Machine) -> None:
    assert machine.rotation.due() is None
    assert machine.rotation.heard(Probe()) is None
    first = machine.rotation.heard(RotationRequired())
    assert first is not None
    assert machine.rotation.heard(RotationRequired()) == first


def test_a_new_certificate_takes_its_place_once_the_control_plane_has_answered(machine: Machine) -> None:
    assert machine.connects() == "old"
    issued = machine.issued(machine.rotation.heard(RotationRequired()))
    assert not machine.wants_to_reconnect()
    for _ in range(2):
        assert machine.rotation.heard(issued) is None
    assert machine.wants_to_reconnect()
    assert machine.rotation.heard(RotationRequired()) is None, "there is one already"
    machine.rotation.heard(ANSWERED)
    assert machine.connects() == "new"
    assert not machine.wants_to_reconnect()
    assert machine.files.certificate.read_text() == machine.old
    machine.rotation.heard(ANSWERED)
    assert machine.files.certificate.read_text() == issued.certificate_pem
    assert sorted(path.name for path in machine.files.next.directory.iterdir()) == []
    assert machine.connects() == "old", "which is the new one now"
    assert machine.rotation.due() is None


def test_what_was_sealed_with_the_old_private_key_opens_with_the_new_one(machine: Machine) -> None:
    sealed = Sealing(machine.files).seal("of a secret", "task/main")
    old_key = machine.files.key.read_text()
    machine.connects()
    machine.rotation.heard(machine.issued(machine.rotation.heard(RotationRequired())))
    machine.connects()
    assert Sealing(machine.files).unseal(sealed, "task/main") == "of a secret"
    machine.rotation.heard(ANSWERED)
    assert machine.files.key.read_text() != old_key
    assert Sealing(machine.files).unseal(sealed, "task/main") == "of a secret"


def test_while_neither_connects_each_is_tried_in_turn(machine: Machine) -> None:
    machine.connects()
    machine.rotation.heard(machine.issued(machine.rotation.heard(RotationRequired())))
    assert [machine.connects(refused=True) for _ in range(5)] == ["new", "old", "new", "old", "new"]


def test_while_the_old_one_connects_the_new_one_is_tried_after_gaps_that_double(machine: Machine) -> None:
    machine.connects()
    machine.rotation.heard(machine.issued(machine.rotation.heard(RotationRequired())))
    tried = []
    for second in range(0, 600, 10):
        if machine.wants_to_reconnect():
            assert machine.connects(refused=True) == "new"
            tried.append(second)
            assert machine.connects() == "old"
        machine.pass_time(seconds=10)
    assert tried == [0, 60, 180, 420]


@pytest.mark.parametrize(
    "pem",
    [pytest.param("garbage", id="what is none"), pytest.param(certificate(new_key()[0]), id="one for another key")],
)
def test_a_certificate_that_is_not_for_the_new_key_is_not_taken(machine: Machine, pem: str) -> None:
    request = machine.rotation.heard(RotationRequired())
    assert request is not None
    machine.rotation.heard(CertificateIssued(request_id=request.request_id, certificate_pem=pem))
    assert not machine.wants_to_reconnect()
    assert machine.rotation.heard(machine.issued(request)) is None
    assert machine.wants_to_reconnect()


def test_a_certificate_that_vanishes_is_given_up(machine: Machine) -> None:
    machine.connects()
    machine.rotation.heard(machine.issued(machine.rotation.heard(RotationRequired())))
    machine.files.next.key.write_text("garbage")
    assert machine.connects() == "old"
    assert not machine.wants_to_reconnect()
    assert machine.rotation.heard(RotationRequired()) is not None


def test_a_certificate_whose_end_cannot_be_read_is_replaced_on_demand_only(machine: Machine) -> None:
    machine.files.certificate.write_text("garbage")
    rotation = machine.starts()
    machine.pass_time(days=9999)
    assert rotation.due() is None
    assert rotation.heard(RotationRequired()) is not None


def test_an_answer_to_nothing_that_was_asked_is_ignored(machine: Machine) -> None:
    machine.rotation.heard(CertificateIssued(request_id="0" * 32, certificate_pem=machine.old))
    assert not machine.wants_to_reconnect()


@pytest.mark.parametrize("at", ["before the key", "between the two", "after both"])
def test_an_agent_that_ends_while_it_replaces_them_has_a_pair_that_fits(machine: Machine, at: str) -> None:
    issued = machine.issued(machine.rotation.heard(RotationRequired()))
    machine.rotation.heard(issued)
    following = machine.files.next
    if at != "before the key":
        following.key.replace(machine.files.key)
    if at == "after both":
        following.certificate.replace(machine.files.certificate)
    machine.files._go_on_replacing()
    machine.context(machine.files)
    assert machine.shown == ("old" if at == "before the key" else "new")
    assert machine.files.next.request.exists() == (at == "before the key")


def test_a_new_registration_has_nothing_to_do_with_a_replacement_that_was_begun(machine: Machine) -> None:
    machine.rotation.heard(RotationRequired())
    machine.files.next.forget()
    assert not any(machine.files.next.directory.iterdir())


def test_a_machine_that_can_make_no_key_runs_on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert machine.rotation.heard(RotationRequired()) is None
