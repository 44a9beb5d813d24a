"""A machine becomes a container instance's body: activation code and CSR in, identity out.

    code right? ─► count the use, note the instance id ─► certificate ─► note it ─► attach ─► answer

A machine that did not get the answer asks again with the same CSR and gets the same identity: each step is done again
or found done. Whoever has no code learns nothing but that.
"""

import base64
import hashlib
import hmac

from aws_lambda_powertools import Logger

from control_plane.domain.container_instance import InstanceIdentity
from control_plane.domain.races import ItemChangedError
from control_plane.gateways.identities import Certificate
from control_plane.runtime import ControlPlane
from control_plane.store import activations, instances
from control_plane.store.activations import Activation, ActivationUse
from ecs_protocol.messages import ActivateRequest, Identity
from ecs_protocol.names import thing_name, topics

logger = Logger(child=True)


class ActivationError(Exception):
    """Refused. `status` is the HTTP status of the answer."""

    def __init__(self, error: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.status = status


def code_digest(code: str) -> str:
    """What is stored of an activation code: it is random and long, so that a plain digest suffices."""
    return hashlib.sha256(code.encode()).hexdigest()


def activate(cp: ControlPlane, request: ActivateRequest) -> Identity:
    """Raises ActivationError."""
    activation = activations.load(cp.table, request.activation_id)
    if activation is None or not hmac.compare_digest(activation.code_digest, code_digest(request.activation_code)):
        raise ActivationError("InvalidActivation", "Activation id or code is wrong. Make a new activation.", 403)
    csr_digest = hashlib.sha256(request.csr.strip().encode()).hexdigest()
    use = _use(cp, activation, csr_digest)
    certificate = _certificate(cp, activation, csr_digest, use, request.csr)
    thing = thing_name(cp.prefix, use.instance_id)
    cp.registry.attach(certificate, thing, activation.cluster)
    cp.table.commit(
        [
            instances.identified(
                InstanceIdentity(
                    instance_id=use.instance_id,
                    cluster=activation.cluster,
                    principal=certificate.principal,
                    attributes=activation.attributes,
                )
            )
        ]
    )
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


def _use(cp: ControlPlane, activation: Activation, csr_digest: str) -> ActivationUse:
    """The instance id that this CSR was, or is now, given."""
    known = activations.load_use(cp.table, activation.activation_id, csr_digest)
    if known is not None:
        return known
    if cp.clock() >= activation.expires_at:
        raise ActivationError("ActivationExpired", "The activation has expired. Make a new one.")
    use = ActivationUse(instance_id=cp.new_id())
    try:
        cp.table.commit(activations.used(activation, csr_digest, use))
    except ItemChangedError as lost:
        known = activations.load_use(cp.table, activation.activation_id, csr_digest)
        if known is not None:
            return known
        raise ActivationError(
            "ActivationLimitReached",
            f"The activation was made for {activation.registration_limit} machines, which it has. Make a new one.",
        ) from lost
    return use


def _certificate(
    cp: ControlPlane, activation: Activation, csr_digest: str, use: ActivationUse, csr: str
) -> Certificate:
    """Of two that ask at once, both end with the one that was noted first; the other is attached to nothing."""
    if use.certificate_arn and use.certificate_pem:
        return Certificate(use.certificate_arn, use.certificate_pem)
    try:
        made = cp.registry.certify(csr)
    except ValueError as error:
        raise ActivationError("InvalidCertificateSigningRequest", f"AWS IoT refused the CSR: {error}") from error
    noted = ActivationUse(instance_id=use.instance_id, certificate_arn=made.arn, certificate_pem=made.pem)
    try:
        cp.table.commit([activations.certified(activation.activation_id, csr_digest, noted)])
    except ItemChangedError:
        first = activations.load_use(cp.table, activation.activation_id, csr_digest)
        if first is None or not first.certificate_arn or not first.certificate_pem:
            raise
        cp.registry.retire(made.principal)
        return Certificate(first.certificate_arn, first.certificate_pem)
    return made
