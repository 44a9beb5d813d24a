"""TagResource, UntagResource, ListTagsForResource.

Each change is decided on the tags that were read, and committed under the condition that they are those still: of two
at once the later one decides again, and both take effect.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TagResource.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from control_plane.domain.errors import InvalidParameterException, ResourceNotFoundException
from control_plane.domain.tags import checked, checked_keys, in_the_api, require_room, require_sense
from control_plane.flows.again import until_answered
from control_plane.flows.tagged_resources import NoSuchResourceError, find
from control_plane.runtime import ControlPlane

Tags = dict[str, str]


def tag_resource(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {}. Tags of the resource that the request does not name stay."""
    tags = checked(request["tags"])
    _change(cp, request["resourceArn"], lambda before: {**before, **tags})
    return {}


def untag_resource(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {}. A key that the resource does not have is no error."""
    keys = checked_keys(request["tagKeys"])
    _change(cp, request["resourceArn"], lambda before: {key: before[key] for key in before if key not in keys})
    return {}


def list_tags_for_resource(cp: ControlPlane, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers {tags}."""
    try:
        return {"tags": in_the_api(find(cp, request["resourceArn"]).tags)}
    except NoSuchResourceError as missing:
        raise InvalidParameterException(missing.message) from missing


def _change(cp: ControlPlane, arn: str, changed: Callable[[Tags], Tags]) -> None:
    def decide_and_commit(_attempt: int) -> None:
        resource = find(cp, arn)
        after = changed(resource.tags)
        if after == resource.tags:
            return
        require_room(after)
        require_sense(after)
        cp.table.commit([resource.write(after)])

    try:
        until_answered(cp, decide_and_commit, what="resource")
    except NoSuchResourceError as missing:
        raise ResourceNotFoundException(missing.message) from missing
