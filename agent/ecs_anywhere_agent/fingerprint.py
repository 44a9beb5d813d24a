"""Reads what the machine's hardware and system say of themselves. Some can be read by root only: what cannot be is left
out, and so is what many machines have in common."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

MACHINE_ID, BOARD, CPU, NETWORK, ROOT_DISK = "machine-id", "board", "cpu", "network", "root-disk"

_BOARD_FILES = (
    "sys/class/dmi/id/product_uuid",
    "sys/class/dmi/id/board_serial",
    "sys/firmware/devicetree/base/serial-number",
)
_DISK_FILES = ("serial", "device/serial", "device/cid", "wwid", "device/wwid")
_SAYS_NOTHING = frozenset(
    {
        "uninitialized",
        "none",
        "not specified",
        "not applicable",
        "default string",
        "system serial number",
        "to be filled by o.e.m.",
        "03000200-0400-0500-0006-000700080009",
    }
)
"""What makers leave in the place of a number; the last one is on boards of many makers."""


def read_marks(root: Path = Path("/")) -> dict[str, frozenset[str]]:
    """Hashes by kind (sameness.py). `root` is the file system of the machine."""
    found = {
        MACHINE_ID: _texts(root / "etc/machine-id"),
        BOARD: _board(root),
        CPU: _cpu(root),
        NETWORK: _network(root),
        ROOT_DISK: _root_disk(root),
    }
    return {
        kind: frozenset(_hash(kind, value) for value in values if _tells(value))
        for kind, values in found.items()
        if any(_tells(value) for value in values)
    }


def _hash(kind: str, value: str) -> str:
    return hashlib.sha256(f"ecs-anywhere {kind} {value.lower()}".encode()).hexdigest()[:32]


def _tells(value: str) -> bool:
    """Not a placeholder, nor the same digit all over."""
    return value.lower() not in _SAYS_NOTHING and len(set(value.lower()) - set("-:. ")) > 1


def _texts(*paths: Path) -> list[str]:
    """The first that can be read and says something; none if there is none."""
    for path in paths:
        try:
            text = path.read_bytes().rstrip(b"\0").decode(errors="replace").strip()
        except OSError:
            continue
        if _tells(text):
            return [text]
    return []


def _board(root: Path) -> list[str]:
    return _texts(*(root / name for name in _BOARD_FILES))


def _cpu(root: Path) -> list[str]:
    """Some ARM processors have a number: `Serial : 10000000abcdef01`."""
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == "Serial"][:1]


def _network(root: Path) -> list[str]:
    """The addresses that physical interfaces were made with: not those of bridges, nor random ones."""
    try:
        interfaces = sorted((root / "sys/class/net").iterdir())
    except OSError:
        return []
    return [
        address
        for interface in interfaces
        if (interface / "device").exists() and _texts_or(interface / "addr_assign_type", "0") == "0"
        for address in _texts(interface / "address")
    ]


def _texts_or(path: Path, otherwise: str) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return otherwise


def _root_disk(root: Path) -> list[str]:
    """Of the disk that `/` is on, or of each if it is on several; nothing where that is no disk's file system."""
    try:
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    fields = [line.split() for line in mounts]
    devices = [field[2] for field in fields if len(field) > 4 and field[4] == "/"]
    return sorted(_serials((root / "sys/dev/block" / devices[-1]).resolve())) if devices else []


def _serials(device: Path) -> Iterator[str]:
    """Of a disk, or of those that a partition, a volume or an array lies on."""
    try:
        below = sorted((device / "slaves").iterdir())
    except OSError:
        below = []
    if below:
        for each in below:
            yield from _serials(each.resolve())
        return
    whole = device.parent if (device / "partition").exists() else device
    yield from _texts(*(whole / name for name in _DISK_FILES))
