"""What a cold start pays for our imports, against what boto3 and pydantic cost by themselves."""

import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.samples import FUNCTIONS

ROOT = Path(__file__).parents[2]
RUNS = 3

LIMIT = 2.1
"""Times `import boto3, pydantic`, in the same run on the same machine."""

SLACK_OF_THE_API = 0.5
"""More for the function that reads botocore's model of ECS when it is imported."""

MEASURED = """
import sys, time
began = time.process_time()
{statement}
print(time.process_time() - began)
"""


def seconds(statement: str) -> float:
    """Of CPU, which a busy machine changes less than seconds of the clock."""
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
    runs = [name for _ in range(RUNS) for name in statements]
    with ThreadPoolExecutor(max_workers=2) as pool:
        taken = list(pool.map(lambda name: seconds(statements[name]), runs))
    medians = {name: statistics.median(taken[number :: len(statements)]) for number, name in enumerate(statements)}
    return {name: medians[name] / medians[""] for name in FUNCTIONS}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_little_more_than_it_needs(ratios: dict[str, float], function: str) -> None:
    limit = LIMIT + (SLACK_OF_THE_API if function == "api_ecs" else 0)
    assert ratios[function] <= limit, {name: round(ratio, 2) for name, ratio in ratios.items()}
