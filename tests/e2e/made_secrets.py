"""Every secret that a run makes, and where a log shows one: it must be nowhere.

What is a secret is told by the names that our commands, messages and files give it.
"""

import json
import re
import shutil
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

NAMES = frozenset({"secretaccesskey", "sessiontoken", "activationcode", "signingkey", "token", "awssecretaccesskey"})
"""In lower case, without underscores."""
SHORTEST = 12
"""What is shorter would be found everywhere."""
LOCAL = frozenset({"test", "local"})
"""The emulator's own account has no secret."""

made: dict[str, str] = {}
"""Secret: what it is."""


def note(what: str, secret: str) -> None:
    if len(secret) >= SHORTEST and secret not in LOCAL:
        made[secret] = what


def note_in(text: str) -> None:
    """What a command has printed or a message holds, if it is JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return
    for name, secret in _named(value):
        note(name, secret)


def note_key(pem: Path) -> None:
    """A private key: each of its lines, but the first, which begins alike in all."""
    for line in pem.read_text().splitlines()[2:-1]:
        note(f"{pem.parent.parent.name}'s private key", line)


def shown(logs: Iterable[Path]) -> list[str]:
    """`file:line: what`, never the secret itself."""
    if not made:
        return []
    pattern = re.compile("|".join(re.escape(secret) for secret in made))
    return [
        f"{log.name}:{number}: {made[found[0]]}"
        for log in logs
        for number, line in enumerate(log.read_text(errors="replace").splitlines(), start=1)
        if (found := pattern.search(line))
    ]


def keep(log: Path, folder: Path) -> None:
    """A log that is about to be begun anew."""
    if log.exists():
        folder.mkdir(exist_ok=True)
        shutil.copy(log, folder / f"{log.stem}-{len(list(folder.iterdir()))}.log")


@contextmanager
def credentials_overheard(mqtt_port: int) -> Iterator[None]:
    """The local broker lets anybody hear what is sent to machines: so the search knows what credentials tasks got."""

    def subscribe(client: mqtt.Client, *_: Any) -> None:
        client.subscribe("+/+/commands")

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="overhears")
    client.tls_set(cert_reqs=ssl.CERT_NONE)
    client.tls_insecure_set(True)
    client.on_connect = subscribe
    client.on_message = lambda _client, _userdata, message: note_in(message.payload.decode())
    client.connect("127.0.0.1", mqtt_port)
    client.loop_start()
    yield
    client.disconnect()
    client.loop_stop()


def _named(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, str) and name.replace("_", "").lower() in NAMES:
                yield name, member
            else:
                yield from _named(member)
    elif isinstance(value, list):
        for member in value:
            yield from _named(member)
