"""Who may import whom: functions -> flows -> domain, store, gateways; the agent knows nothing of the control plane."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/control_plane/control_plane"
AREAS = {
    "functions": ROOT / "functions",
    "control_plane.flows": LAYER / "flows",
    "control_plane.handling": LAYER / "handling.py",
    "control_plane.runtime": LAYER / "runtime.py",
    "control_plane.store": LAYER / "store",
    "control_plane.gateways": LAYER / "gateways",
    "control_plane.domain": LAYER / "domain",
    "ecs_protocol": ROOT / "layers/ecs_protocol/ecs_protocol",
    "ecs_anywhere_agent": ROOT / "agent/ecs_anywhere_agent",
    "ecs_anywhere": ROOT / "cli/ecs_anywhere",
}

MAY_IMPORT = {
    "functions": {
        "control_plane.flows",
        "control_plane.handling",
        "control_plane.runtime",
        "control_plane.domain.authorization",
        "control_plane.domain.errors",
        "control_plane.domain.inbox",
        "control_plane.domain.races",
        "control_plane.domain.request_checks",
        "control_plane.gateways.ecs_model",
        "control_plane.gateways.inbox",
        "control_plane.gateways.sigv4_forms",
        "ecs_protocol",
    },
    "control_plane.flows": {
        "control_plane.flows",
        "control_plane.runtime",
        "control_plane.domain",
        "control_plane.store",
        "control_plane.gateways",
        "ecs_protocol",
    },
    "control_plane.handling": set(),
    "control_plane.runtime": {"control_plane.domain", "control_plane.store", "control_plane.gateways"},
    "control_plane.store": {"control_plane.store", "control_plane.domain", "ecs_protocol"},
    "control_plane.gateways": {
        "control_plane.gateways",
        "control_plane.domain",
        "ecs_protocol",
        "control_plane.store.items",  # a stream's record holds an item, and DynamoDB's types are known in one place
    },
    "control_plane.domain": {"control_plane.domain", "ecs_protocol"},
    "ecs_protocol": {"ecs_protocol"},
    "ecs_anywhere_agent": {"ecs_anywhere_agent", "ecs_protocol"},
    "ecs_anywhere": {"ecs_anywhere", "ecs_anywhere_agent", "ecs_protocol"},
}
"""Of what is ours. A name stands for itself and all that is within it."""

PURE = {"control_plane.domain", "ecs_protocol"}
"""Areas that of all others' packages import pydantic only."""

NOT_PASSED_IN = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.monotonic",
    "time.perf_counter",
    "time.time_ns",
    "os.environ",
    "os.getenv",
    "os.urandom",
    "uuid",
    "random",
    "secrets",
}
"""Sources of time, identifiers, randomness and settings."""


def sources(area: str) -> list[Path]:
    place = AREAS[area]
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module or member that is imported, wherever in a file, by its full dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def within(name: str, areas: set[str]) -> bool:
    return any(name == area or name.startswith(f"{area}.") for area in areas)


def is_ours(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in {
        "functions",
        "control_plane",
        "ecs_protocol",
        "ecs_anywhere_agent",
        "ecs_anywhere",
    }


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def reached_for(file: Path) -> set[str]:
    """What a file uses of NOT_PASSED_IN."""
    tree = parsed(file)
    names = set(imports(tree)) | {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in names if any(within(name, {source, f"datetime.{source}"}) for source in NOT_PASSED_IN)}


def test_every_file_is_of_an_area() -> None:
    known = {file for area in AREAS for file in sources(area)}
    packages = [
        LAYER,
        *(AREAS[area] for area in ("functions", "ecs_protocol", "ecs_anywhere_agent", "ecs_anywhere")),
    ]
    files = {file for package in packages for file in package.rglob("*.py")} - {LAYER / "__init__.py"}
    assert files == known
    assert all(sources(area) for area in AREAS)


@pytest.mark.parametrize("area", AREAS)
def test_imports_go_one_way(area: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources(area)
        for name in imports(parsed(file))
        if is_ours(name) and not within(name, MAY_IMPORT[area])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("area", sorted(PURE))
def test_pure_code_depends_on_pydantic_only(area: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources(area)
        for name in imports(parsed(file))
        if not is_ours(name) and name.split(".")[0] not in sys.stdlib_module_names | {"pydantic"}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("area", sorted(PURE))
def test_time_identifiers_and_randomness_are_passed_in(area: str) -> None:
    wrong = {str(file.relative_to(ROOT)): found for file in sources(area) if (found := reached_for(file))}
    assert not wrong


def test_only_the_composition_root_reads_the_environment() -> None:
    areas = [area for area in AREAS if area == "functions" or area.startswith(("control_plane", "ecs_protocol"))]
    readers = {
        file
        for area in areas
        for file in sources(area)
        if any(within(name, {"os.environ", "os.getenv"}) for name in reached_for(file))
    }
    assert readers == {LAYER / "runtime.py"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from datetime import datetime\nx = datetime.now()", {"datetime.now"}),
        ("import datetime\nx = datetime.datetime.now()", {"datetime.datetime.now"}),
        ("import time\nx = time.time()", {"time.time"}),
        ("from time import time", {"time.time"}),
        ("import uuid", {"uuid"}),
        ("from random import random", {"random.random"}),
        ("import os\nx = os.environ['X']", {"os.environ"}),
        ("from datetime import UTC, datetime, timedelta\nx = datetime.max", set()),
    ],
)
def test_the_check_finds_what_it_looks_for(tmp_path: Path, source: str, found: set[str]) -> None:
    file = tmp_path / "source.py"
    file.write_text(source)
    assert reached_for(file) == found
