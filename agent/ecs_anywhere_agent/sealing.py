"""Sealing what the agent stores of secret values: useless without the private key of this machine's identity.

    the values  -- AES-256-GCM by -->  a random data key  -- AES-256-GCM by -->  HKDF(the machine's private key)

<data dir>/identity/sealing.json holds the sealed data key. A certificate's replacement brings a new private key: the
data key is sealed with both before the one takes the other's place, and with the new one alone after that, so that
what was sealed opens whenever the agent dies. Who has no identity any more, or another one, opens nothing.

The library for it takes 9 MiB, which an agent has only from its first value on.

https://csrc.nist.gov/pubs/sp/800/38/d/final, https://www.rfc-editor.org/rfc/rfc5869
"""

import base64
import json
import os
import threading
from contextlib import suppress
from pathlib import Path

from ecs_anywhere_agent.identity import IdentityFiles, write_private

_NONCE_BYTES, _KEY_BYTES = 12, 32
_PURPOSE = b"ecs-anywhere sealing 1"
_ALONE = threading.Lock()
"""Between two looks at the private key nobody replaces it."""


class CannotUnsealError(Exception):
    """What was sealed does not open; the text says why, and shows nothing of it."""


class Sealing:
    """For threads."""

    def __init__(self, files: IdentityFiles) -> None:
        self._files = files

    def seal(self, text: str, belongs_to: str) -> str:
        """Opens only for who names the same `belongs_to`. Raises OSError: there is no identity, or no room."""
        with _ALONE:
            key = _data_key(self._files)
            if key is None:
                key = os.urandom(_KEY_BYTES)
                _keep(self._files, key, self._files.key)
        return _seal(key, text.encode(), belongs_to.encode())

    def unseal(self, sealed: str, belongs_to: str) -> str:
        """Raises CannotUnsealError, OSError: there is no identity."""
        with _ALONE:
            key = _data_key(self._files)
        opened = None if key is None else _open(key, sealed, belongs_to.encode())
        if opened is None:
            raise CannotUnsealError("its secret values are sealed for another identity than this machine has now")
        return opened.decode()


def replace_identity(files: IdentityFiles) -> None:
    """`files.replace()`, after which opens what opened before. Raises OSError."""
    with _ALONE:
        key = _data_key(files) if _path(files).exists() else None
        if key is not None:
            _keep(files, key, files.key, files.next.key)
        files.replace()
        if key is not None:
            with suppress(OSError):  # till the next replacement a copy of the old private key would open it, too
                _keep(files, key, files.key)


def _path(files: IdentityFiles) -> Path:
    return files.directory / "sealing.json"


def _data_key(files: IdentityFiles) -> bytes | None:
    """None: there is none, or none that this identity opens."""
    try:
        kept = json.loads(_path(files).read_bytes())["dataKeys"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    machine_key = _machine_key(files.key)
    opened = (_open(machine_key, each, _PURPOSE) for each in kept)
    return next((key for key in opened if key is not None), None)


def _keep(files: IdentityFiles, key: bytes, *private_keys: Path) -> None:
    sealed = [_seal(_machine_key(path), key, _PURPOSE) for path in private_keys]
    write_private(_path(files), json.dumps({"v": 1, "dataKeys": sealed}))


def _machine_key(path: Path) -> bytes:
    """From a private key. It is random enough by itself, so that no salt is needed (RFC 5869, 3.1)."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - see the module
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    body = path.read_text().partition("PRIVATE KEY-----")[2].partition("-----END")[0]
    private = base64.b64decode("".join(body.split()))
    if not private:
        raise OSError(f"{path} holds no private key")
    return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=_PURPOSE).derive(private)


def _seal(key: bytes, content: bytes, belongs_to: bytes) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, belongs_to)).decode()


def _open(key: bytes, sealed: str, belongs_to: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    try:
        content = base64.b64decode(sealed, validate=True)
        return AESGCM(key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], belongs_to)
    except (InvalidTag, ValueError):
        return None
