"""Requests with defaults: a case changes what it is about."""

from typing import Any

from control_plane.domain.task_definition import normalise


def container(**members: Any) -> dict[str, Any]:
    return {"name": "main", "image": "busybox", "memory": 64, **members}


def request(*containers: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"family": "web", "containerDefinitions": list(containers or (container(),)), **members}


def definition(*containers: dict[str, Any], **members: Any) -> dict[str, Any]:
    return normalise(request(*containers, **members))


def port(container_port: int, host_port: int | None = None, **members: Any) -> dict[str, Any]:
    return {"containerPort": container_port, **({} if host_port is None else {"hostPort": host_port}), **members}
