"""Which members of a task definition a test shows to be honoured: docs/task-definition.md names it."""

import pytest


def shows(*members: str) -> pytest.MarkDecorator:
    """Paths as in control_plane/domain/task_definition_members.py; of containers without `containerDefinitions.`

    `task:cpu` is the member of the task, where containers have one of that name.
    """
    return pytest.mark.shows(*members)
