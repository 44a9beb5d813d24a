"""docs/task-definition.md is what botocore's model, the tables and the tests say."""

import importlib.util
from pathlib import Path
from typing import Any

from control_plane.domain.task_definition_members import CAPABLE, HONOURED, MEMBERS, WHY_NOT

DOCS = Path(__file__).parents[2] / "docs"


def generator() -> Any:
    name = "generate_task_definition_table"
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current() -> None:
    written = (DOCS / "task-definition.md").read_text(encoding="utf-8")
    assert written == generator().page(), "run: python docs/generate_task_definition_table.py"


def test_the_page_has_every_member_of_amazons_model() -> None:
    """A member that a newer botocore brings fails here until somebody has decided what becomes of it."""
    assert {path for path, _ in generator().members()} == MEMBERS


def test_each_honoured_member_is_shown_by_a_test_and_no_test_shows_what_is_none() -> None:
    """A platform is a matter of placement alone."""
    placed = {"runtimePlatform.cpuArchitecture", "runtimePlatform.operatingSystemFamily"}
    assert set(generator().tests_of_members()) == HONOURED - placed


def test_what_is_said_to_be_honoured_by_nobody_is_so_and_has_a_reason() -> None:
    """Each reason is of members that a capability refuses, and of no others."""
    for under in WHY_NOT:
        concerned = {member for member in MEMBERS if member == under or member.startswith(f"{under}.")}
        assert concerned, under
        assert concerned <= CAPABLE, under
