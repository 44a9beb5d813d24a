"""What a cold start pays for our imports, against what boto3 and pydantic cost by themselves."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from contract.samples import FUNCTIONS

ROOT = Path(__file__).parents[2]
RUNS = 3

LIMIT = 2.0
"""Times `import boto3, pydantic`, in the same run on the same machine."""

SLACK_OF_THE_API = 1.0
"""More for the function that reads botocore's model of ECS when it is imported."""

MEASURED = """
import sys, time
began = time.perf_counter()
{statement}
print(time.perf_counter() - began)
"""


def seconds(statement: str) -> float:
    path = os.pathsep.join(str(ROOT / part) for part in ("layers/control_plane", "layers/ecs_protocol"))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path, "AWS_DEFAULT_REGION": "eu-west-1"},
    )
    return float(ran.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def ratios() -> dict[str, float]:
    """By function. Runs take turns, so that what else the machine does meets all of them alike."""
    statements = {"": "import boto3, pydantic"} | {
        name: f"sys.path.insert(0, {str(ROOT / 'functions' / name)!r}); import app" for name in FUNCTIONS
    }
    times: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(RUNS):
        for name, statement in statements.items():
            times[name].append(seconds(statement))
    least = statistics.median(times.pop(""))
    return {name: statistics.median(taken) / least for name, taken in times.items()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_little_more_than_it_needs(ratios: dict[str, float], function: str) -> None:
    limit = LIMIT + (SLACK_OF_THE_API if function == "api_ecs" else 0)
    assert ratios[function] <= limit, {name: round(ratio, 2) for name, ratio in ratios.items()}
