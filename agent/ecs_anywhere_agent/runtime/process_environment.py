"""The environment of a process container as spec.json keeps it: what came from secrets and files only sealed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.sealing import Sealing

_SEALED = "sealed_environment"

Pairs = tuple[tuple[str, str], ...]


def kept(
    sealing: Sealing, ref: ContainerRef, environment: Pairs, secret_names: Iterable[str]
) -> tuple[Pairs, dict[str, str]]:
    """What may be read by whoever reads the file, and the members that hold the rest. Raises OSError."""
    plain = dict(environment)
    secret = {name: plain.pop(name) for name in secret_names}
    sealed = {_SEALED: sealing.seal(json.dumps(secret), "/".join(ref))} if secret else {}
    return tuple(plain.items()), sealed


def whole(sealing: Sealing, ref: ContainerRef, spec: Mapping[str, Any]) -> dict[str, str]:
    """Of spec.json. Raises CannotUnsealError, OSError."""
    sealed = json.loads(sealing.unseal(spec[_SEALED], "/".join(ref))) if _SEALED in spec else {}
    return {**spec.get("environment", {}), **sealed}
