"""What the descriptions of all resources have in common."""

from collections.abc import Mapping
from typing import Any

Described = dict[str, Any]


def present(members: Mapping[str, Any]) -> Described:
    """Without the members that are None, as Amazon ECS leaves them out."""
    return {name: value for name, value in members.items() if value is not None}
