"""What all messages are, and values that both directions use."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_MESSAGE_BYTES = 100_000
"""What a sender fills a message up to. IoT Core refuses more than 128 KiB."""


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_aware)]
"""An aware UTC datetime; ISO 8601 on the wire."""

TaskId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

GpuId = Annotated[str, Field(min_length=1, max_length=64)]
"""As its driver names it: `GPU-8932f937-d72c-4106-c12f-20bd9faed9f6`."""

PinnedGpus = dict[str, tuple[GpuId, ...]]
"""By container: the GPUs that are its own."""

MAX_GPUS = 32
"""Of one machine."""

SessionId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""Of a stream: 128 random bits, used once."""


AT_FIRST_USE = ConfigDict(defer_build=True)
"""Neither side reads all messages: a validator is made when it is first needed."""


class Message(BaseModel):
    """A frozen value that is camelCase in JSON and ignores what it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, **AT_FIRST_USE
    )

    def to_json(self) -> str:
        """The message as it goes over the wire: members that are None are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises pydantic.ValidationError."""
        return cls.model_validate_json(text)


class Attribute(Message):
    """An attribute of a container instance; a capability has no value."""

    name: str
    value: str | None = None


class HostPort(Message):
    """A port of the machine that something else than our tasks listens on."""

    port: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"


class NetworkBinding(Message):
    """Where a container's port was bound on the machine, or a range of them; then the two ports are its first ones."""

    bind_ip: str = Field(alias="bindIP")
    container_port: int
    host_port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    container_port_range: str | None = Field(default=None, pattern=r"^\d+-\d+$")
    host_port_range: str | None = Field(default=None, pattern=r"^\d+-\d+$")

    @property
    def host_ports(self) -> range:
        """All of the machine's."""
        last = int(self.host_port_range.partition("-")[2]) if self.host_port_range else self.host_port
        return range(self.host_port, last + 1)

    def described(self) -> dict[str, Any]:
        """In the shape of the ECS API, which names a range or a port, not both."""
        ports = (
            {"container_port", "host_port"}
            if self.container_port_range
            else {"container_port_range", "host_port_range"}
        )
        return self.model_dump(by_alias=True, exclude=ports, exclude_none=True)
