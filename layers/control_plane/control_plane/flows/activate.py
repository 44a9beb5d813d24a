"""A machine becomes a container instance's body: activation code and CSR in, identity out.

    code right? ─► count the use, note the instance id ─► certificate, INACTIVE ─► note it ─► attach it
                                                ─► it is this instance's identity ─► make it ACTIVE ─► answer

A machine that did not get the answer asks again with the same key and gets the same identity: each step is done again
or found done. What dies between two steps leaves no certificate in use that is not the recorded one of its instance;
one that was made and not noted is INACTIVE and attached to nothing. Whoever has no code learns nothing but that.
"""

import base64
import hashlib
import hmac
from functools import partial

from aws_lambda_powertools import Logger

from control_plane.domain.attempts import Of, seconds_to_wait, source_of
from control_plane.domain.identity import InstanceIdentity
from control_plane.domain.races import ItemChangedError
from control_plane.domain.signing_request import SigningRequestError, public_key_digest
from control_plane.flows import audit
from control_plane.flows.activations import code_digest
from control_plane.flows.again import until_won
from control_plane.gateways.identities import Certificate, RegistryBusyError
from control_plane.runtime import ControlPlane
from control_plane.store import activations, failures, identities
from control_plane.store.activations import Activation, ActivationUse
from ecs_protocol.messages import ActivateRequest, Identity
from ecs_protocol.names import thing_name, topics

logger = Logger(child=True)

BUSY_SECONDS = 5
"""After which a machine that met AWS IoT's limit tries again, and more if it meets it again."""


class ActivationError(Exception):
    """Refused. `status` is the HTTP status of the answer, `retry_after` its header in seconds."""

    def __init__(self, error: str, message: str, status: int = 400, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.status = status
        self.retry_after = retry_after


def activate(cp: ControlPlane, request: ActivateRequest, source_address: str) -> Identity:
    """`source_address` is who called, as API Gateway saw it. Raises ActivationError; the audit log has it."""
    try:
        return _activate(cp, request, source_of(source_address))
    except ActivationError as error:
        audit.refused(
            cp,
            principal=None,
            action="ecs-anywhere:Activate",
            resource=request.activation_id,
            source=source_address,
            reason=f"{error.error}: {error.message}",
        )
        raise


def _activate(cp: ControlPlane, request: ActivateRequest, source: str) -> Identity:
    activation = _allowed(cp, request, source)
    try:
        key_digest = public_key_digest(request.csr)
        return _identity(cp, activation, request.csr, key_digest)
    except SigningRequestError as error:
        raise ActivationError("InvalidCertificateSigningRequest", str(error)) from error
    except RegistryBusyError as busy:
        raise ActivationError(
            "TooManyRegistrations", "Many machines register at this moment. Try again.", 429, BUSY_SECONDS
        ) from busy


def _allowed(cp: ControlPlane, request: ActivateRequest, source: str) -> Activation:
    """The activation, if the code is right and its sender has not tried too often.

    Whoever asks many times at once has all answered that began before the first failures were counted: as many more
    than the limit as functions run at once.
    """
    now = cp.clock()
    activation = activations.load(cp.table, request.activation_id)
    of_source = failures.load(cp.table, Of.SOURCE, source)
    of_activation = failures.load(cp.table, Of.ACTIVATION, request.activation_id) if of_source else None
    wait = seconds_to_wait(of_source, of_activation, now)
    if wait is not None:
        raise ActivationError(
            "TooManyAttempts",
            "Too many wrong activation ids or codes came from this address.",
            429,
            wait,
        )
    right = activation is not None and hmac.compare_digest(activation.code_digest, code_digest(request.activation_code))
    if activation is None or not right:
        until_won(cp, partial(_count, cp, Of.SOURCE, source))
        if activation is not None:
            until_won(cp, partial(_count, cp, Of.ACTIVATION, activation.activation_id))
        raise ActivationError("InvalidActivation", "Activation id or code is wrong. Make a new activation.", 403)
    return activation


def _count(cp: ControlPlane, of: Of, name: str, _attempt: int) -> None:
    """One failure more, in the open window or a new one; who loses the race for opening it counts in the winner's."""
    now = cp.clock()
    try:
        cp.table.commit([failures.counted(of, name, now)])
    except ItemChangedError:
        cp.table.commit([failures.first(of, name, now)])


def _identity(cp: ControlPlane, activation: Activation, csr: str, key_digest: str) -> Identity:
    use_key, use = _use(cp, activation, csr, key_digest)
    certificate = _certificate(cp, activation, use_key, use, csr)
    thing = thing_name(cp.prefix, use.instance_id)
    cp.registry.attach(certificate, thing, activation.cluster)
    until_won(cp, lambda _attempt: _record(cp, activation, use, certificate))
    cp.registry.activate(certificate.principal)
    logger.info("Activated", extra={"instance": use.instance_id, "cluster": activation.cluster})
    return Identity(
        container_instance_id=use.instance_id,
        container_instance_arn=cp.arns.container_instance(activation.cluster, use.instance_id),
        cluster=activation.cluster,
        client_id=thing,
        certificate_pem=certificate.pem,
        mqtt_endpoint=cp.registry.mqtt_endpoint(),
        mqtt_ca_pem=base64.b64decode(cp.mqtt_ca_base64).decode() or None,
        topics=topics(cp.prefix, thing),
        attributes=activation.attributes,
    )


def _record(cp: ControlPlane, activation: Activation, use: ActivationUse, certificate: Certificate) -> None:
    """This is the instance's certificate, unless it was given another one since, or is deregistered."""
    known = identities.load(cp.table, use.instance_id)
    if known is None:
        identity = InstanceIdentity(
            instance_id=use.instance_id,
            cluster=activation.cluster,
            principal=certificate.principal,
            attributes=activation.attributes,
        )
        cp.table.commit([identities.written(None, identity)])
    elif known.deregistered_at is not None:
        raise ActivationError("InactiveInstance", "This machine was deregistered. Make a new activation.", 403)
    elif known.principal != certificate.principal:
        cp.registry.retire(certificate.principal, thing_name(cp.prefix, use.instance_id))
        raise ActivationError(
            "IdentitySuperseded", "This machine was given a newer certificate since. Make a new activation.", 403
        )


def _use(cp: ControlPlane, activation: Activation, csr: str, key_digest: str) -> tuple[str, ActivationUse]:
    """The instance id that this key was, or is now, given, and what it is noted under."""
    # Until release 0.1.0 a use was noted under a digest of the whole request.
    before = hashlib.sha256(csr.strip().encode()).hexdigest()

    def attempt(_number: int) -> tuple[str, ActivationUse]:
        for name in (key_digest, before):
            known = activations.load_use(cp.table, activation.activation_id, name)
            if known is not None:
                return name, known
        current = activations.load(cp.table, activation.activation_id)
        if current is None:
            raise ActivationError("InvalidActivation", "The activation was deleted. Make a new one.", 403)
        if cp.clock() >= current.expires_at:
            raise ActivationError("ActivationExpired", "The activation has expired. Make a new one.")
        if current.registrations >= current.registration_limit:
            raise ActivationError(
                "ActivationLimitReached",
                f"The activation was made for {current.registration_limit} machines, which it has. Make a new one.",
            )
        use = ActivationUse(instance_id=cp.new_id())
        cp.table.commit(activations.used(current, key_digest, use))
        return key_digest, use

    return until_won(cp, attempt)


def _certificate(cp: ControlPlane, activation: Activation, use_key: str, use: ActivationUse, csr: str) -> Certificate:
    """Of two that ask at once, both end with the one that was noted first; the other is revoked."""
    if use.certificate_arn and use.certificate_pem:
        return Certificate(use.certificate_arn, use.certificate_pem)
    try:
        made = cp.registry.certify(csr)
    except ValueError as error:
        raise ActivationError("InvalidCertificateSigningRequest", f"AWS IoT refused the CSR: {error}") from error
    noted = ActivationUse(instance_id=use.instance_id, certificate_arn=made.arn, certificate_pem=made.pem)
    try:
        cp.table.commit([activations.certified(activation.activation_id, use_key, noted)])
    except ItemChangedError:
        cp.registry.retire(made.principal, thing_name(cp.prefix, use.instance_id))
        first = activations.load_use(cp.table, activation.activation_id, use_key)
        if first is None or not first.certificate_arn or not first.certificate_pem:
            raise ActivationError("InvalidActivation", "The activation was deleted. Make a new one.", 403) from None
        return Certificate(first.certificate_arn, first.certificate_pem)
    return made
