"""docs/agent-settings.md is what the code says, and every documented variable of Amazon's agent has an answer."""

import importlib.util
from pathlib import Path
from typing import Any

from ecs_anywhere_agent.settings.reading import FIELDS
from ecs_anywhere_agent.settings.without_meaning import REFUSED, SAFE, WITHOUT_MEANING

DOCS = Path(__file__).parents[2] / "docs"
AMAZON = Path(__file__).parent / "amazon_agent_variables.txt"
"""The first column of the table in https://github.com/aws/amazon-ecs-agent#environment-variables."""


def generator() -> Any:
    name = "generate_agent_settings"
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current() -> None:
    written = (DOCS / "agent-settings.md").read_text(encoding="utf-8")
    assert written == generator().page(), "run: python docs/generate_agent_settings.py"


def test_each_variable_of_amazons_agent_has_one_answer() -> None:
    documented = set(AMAZON.read_text(encoding="utf-8").split())
    answers = [*FIELDS, *WITHOUT_MEANING, *REFUSED]
    assert documented - set(answers) == set()
    assert len(answers) == len(set(answers))


def test_only_what_is_refused_can_be_safe() -> None:
    assert set(SAFE) <= set(REFUSED)
