"""Which members of a task definition a test shows to be honoured: docs/task-definition.md names it."""

import pytest


def shows(*members: str) -> pytest.MarkDecorator:
    """Paths as in control_plane/domain/task_definition_members.py; of containers without `containerDefinitions.`"""
    return pytest.mark.shows(*members)
