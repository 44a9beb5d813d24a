"""Task definitions: what is accepted, and how it is completed.

    a request ── read ──► its parts, each checked and completed ──► all together ──► on what it can run, what it needs
                members   containers, ports, volumes, network, …                     compatibilities, requiresAttributes

The parts are in the files next to this one; what a task changes of a definition is in task_overrides.py.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException, InvalidParameterException
from control_plane.domain.placement.query import parse_query
from control_plane.domain.tags import MAX_TAGS
from control_plane.domain.task_definition_compatibilities import compatibilities
from control_plane.domain.task_definition_containers import normalise_containers
from control_plane.domain.task_definition_dependencies import check_dependencies
from control_plane.domain.task_definition_linux import check_accelerators, check_system_controls
from control_plane.domain.task_definition_logging import check_log_router
from control_plane.domain.task_definition_members import read
from control_plane.domain.task_definition_network import (
    check_links,
    check_proxy,
    external_network_mode,
    on_external,
)
from control_plane.domain.task_definition_sizes import check_sizes, cpu_units, mebibytes, task_sizes
from control_plane.domain.task_definition_texts import refuse_nul
from control_plane.domain.task_definition_volumes import check_mounts, normalise_volumes
from ecs_protocol.capabilities import required_attributes

Definition = dict[str, Any]

MAX_BYTES = 64 * 1024
MAX_CONSTRAINTS = 10
MAX_EXPRESSION = 2000
"""Characters."""


def normalise(request: Mapping[str, Any]) -> Definition:
    """A RegisterTaskDefinition request, checked and completed as Amazon ECS answers it.

    Without what only registering adds: ARN, revision, status, time. Raises ClientException, InvalidParameterException.
    """
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", request["family"]):
        raise ClientException(
            "Family should match pattern [a-zA-Z0-9_-]{1,255}: letters (uppercase and lowercase), numbers, "
            "underscores, and hyphens."
        )
    _check_tags(request.get("tags", ()))
    given = read(request)
    given.pop("tags", None)
    refuse_nul({name: value for name, value in given.items() if name != "containerDefinitions"}, "Task definition")
    mode = given.get("networkMode", "bridge")
    definition: Definition = {
        **given,
        "containerDefinitions": normalise_containers(
            given.get("containerDefinitions", ()), mode, given.get("executionRoleArn")
        ),
        "volumes": normalise_volumes(given.get("volumes", ())),
        "placementConstraints": list(given.get("placementConstraints", ())),
        **({"cpu": str(cpu_units(given["cpu"]))} if "cpu" in given else {}),
        **({"memory": str(mebibytes(given["memory"]))} if "memory" in given else {}),
        **external_network_mode(mode, request.get("tags", ())),
    }
    _check_together(definition, mode)
    definition["compatibilities"] = compatibilities(definition)
    definition["requiresAttributes"] = [{"name": name} for name in required_attributes(on_external(definition))]
    length = len(_json(definition).encode())
    if length > MAX_BYTES:
        raise ClientException(f"Actual length: '{length}'. Max allowed length is '{MAX_BYTES}' bytes.")
    return definition


def _check_together(definition: Mapping[str, Any], network_mode: str) -> None:
    """What concerns more than one part. Raises ClientException, InvalidParameterException."""
    containers = definition["containerDefinitions"]
    check_sizes(containers, *task_sizes(definition))
    check_links(containers)
    check_dependencies(containers)
    check_mounts(containers, definition["volumes"])
    check_log_router(containers)
    check_system_controls(containers, network_mode, definition.get("ipcMode"))
    check_accelerators(definition)
    check_proxy(definition)
    constraints = definition["placementConstraints"]
    if len(constraints) > MAX_CONSTRAINTS:
        raise ClientException(f"A task definition has at most {MAX_CONSTRAINTS} placement constraints.")
    for constraint in constraints:
        if constraint.get("type") != "memberOf" or not 1 <= len(constraint.get("expression", "")) <= MAX_EXPRESSION:
            raise ClientException(
                f"A placement constraint has type memberOf and an expression of 1 to {MAX_EXPRESSION} characters."
            )
        parse_query(constraint["expression"])


def _check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    if len(tags) > MAX_TAGS:
        raise InvalidParameterException(f"The maximum number of tags that can be applied to a resource is {MAX_TAGS}.")
    keys = [tag.get("key", "") for tag in tags]
    if not all(keys):
        raise InvalidParameterException("A tag has no key.")
    if len(set(keys)) < len(keys):
        raise InvalidParameterException("Tag keys must be unique.")
    for tag in tags:
        if any(text.lower().startswith("aws:") for text in tag.values()):
            raise InvalidParameterException("Tag keys and values must not start with aws:, which is reserved.")
        for text in tag.values():
            if not all(unicodedata.category(each)[0] in "LNZ" or each in "_.:/=+-@" for each in text):
                raise InvalidParameterException(
                    f"Tag '{tag['key']}' has a character that is not allowed: use letters, numbers, spaces and _.:/=+-@"
                )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
