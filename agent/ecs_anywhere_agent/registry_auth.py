"""Names and passwords for registries from ECS_ENGINE_AUTH_TYPE and ECS_ENGINE_AUTH_DATA, as Amazon's agent has them.

dockercfg    {"https://index.docker.io/v1/": {"auth": "<base64 of name:password>", "email": "…"}}
docker       {"https://index.docker.io/v1/": {"username": "…", "password": "…", "email": "…"}}

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/private-auth-container-instances.html
"""

import base64
import binascii
import json
import logging
from collections.abc import Mapping
from typing import Any

from ecs_anywhere_agent.settings import Settings

_log = logging.getLogger(__name__)
_HUB = "docker.io"
_HUBS = frozenset({_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

Credentials = Mapping[str, str]
"""Docker's AuthConfig: username, password, serveraddress. https://docs.docker.com/reference/api/engine/"""


class RegistryAuth:
    """Which credentials belong to which image."""

    def __init__(self, by_registry: Mapping[str, Credentials]) -> None:
        """A key is a registry, maybe with a beginning of the repository's path."""
        self._by_place = {_place(key): value for key, value in by_registry.items()}

    def credentials(self, image: str) -> Credentials | None:
        """Of the longest key that the image's name begins with; None: it is pulled anonymously."""
        name = _full(image)
        fitting = [place for place in self._by_place if name.startswith(f"{place}/")]
        return self._by_place[max(fitting, key=len)] if fitting else None


def registry_auth(settings: Settings) -> RegistryAuth:
    """Data that cannot be read is none, and said to be so; what it holds is not shown."""
    if settings.registry_auth_data is None or settings.registry_auth_type is None:
        return RegistryAuth({})
    try:
        data = json.loads(settings.registry_auth_data.get_secret_value())
        read = _dockercfg if settings.registry_auth_type == "dockercfg" else _docker
        return RegistryAuth({str(key): {**read(entry), "serveraddress": str(key)} for key, entry in data.items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        _log.warning("ECS_ENGINE_AUTH_DATA is not what ECS_ENGINE_AUTH_TYPE %s means", settings.registry_auth_type)
        return RegistryAuth({})


def _docker(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"username": str(entry["username"]), "password": str(entry["password"])}


def _dockercfg(entry: Mapping[str, Any]) -> dict[str, str]:
    try:
        text = base64.b64decode(entry["auth"], validate=True).decode()
    except binascii.Error as error:
        raise ValueError("not base64") from error
    name, colon, password = text.partition(":")
    if not colon:
        raise ValueError("no password")
    return {"username": name, "password": password.rstrip("\0")}


def _place(key: str) -> str:
    """`https://index.docker.io/v1/` is `docker.io`."""
    bare = key.partition("://")[2] or key
    bare = bare.rstrip("/").removesuffix("/v1").removesuffix("/v2").rstrip("/")
    host, slash, path = bare.partition("/")
    return f"{_HUB if host in _HUBS else host}{slash}{path}"


def _full(image: str) -> str:
    """With its registry: what is before the first slash, if that can be a host."""
    host, slash, rest = image.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return f"{_HUB if host in _HUBS else host}/{rest}"
    return f"{_HUB}/{image}" if slash else f"{_HUB}/library/{image}"
