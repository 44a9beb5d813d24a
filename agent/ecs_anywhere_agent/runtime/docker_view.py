"""What Docker says of a container to the local endpoint."""

from collections.abc import Iterator, Mapping
from typing import Any

from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_engine import Engine, EngineError, EngineUnreachableError
from ecs_anywhere_agent.runtime.docker_labels import without_own
from ecs_anywhere_agent.runtime.view import CannotLookError, Seen

_SILENT = "unable to get it from Docker"


class DockerView:
    """See View."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def look(self, ref: ContainerRef, runtime_id: str | None) -> Seen | None:
        del ref
        inspected = self._inspect(runtime_id)
        return None if inspected is None else seen_of(inspected)

    def stats(self, ref: ContainerRef, runtime_id: str | None) -> Mapping[str, Any] | None:
        """Docker takes two samples, a second apart, so that a share of the processor can be told from them."""
        del ref
        if runtime_id is None:
            return None
        try:
            return self._engine.stats(runtime_id)
        except (EngineUnreachableError, EngineError) as error:
            raise CannotLookError(_SILENT) from error

    def close(self) -> None:
        self._engine.close()

    def _inspect(self, runtime_id: str | None) -> Mapping[str, Any] | None:
        if runtime_id is None:
            return None
        try:
            return self._engine.inspect(runtime_id)
        except (EngineUnreachableError, EngineError) as error:
            raise CannotLookError(_SILENT) from error


def seen_of(inspected: Mapping[str, Any]) -> Seen:
    """Of Docker's inspection."""
    config, state, host = inspected["Config"], inspected["State"], inspected["HostConfig"]
    networks = tuple(_networks(inspected))
    own_network = host.get("NetworkMode") != "host"
    return Seen(
        docker_name=str(inspected["Name"]).removeprefix("/"),
        image_id=str(inspected.get("Image") or ""),
        labels=without_own(config.get("Labels") or {}),
        created_at=_time(inspected.get("Created")),
        started_at=_time(state.get("StartedAt")),
        finished_at=_time(state.get("FinishedAt")),
        log_driver=(host.get("LogConfig") or {}).get("Type"),
        networks=networks,
        volumes=tuple(_volume(each) for each in inspected.get("Mounts") or ()),
        health=_health(state),
        addresses=frozenset(address for each in networks for address in each.get("IPv4Addresses", ()))
        if own_network
        else None,
    )


def _networks(inspected: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    settings = inspected.get("NetworkSettings") or {}
    for mode, network in (settings.get("Networks") or {}).items():
        addresses = {"IPv4Addresses": network.get("IPAddress"), "IPv6Addresses": network.get("GlobalIPv6Address")}
        yield {"NetworkMode": mode, **{name: [address] for name, address in addresses.items() if address}}


def _volume(mount: Mapping[str, Any]) -> dict[str, str]:
    said = {"DockerName": mount.get("Name"), "Source": mount.get("Source"), "Destination": mount.get("Destination")}
    return {name: value for name, value in said.items() if value}


def _health(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the newest check said; whether the container is healthy the agent's state knows."""
    log = (state.get("Health") or {}).get("Log") or ()
    if not log:
        return None
    said = {"exitCode": log[-1].get("ExitCode"), "output": log[-1].get("Output")}
    return {name: value for name, value in said.items() if value}


def _time(text: str | None) -> str | None:
    """Docker's zero time is no time."""
    return None if not text or text.startswith("0001-") else text
