"""What a cold start pays for our imports, against what boto3 and pydantic cost by themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract.samples import FUNCTIONS

ROOT = Path(__file__).parents[2]
RUNS = 3

LIMIT = 2.5
"""Times `import boto3, pydantic`, in the same run on the same machine."""

SLACK_OF_THE_API = 0.5
"""More for the function that reads botocore's model of ECS when it is imported."""

MEASURED = """
import json, os, sys, time

began = time.process_time()
import boto3, pydantic
least = time.process_time() - began

ratios = {}
for folder in sys.argv[1:]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        sys.path.insert(0, folder)
        began = time.process_time()
        import app
        os.write(writing, str(time.process_time() - began).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        more = answer.read()
    assert os.waitpid(child, 0)[1] == 0, folder
    ratios[os.path.basename(folder)] = (least + float(more)) / least
print(json.dumps(ratios))
"""
"""Each function is imported by a fork of one interpreter that has the two. CPU time: others use the machine, too."""


def measured() -> dict[str, float]:
    """By function: the CPU time of all its imports, in times of that of boto3 and pydantic."""
    path = os.pathsep.join(str(ROOT / part) for part in ("layers/control_plane", "layers/ecs_protocol"))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *(str(ROOT / "functions" / name) for name in FUNCTIONS)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path, "AWS_DEFAULT_REGION": "eu-west-1"},
    )
    ratios: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return ratios


@pytest.fixture(scope="module")
def ratios() -> dict[str, float]:
    runs = [measured() for _ in range(RUNS)]
    return {name: min(run[name] for run in runs) for name in FUNCTIONS}  # the rest is what others do on the machine


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_little_more_than_it_needs(ratios: dict[str, float], function: str) -> None:
    limit = LIMIT + (SLACK_OF_THE_API if function == "api_ecs" else 0)
    assert ratios[function] <= limit, {name: round(ratio, 2) for name, ratio in ratios.items()}
