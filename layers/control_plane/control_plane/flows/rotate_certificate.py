"""A machine gets a certificate for a new key, over MQTT, without a moment in which it has none.

    RotationRequired ──► (the machine makes a key) ──► RotateCertificate ──► certificate, INACTIVE ──► note it
      ──► attach it ──► make it ACTIVE ──► CertificateIssued ──► (it connects) ──► any request with it
      ──► revoke the old one ──► note that

Each message may be lost, late or repeated: the request names its key, and the same key gets the same certificate; each
step is done again or found done. Until a request has come with the new certificate the old one is good.
"""

from functools import partial

from aws_lambda_powertools import Logger

from control_plane.domain.arns import resource_name
from control_plane.domain.container_instance import InstanceStatus
from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.identity import ROTATION_GAP, InstanceIdentity, NextCertificate
from control_plane.domain.races import ItemChangedError
from control_plane.domain.signing_request import SigningRequestError, public_key_digest
from control_plane.flows import audit
from control_plane.flows.again import until_answered, until_won
from control_plane.flows.lookup import require_cluster
from control_plane.flows.tasks import looks_like_an_id
from control_plane.gateways.identities import Certificate, RegistryBusyError
from control_plane.runtime import ControlPlane
from control_plane.store import identities, instances
from ecs_protocol.messages import CertificateIssued, Refused, RotateCertificate, RotationRequired
from ecs_protocol.names import thing_name

logger = Logger(child=True)


class _RefusedError(Exception):
    """Asking again soon does not help."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message


def rotate_certificate(cp: ControlPlane, sender: InstanceIdentity, request: RotateCertificate) -> None:
    """Answer with the certificate of this key. If AWS IoT is too busy for one, the machine asks again."""
    instance_id = sender.instance_id
    try:
        key_digest = public_key_digest(request.csr)
        issued = until_won(cp, lambda _attempt: _issue(cp, instance_id, key_digest, request.csr))
    except SigningRequestError as error:
        _refuse(cp, instance_id, request, "InvalidCertificateSigningRequest", str(error))
        return
    except _RefusedError as refused:
        _refuse(cp, instance_id, request, refused.error, refused.message)
        return
    except RegistryBusyError:
        logger.warning("AWS IoT is too busy for a certificate", extra={"instance": instance_id})
        return
    thing = thing_name(cp.prefix, instance_id)
    cp.registry.attach(Certificate(issued.arn, issued.pem), thing, sender.cluster)
    cp.registry.activate(issued.principal)
    cp.agents.send(instance_id, CertificateIssued(request_id=request.request_id, certificate_pem=issued.pem))


def _issue(cp: ControlPlane, instance_id: str, key_digest: str, csr: str) -> NextCertificate:
    """The certificate that is noted for this key, now or before. One for an earlier key is revoked first."""
    identity = identities.load(cp.table, instance_id)
    if identity is None or identity.deregistered_at is not None:
        raise _RefusedError("InactiveInstance", "This container instance was deregistered.")
    now, waiting = cp.clock(), identity.next
    if waiting is not None and waiting.key_digest == key_digest:
        return waiting
    if waiting is not None and now < waiting.made_at + ROTATION_GAP:
        raise _RefusedError("TooManyCertificates", "A certificate for another key was issued within ten minutes.")
    thing = thing_name(cp.prefix, instance_id)
    if waiting is not None:
        cp.registry.retire(waiting.principal, thing)
    try:
        made = cp.registry.certify(csr)
    except ValueError as error:
        raise _RefusedError("InvalidCertificateSigningRequest", f"AWS IoT refused the CSR: {error}") from error
    issued = NextCertificate(key_digest=key_digest, arn=made.arn, pem=made.pem, made_at=now)
    try:
        cp.table.commit([identities.written(identity, identity.model_copy(update={"next": issued}))])
    except ItemChangedError:
        cp.registry.retire(made.principal, thing)
        raise
    logger.info("Issued a certificate for a new key", extra={"instance": instance_id})
    return issued


def note_certificate_in_use(cp: ControlPlane, sender: InstanceIdentity, principal: str) -> None:
    """A request came with this certificate: if it is the new one, nobody needs the old one any more."""
    if sender.next is not None and sender.next.principal == principal:
        until_won(cp, lambda _attempt: _promote(cp, sender.instance_id, principal))


def _promote(cp: ControlPlane, instance_id: str, principal: str) -> None:
    """Revoked before that is noted: who dies in between does both again at the machine's next request."""
    identity = identities.load(cp.table, instance_id)
    if identity is None or identity.next is None or identity.next.principal != principal:
        return
    cp.registry.retire(identity.principal, thing_name(cp.prefix, instance_id))
    cp.table.commit([identities.written(identity, identity.promoted())])
    logger.info("Replaced a certificate", extra={"instance": instance_id})


def require_rotation(cp: ControlPlane, cluster_name: str, name: str) -> dict[str, str]:
    """An operator wants an instance's certificate replaced: its machine is told now, or when it connects.

    Answers {containerInstanceArn}. Raises ClusterNotFoundException, InvalidParameterException, ServerException.
    """
    cluster = require_cluster(cp, cluster_name)
    instance_id = resource_name(name)
    until_answered(cp, partial(_want, cp, cluster.name, instance_id), what="container instance")
    cp.agents.send(instance_id, RotationRequired())
    return {"containerInstanceArn": cp.arns.container_instance(cluster.name, instance_id)}


def _want(cp: ControlPlane, cluster: str, instance_id: str, _attempt: int) -> None:
    instance = instances.load(cp.table, cluster, instance_id) if looks_like_an_id(instance_id) else None
    identity = identities.load(cp.table, instance_id)
    if instance is None or identity is None or instance.status is InstanceStatus.INACTIVE:
        raise InvalidParameterException("Referenced container instance was not found.")
    wanted = identity.model_copy(update={"rotation_wanted_at": cp.clock()})
    cp.table.commit([identities.written(identity, wanted)])


def _refuse(cp: ControlPlane, instance_id: str, request: RotateCertificate, error: str, message: str) -> None:
    audit.refused(
        cp,
        principal=thing_name(cp.prefix, instance_id),
        action="ecs-anywhere:RotateCertificate",
        resource=instance_id,
        source="mqtt",
        reason=f"{error}: {message}",
    )
    cp.agents.send(instance_id, Refused(request_id=request.request_id, error=error, message=message))
