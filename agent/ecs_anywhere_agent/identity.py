"""Who the machine is: a private key that never leaves it, its certificate, and where its control plane is.

<data dir>/identity/key.pem, certificate.pem, identity.json, mqtt-ca.pem    0600, the directories 0700
<data dir>/identity/next/key.pem, request.pem, certificate.pem              while the certificate is replaced
"""

import base64
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from ecs_protocol.der import GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, VERSION, element
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
        """The CSR that has not been answered yet."""
        return self.directory / "request.pem"

    @property
    def next(self) -> "IdentityFiles":
        """Key, request and certificate that are to take the place of these (rotating.py)."""
        return IdentityFiles(self.directory / "next")

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def load(self) -> Identity:
        """Raises NoIdentityError."""
        self._go_on_replacing()
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
        return identity.model_copy(update={"certificate_pem": self.certificate.read_text()})

    def save(self, identity: Identity) -> None:
        """identity.json last: it is there only when all is."""
        self.next.forget()
        write_private(self.certificate, identity.certificate_pem)
        if identity.mqtt_ca_pem is None:
            self.mqtt_ca.unlink(missing_ok=True)
        else:
            write_private(self.mqtt_ca, identity.mqtt_ca_pem)
        write_private(self.identity, identity.to_json())
        self.request.unlink(missing_ok=True)

    def forget(self) -> None:
        """identity.json first, which says that there is one."""
        for path in (self.identity, self.key, self.certificate, self.request):
            path.unlink(missing_ok=True)

    def replace(self) -> None:
        """The next key and certificate are these from now on. Who dies in between does the rest when this is loaded."""
        self.next.key.replace(self.key)
        self._go_on_replacing()

    def _go_on_replacing(self) -> None:
        """Once the key is replaced, and not before, is there a next certificate without its key."""
        if not self.next.key.exists():
            with suppress(FileNotFoundError):
                self.next.certificate.replace(self.certificate)
            self.next.request.unlink(missing_ok=True)


def identity_files(data_dir: Path) -> IdentityFiles:
    return IdentityFiles(data_dir / "identity")


def certificate_end(certificate_pem: str) -> datetime:
    """When the certificate stops being valid."""
    return validity(certificate_pem)[1]


def validity(certificate_pem: str) -> tuple[datetime, datetime]:
    """From when until when a certificate is valid. Raises ValueError.

    Read by hand: the library for it takes 8 MiB, which a running agent would keep.
    https://www.rfc-editor.org/rfc/rfc5280#section-4.1
    """
    body = certificate_pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END CERTIFICATE-----")[0]
    certificate, _ = element(base64.b64decode("".join(body.split()), validate=True), SEQUENCE)
    rest, _ = element(certificate, SEQUENCE)
    for tag in (VERSION, INTEGER, SEQUENCE, SEQUENCE):  # serial number, algorithm, issuer
        _, rest = element(rest, tag)
    times, _ = element(rest, SEQUENCE)
    begin, rest = element(times, UTC_TIME, GENERALIZED_TIME)
    end, _ = element(rest, UTC_TIME, GENERALIZED_TIME)
    return _time(begin), _time(end)


def _time(text: bytes) -> datetime:
    """`YYMMDDHHMMSSZ` is of 1950 to 2049."""
    digits = text.decode()
    if len(digits) == len("YYMMDDHHMMSSZ"):
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


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
