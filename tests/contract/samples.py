"""The sample events of events/: one folder a function, one file a case."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(folder.parent.name for folder in (ROOT / "functions").glob("*/app.py"))

INSTANCE = "8b4c1a2f6d3e4057a1b2c3d4e5f60718"
TASK = "5f0d7c3a9b8e41d2a6c4f1e08b4c1a2f"
PRINCIPAL = "2f4b6c8d0e1a3b5c7d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"
"""The one machine of all samples, its one task, and the id of its certificate."""


def cases(function: str) -> list[str]:
    return sorted(file.stem for file in (ROOT / "events" / function).glob("*.json"))


def sample(function: str, case: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / function / f"{case}.json").read_text(encoding="utf-8"))
    return event


def queued(function: str) -> list[str]:
    """The cases that SQS brings."""
    return [case for case in cases(function) if "Records" in sample(function, case)]


def bodies(function: str, case: str) -> list[str]:
    """Of the messages of an SQS event."""
    return [record["body"] for record in sample(function, case)["Records"]]
