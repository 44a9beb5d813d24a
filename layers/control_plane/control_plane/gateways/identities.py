"""AWS IoT's registry: the X.509 identities of machines. Each call may be repeated.

A certificate is made INACTIVE, becomes ACTIVE once it is recorded and attached, and REVOKED for good; only this
deployment sets those.
"""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError


class RegistryBusyError(Exception):
    """AWS IoT takes no more calls of this kind now: 15 a second in an account.

    https://docs.aws.amazon.com/general/latest/gr/iot-core.html
    """


@dataclass(frozen=True)
class Certificate:
    """`arn` ends in the certificate's id, which is what a rule's principal() gives."""

    arn: str
    pem: str

    @property
    def principal(self) -> str:
        return self.arn.rsplit("/", 1)[-1]


class IdentityRegistry:
    """Things, certificates and the policy that every one of them gets. `client` is a boto3 iot client.

    Each method may raise RegistryBusyError.
    """

    def __init__(self, client: Any, policy_name: str, mqtt_endpoint: str) -> None:
        self._client = client
        self._policy_name = policy_name
        self._mqtt_endpoint = mqtt_endpoint

    def certify(self, csr_pem: str) -> Certificate:
        """Sign a CSR. The certificate can do nothing until it is attached and activated.

        Raises ValueError if AWS IoT refuses the CSR.
        """
        try:
            answer = self._call("create_certificate_from_csr", certificateSigningRequest=csr_pem, setAsActive=False)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"InvalidRequestException", "CertificateValidationException"}:
                raise ValueError(error.response["Error"]["Message"]) from error
            raise
        return Certificate(answer["certificateArn"], answer["certificatePem"])

    def attach(self, certificate: Certificate, thing: str, cluster: str) -> None:
        """Give a certificate its thing and the policy. Every step may be done again."""
        self._call("create_thing", thingName=thing, attributePayload={"attributes": {"cluster": cluster}})
        self._call("attach_policy", policyName=self._policy_name, target=certificate.arn)
        self._call("attach_thing_principal", thingName=thing, principal=certificate.arn)

    def activate(self, principal: str) -> None:
        """From now on it may connect."""
        self._call("update_certificate", certificateId=principal, newStatus="ACTIVE")

    def cluster_of(self, thing: str, principal: str) -> str | None:
        """The cluster that a thing belongs to, if the certificate `principal` is attached to it; else None."""
        try:
            principals = self._call("list_thing_principals", thingName=thing)["principals"]
            if not any(arn.endswith(f"/{principal}") for arn in principals):
                return None
            cluster: str | None = self._call("describe_thing", thingName=thing)["attributes"].get("cluster")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return cluster

    def retire(self, principal: str, thing: str) -> None:
        """Revoke a certificate, and detach it, so that it proves nothing any more; IoT Core ends its session within
        minutes."""
        try:
            self._call("update_certificate", certificateId=principal, newStatus="REVOKED")
            attached = self._call("list_thing_principals", thingName=thing)["principals"]
            for arn in attached:
                if arn.endswith(f"/{principal}"):
                    self._call("detach_thing_principal", thingName=thing, principal=arn)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise

    def mqtt_endpoint(self) -> str:
        """`host:port` for agents."""
        if not self._mqtt_endpoint:
            address = self._call("describe_endpoint", endpointType="iot:Data-ATS")["endpointAddress"]
            self._mqtt_endpoint = f"{address}:8883"
        return self._mqtt_endpoint

    def _call(self, operation: str, **members: Any) -> Any:
        try:
            return getattr(self._client, operation)(**members)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ThrottlingException":
                raise RegistryBusyError(operation) from error
            raise
