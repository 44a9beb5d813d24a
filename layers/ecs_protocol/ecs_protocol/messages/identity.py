"""The registration of a machine, over HTTPS: who it is from then on."""

from pydantic import Field

from ecs_protocol.messages.base import Attribute, Message
from ecs_protocol.messages.requests import AgentRequest, GetCredentials


class ActivateRequest(Message):
    """POST to the registration endpoint. The same CSR sent again gets the same identity."""

    v: int = 1
    activation_id: str = Field(max_length=64)
    activation_code: str = Field(max_length=128)
    csr: str = Field(max_length=4096)
    """PEM. The private key never leaves the machine."""


class Topics(Message):
    """Where an instance publishes and what it subscribes to."""

    requests: str
    task_state_changes: str
    commands: str
    credentials: str | None = None
    """None: the machine has its identity from a release that had no such topic."""

    def of(self, request: AgentRequest) -> str:
        """Where a request is published."""
        return (isinstance(request, GetCredentials) and self.credentials) or self.requests


class Identity(Message):
    """The answer to ActivateRequest: who the machine is from now on."""

    v: int = 1
    container_instance_id: str
    container_instance_arn: str
    cluster: str
    client_id: str
    """MQTT client id, which is the thing's name."""
    certificate_pem: str
    mqtt_endpoint: str
    """`host:port`."""
    mqtt_ca_pem: str | None = None
    """What to verify the MQTT endpoint with; None: the machine's own trust store (it holds Amazon's roots)."""
    topics: Topics
    attributes: tuple[Attribute, ...] = ()
    """Custom attributes that the activation gives to its instances."""


class ActivationRefused(Message):
    """The answer with HTTP status 400, 403, 429 or 503; 429 says in Retry-After when to ask again."""

    error: str
    message: str
