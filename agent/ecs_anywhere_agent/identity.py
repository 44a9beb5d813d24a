"""Who the machine is: a private key that never leaves it, its certificate, and where its control plane is.

<data dir>/identity/key.pem, certificate.pem, identity.json, mqtt-ca.pem    0600, the directories 0700
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from ecs_protocol.messages import Identity


class NoIdentityError(Exception):
    """This data directory has no usable identity; the text says what to do."""


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """The paths of an identity."""

    directory: Path

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / "certificate.pem"

    @property
    def mqtt_ca(self) -> Path:
        return self.directory / "mqtt-ca.pem"

    @property
    def identity(self) -> Path:
        return self.directory / "identity.json"

    @property
    def request(self) -> Path:
        """The CSR of an activation that has not been answered yet."""
        return self.directory / "request.pem"

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def load(self) -> Identity:
        """Raises NoIdentityError."""
        try:
            identity = Identity.from_json(self.identity.read_bytes())
        except (OSError, ValidationError) as error:
            raise NoIdentityError(
                f"No identity in {self.directory.parent}: run `ecs-anywhere-agent register` first"
            ) from error
        if not self.key.exists() or not self.certificate.exists():
            raise NoIdentityError(
                f"The key or the certificate in {self.directory} is missing: "
                "run `ecs-anywhere-agent register` with a new activation"
            )
        return identity

    def save(self, identity: Identity) -> None:
        """identity.json last: it is there only when all is."""
        write_private(self.certificate, identity.certificate_pem)
        if identity.mqtt_ca_pem is None:
            self.mqtt_ca.unlink(missing_ok=True)
        else:
            write_private(self.mqtt_ca, identity.mqtt_ca_pem)
        write_private(self.identity, identity.to_json())
        self.request.unlink(missing_ok=True)


def identity_files(data_dir: Path) -> IdentityFiles:
    return IdentityFiles(data_dir / "identity")


def certificate_end(certificate_pem: str) -> datetime:
    """When the certificate stops being valid."""
    from cryptography import x509  # noqa: PLC0415 - 8 MiB that a running agent does not need

    return x509.load_pem_x509_certificate(certificate_pem.encode()).not_valid_after_utc.astimezone(UTC)


def write_private(path: Path, text: str) -> None:
    """All or nothing, and for nobody else to read."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
