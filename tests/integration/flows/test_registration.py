"""Activations, and machines that register with them: what may be repeated, raced for, cut short or guessed."""

import hashlib
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from control_plane.flows.activate import ActivationError, activate
from control_plane.flows.operate import operate
from control_plane.runtime import ControlPlane
from control_plane.store import activations, identities, keys
from ecs_protocol.messages import ActivateRequest, Attribute, Identity
from ecs_protocol.names import thing_name
from world import PREFIX, World

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def csr(key: Key) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


class Activated:
    """An activation and its code."""

    def __init__(self, world: World, *, limit: int = 1, cluster: str = "default", **members: Any) -> None:
        request = {"operation": "CreateActivation", "cluster": cluster, "registrationLimit": limit, **members}
        made = operate(world.cp, request)
        self.id, self.code = made["activationId"], made["activationCode"]

    def request(self, key: Key, *, code: str | None = None) -> ActivateRequest:
        return ActivateRequest(activation_id=self.id, activation_code=code or self.code, csr=csr(key))


def refused(cp: ControlPlane, request: ActivateRequest, source: str = "192.0.2.1") -> tuple[str, int, int | None]:
    with pytest.raises(ActivationError) as error:
        activate(cp, request, source)
    return error.value.error, error.value.status, error.value.retry_after


@pytest.fixture
def clustered(world: World) -> World:
    world.cluster()
    return world


# --- activations


def test_activations_are_listed_and_deleted(clustered: World) -> None:
    clustered.cluster("other")
    first = Activated(clustered, limit=2, attributes={"site": "basement"})
    clustered.pass_time(1)
    second = Activated(clustered, cluster="other", expiresInSeconds=60)
    activate(clustered.cp, first.request(new_key()), "192.0.2.1")
    clustered.pass_time(60)
    listed = operate(clustered.cp, {"operation": "ListActivations"})["activations"]
    assert listed == [
        {
            "activationId": first.id,
            "cluster": "default",
            "registrationLimit": 2,
            "registrations": 1,
            "expiresAt": "2026-01-02T00:00:00+00:00",
            "expired": False,
            "attributes": {"site": "basement"},
        },
        {
            "activationId": second.id,
            "cluster": "other",
            "registrationLimit": 1,
            "registrations": 0,
            "expiresAt": "2026-01-01T00:01:01+00:00",
            "expired": True,
            "attributes": {},
        },
    ]
    assert operate(clustered.cp, {"operation": "ListActivations", "cluster": "other"})["activations"] == listed[1:]

    assert operate(clustered.cp, {"operation": "DeleteActivation", "activationId": first.id}) == {
        "activationId": first.id
    }
    assert operate(clustered.cp, {"operation": "ListActivations"})["activations"] == listed[1:]
    assert list(clustered.table.query(f"ACTIVATION#{first.id}")) == []
    assert refused(clustered.cp, first.request(new_key()))[0] == "InvalidActivation"
    again = operate(clustered.cp, {"operation": "DeleteActivation", "activationId": first.id})
    assert again == {"error": "InvalidParameterException", "message": f"There is no activation {first.id}."}


def test_a_registration_that_is_under_way_gets_nothing_of_an_activation_that_is_deleted(
    clustered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    activation = Activated(clustered)
    certify = clustered.registry.certify

    def delete_meanwhile(csr_pem: str) -> Any:
        operate(clustered.cp, {"operation": "DeleteActivation", "activationId": activation.id})
        return certify(csr_pem)

    monkeypatch.setattr(clustered.registry, "certify", delete_meanwhile)
    assert refused(clustered.cp, activation.request(new_key()))[0] == "InvalidActivation"
    assert (clustered.registry.in_use, clustered.registry.retired) == (set(), {"certificate-1"})


def test_an_activation_ends_with_its_time_but_not_for_a_machine_that_has_used_it(clustered: World) -> None:
    activation, early = Activated(clustered, limit=2, expiresInSeconds=60), new_key()
    identity = activate(clustered.cp, activation.request(early), "192.0.2.1")
    clustered.pass_time(60)
    assert refused(clustered.cp, activation.request(new_key())) == ("ActivationExpired", 400, None)
    assert activate(clustered.cp, activation.request(early), "192.0.2.1") == identity


# --- guessing


def test_a_guesser_is_told_to_wait_and_the_right_code_still_works_for_others(clustered: World) -> None:
    activation, machine = Activated(clustered), new_key()
    wrong = activation.request(machine, code="a guess")
    for _ in range(10):
        assert refused(clustered.cp, wrong, "192.0.2.66") == ("InvalidActivation", 403, None)
    clustered.pass_time(100)
    assert refused(clustered.cp, wrong, "192.0.2.66") == ("TooManyAttempts", 429, 500)
    assert refused(clustered.cp, activation.request(machine), "192.0.2.66")[0] == "TooManyAttempts"
    assert activate(clustered.cp, activation.request(machine), "192.0.2.1")
    clustered.pass_time(500)
    assert refused(clustered.cp, wrong, "192.0.2.66") == ("InvalidActivation", 403, None)


def test_many_who_guess_one_activation_are_told_to_wait_all_together(clustered: World) -> None:
    activation, other = Activated(clustered), Activated(clustered)
    for number in range(30):
        wrong = activation.request(new_key(), code="a guess")
        assert refused(clustered.cp, wrong, f"192.0.2.{number}")[0] == "InvalidActivation"
    assert refused(clustered.cp, activation.request(new_key()), "192.0.2.0")[:2] == ("TooManyAttempts", 429)
    assert activate(clustered.cp, other.request(new_key()), "192.0.2.0")
    assert activate(clustered.cp, activation.request(new_key()), "192.0.2.99")


def test_ids_that_do_not_exist_are_guesses_too(clustered: World) -> None:
    for number in range(10):
        nowhere = ActivateRequest(activation_id=f"{number:032x}", activation_code="c", csr=csr(new_key()))
        assert refused(clustered.cp, nowhere)[0] == "InvalidActivation"
    assert refused(clustered.cp, nowhere)[0] == "TooManyAttempts"
    assert clustered.table.get(keys.failures("ACTIVATION", nowhere.activation_id)) is None


# --- AWS IoT's limits, and keys


def test_aws_iots_limit_becomes_an_answer_that_says_when_to_ask_again(clustered: World) -> None:
    activation, machine = Activated(clustered), new_key()
    clustered.registry.busy = True
    assert refused(clustered.cp, activation.request(machine)) == ("TooManyRegistrations", 429, 5)
    clustered.registry.busy = False
    assert activate(clustered.cp, activation.request(machine), "192.0.2.1")
    assert operate(clustered.cp, {"operation": "ListActivations"})["activations"][0]["registrations"] == 1


def test_a_weak_key_gets_nothing_and_uses_nothing(clustered: World) -> None:
    activation = Activated(clustered)
    weak = ec.generate_private_key(ec.SECP224R1())
    assert refused(clustered.cp, activation.request(weak))[0] == "InvalidCertificateSigningRequest"
    assert operate(clustered.cp, {"operation": "ListActivations"})["activations"][0]["registrations"] == 0
    assert clustered.registry.made == 0


def test_what_a_request_says_of_its_subject_is_nobodys(clustered: World) -> None:
    activation = Activated(clustered)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{PREFIX}-{'0' * 32}")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(new_key(), hashes.SHA256())
    request = activation.request(new_key()).model_copy(update={"csr": signed.public_bytes(Encoding.PEM).decode()})
    assert activate(clustered.cp, request, "192.0.2.1").container_instance_id != "0" * 32


# --- the same again


def test_the_same_key_gets_the_same_identity(clustered: World) -> None:
    activation, machine = Activated(clustered), new_key()
    first = activate(clustered.cp, activation.request(machine), "192.0.2.1")
    again = activate(clustered.cp, activation.request(machine), "192.0.2.1")  # signed anew
    assert again == first
    assert clustered.registry.made == 1


def test_a_use_that_an_older_release_noted_is_found(clustered: World) -> None:
    activation = Activated(clustered)
    request = activation.request(new_key())
    identity = activate(clustered.cp, request, "192.0.2.1")
    stored = activations.load(clustered.table, activation.id)
    assert stored
    [use] = list(clustered.table.query(f"ACTIVATION#{activation.id}", "CSR#"))
    digest = hashlib.sha256(request.csr.strip().encode()).hexdigest()
    clustered.table.put_many({keys.activation_use(activation.id, digest): use})
    clustered.table.delete_many([keys.Key(use["pk"], use["sk"])])
    assert activate(clustered.cp, request, "192.0.2.1") == identity


class CrashError(Exception):
    """The function is gone."""


def effects(world: World) -> Iterator[tuple[Any, str]]:
    """All that a registration does to the world outside."""
    yield world.table, "commit"
    for name in ("certify", "attach", "activate", "retire"):
        yield world.registry, name


def crash(world: World, monkeypatch: pytest.MonkeyPatch, at: int, *, done: bool) -> None:
    """Before the effect of that number, or after it."""
    numbers = itertools.count()

    def wrapped(effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            crashes = next(numbers) == at
            if crashes and not done:
                raise CrashError
            answer = effect(*arguments)
            if crashes:
                raise CrashError
            return answer

        return call

    for owner, name in effects(world):
        monkeypatch.setattr(owner, name, wrapped(getattr(owner, name)))


EFFECTS = 5
"""The use, the certificate, its note, what it is attached to, the identity; then it is activated."""


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(EFFECTS + 1))
def test_a_crash_between_any_two_steps(clustered: World, monkeypatch: pytest.MonkeyPatch, at: int, done: bool) -> None:
    """Leaves no certificate in use that is not the recorded one, and the same request goes on from there."""
    activation, machine = Activated(clustered), new_key()
    with monkeypatch.context() as patched:
        crash(clustered, patched, at, done=done)
        with pytest.raises(CrashError):
            activate(clustered.cp, activation.request(machine), "192.0.2.1")
    assert clustered.registry.in_use <= recorded(clustered)
    attached = set().union(*(principals for principals, _ in clustered.registry.attached.values()))
    assert attached <= noted(clustered, activation)

    identity = activate(clustered.cp, activation.request(machine), "192.0.2.1")
    [only] = recorded(clustered)
    assert clustered.registry.in_use == {only}
    assert clustered.registry.attached == {thing_name(PREFIX, identity.container_instance_id): ({only}, "default")}
    assert operate(clustered.cp, {"operation": "ListActivations"})["activations"][0]["registrations"] == 1


def test_that_was_each_step(clustered: World, monkeypatch: pytest.MonkeyPatch) -> None:
    activation = Activated(clustered)
    crash(clustered, monkeypatch, EFFECTS + 1, done=False)
    assert activate(clustered.cp, activation.request(new_key()), "192.0.2.1")


def recorded(world: World) -> set[str]:
    """The certificates of all identities."""
    things = (name.removeprefix(f"{PREFIX}-") for name in world.registry.attached)
    found = (identities.load(world.table, instance_id) for instance_id in things)
    return {identity.principal for identity in found if identity}


def noted(world: World, activation: Activated) -> set[str]:
    uses = world.table.query(f"ACTIVATION#{activation.id}", "CSR#")
    return {use["certificateArn"].rsplit("/", 1)[1] for use in uses if "certificateArn" in use}


def test_a_certificate_that_was_replaced_since_is_revoked_and_not_given_again(clustered: World) -> None:
    activation, machine = Activated(clustered), new_key()
    identity = activate(clustered.cp, activation.request(machine), "192.0.2.1")
    stored = identities.load(clustered.table, identity.container_instance_id)
    assert stored
    newer = stored.model_copy(update={"principal": "newer", "attributes": (Attribute(name="a", value="b"),)})
    clustered.table.commit([identities.written(stored, newer)])
    assert refused(clustered.cp, activation.request(machine)) == ("IdentitySuperseded", 403, None)
    assert identities.load(clustered.table, identity.container_instance_id) == newer.model_copy(update={"version": 2})
    assert clustered.registry.in_use == set()


# --- races, on a DynamoDB that isolates transactions


@pytest.fixture
def racing(dynamodb_local: Any) -> World:
    world = World(dynamodb_local, table_name=f"registration-{uuid.uuid4().hex}")
    world.table.recording = False
    world.cluster()
    return world


def at_once(calls: list[Callable[[], Identity]]) -> list[Identity | str]:
    """What each call gave: an identity, or the error's name."""
    results: list[Identity | str] = []
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Identity]) -> None:
        start.wait()
        try:
            results.append(call())
        except ActivationError as error:
            results.append(error.error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.dynamodb_local
def test_the_last_registrations_go_to_as_many_machines_as_there_are(racing: World) -> None:
    activation = Activated(racing, limit=3)
    machines = [activation.request(new_key()) for _ in range(10)]

    def register(number: int) -> Callable[[], Identity]:
        return lambda: activate(racing.function(), machines[number], f"192.0.2.{number}")

    results = at_once([register(number) for number in range(len(machines))])
    identities = {result.container_instance_id for result in results if isinstance(result, Identity)}
    assert len(identities) == 3
    assert [result for result in results if isinstance(result, str)] == ["ActivationLimitReached"] * 7
    assert operate(racing.cp, {"operation": "ListActivations"})["activations"][0]["registrations"] == 3


@pytest.mark.dynamodb_local
def test_one_machine_that_asks_many_times_at_once_is_one_registration(racing: World) -> None:
    activation, machine = Activated(racing, limit=5), new_key()
    results = at_once([lambda: activate(racing.function(), activation.request(machine), "192.0.2.1") for _ in range(6)])
    assert len({result.container_instance_id for result in results if isinstance(result, Identity)}) == 1
    assert all(isinstance(result, Identity) for result in results), results
    assert operate(racing.cp, {"operation": "ListActivations"})["activations"][0]["registrations"] == 1
    assert racing.registry.in_use == recorded(racing)
    assert len(racing.registry.in_use) == 1


@pytest.mark.dynamodb_local
def test_guesses_at_once_are_all_counted(racing: World) -> None:
    activation = Activated(racing)
    wrong = activation.request(new_key(), code="a guess")

    def guess() -> Identity:
        return activate(racing.function(), wrong, "192.0.2.66")

    assert set(at_once([guess] * 12)) <= {"InvalidActivation", "TooManyAttempts"}
    assert refused(racing.cp, wrong, "192.0.2.66")[0] == "TooManyAttempts"
