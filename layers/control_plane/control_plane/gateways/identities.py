"""AWS IoT's registry: the X.509 identities of machines. Each call may be repeated."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError


@dataclass(frozen=True)
class Certificate:
    """`arn` ends in the certificate's id, which is what a rule's principal() gives."""

    arn: str
    pem: str

    @property
    def principal(self) -> str:
        return self.arn.rsplit("/", 1)[-1]


class IdentityRegistry:
    """Things, certificates and the policy that every one of them gets. `client` is a boto3 iot client."""

    def __init__(self, client: Any, policy_name: str, mqtt_endpoint: str) -> None:
        self._client = client
        self._policy_name = policy_name
        self._mqtt_endpoint = mqtt_endpoint

    def certify(self, csr_pem: str) -> Certificate:
        """Sign a CSR. The certificate can do nothing until it is attached.

        Raises ValueError if AWS IoT refuses the CSR.
        """
        try:
            answer = self._client.create_certificate_from_csr(certificateSigningRequest=csr_pem, setAsActive=True)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"InvalidRequestException", "CertificateValidationException"}:
                raise ValueError(error.response["Error"]["Message"]) from error
            raise
        return Certificate(answer["certificateArn"], answer["certificatePem"])

    def attach(self, certificate: Certificate, thing: str, cluster: str) -> None:
        """Give a certificate its thing and the policy. Every step may be done again."""
        self._client.create_thing(thingName=thing, attributePayload={"attributes": {"cluster": cluster}})
        self._client.attach_policy(policyName=self._policy_name, target=certificate.arn)
        self._client.attach_thing_principal(thingName=thing, principal=certificate.arn)

    def cluster_of(self, thing: str, principal: str) -> str | None:
        """The cluster that a thing belongs to, if the certificate `principal` is attached to it; else None."""
        try:
            principals = self._client.list_thing_principals(thingName=thing)["principals"]
            if not any(arn.endswith(f"/{principal}") for arn in principals):
                return None
            cluster: str | None = self._client.describe_thing(thingName=thing)["attributes"].get("cluster")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return cluster

    def retire(self, principal: str) -> None:
        """Make a certificate unusable; IoT Core ends its session within minutes."""
        try:
            self._client.update_certificate(certificateId=principal, newStatus="INACTIVE")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise

    def mqtt_endpoint(self) -> str:
        """`host:port` for agents."""
        if not self._mqtt_endpoint:
            address = self._client.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
            self._mqtt_endpoint = f"{address}:8883"
        return self._mqtt_endpoint
