"""Cases of any kind for the ECS API until it is stopped, or so many of them: none may be a fault of ours.

    make fuzz                   # until Ctrl-C
    make fuzz EXAMPLES=2000

Each case is a few requests (contract/any_request.py) to the function behind the API (contract/front_door.py). Prints
what is wrong, with the shortest case that shows it, and in the end one line of JSON: {"cases", "requests", "answers",
"serverErrors", "faults"}. Exits with 1 if there was a fault.
"""

import argparse
import json
import logging
import os
import random
import sys
import time
from contextlib import suppress

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky
from moto import mock_aws

from contract.any_request import Request, cases
from contract.front_door import FrontDoor, front_door

BATCH = 500
"""Cases of one seed; a fault ends them, and the next seed goes on."""


class FaultError(Exception):
    """Of a case; the text says what is wrong."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, help="how many cases; without it there is no end")
    wanted = parser.parse_args().examples
    logging.disable(logging.CRITICAL)
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    os.environ.pop("AWS_PROFILE", None)
    found: list[str] = []
    tried = 0
    with mock_aws(), front_door() as door, suppress(KeyboardInterrupt):
        while wanted is None or tried < wanted:
            count = BATCH if wanted is None else min(BATCH, wanted - tried)
            began = time.monotonic()
            fault = batch(door, random.SystemRandom().getrandbits(64), count)
            tried += count
            found += [fault] if fault else []
            rate = count / (time.monotonic() - began)
            say(f"{tried} cases, {len(found)} faults, {rate:.1f} cases a second")
            if fault:
                say(fault)
    statuses = {str(status): count for status, count in sorted(door.answered.items())}
    errors = sum(count for status, count in door.answered.items() if status >= 500)
    totals = {"cases": tried, "requests": door.answered.total(), "answers": statuses, "serverErrors": errors}
    print(json.dumps({**totals, "faults": len(found)}))  # noqa: T201
    return bool(found)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def batch(door: FrontDoor, of_seed: int, count: int) -> str | None:
    """The first fault of so many cases, made as small as it gets."""

    @seed(of_seed)
    @given(requests=cases())
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )
    def one(requests: list[Request]) -> None:
        faults = door.faults(requests)
        if faults:
            raise FaultError("\n".join([*(f"  {request}" for request in requests), *faults]))

    try:
        one()
    except FaultError as fault:
        return f"seed {of_seed}:\n{fault}"
    except Flaky as fault:
        return f"seed {of_seed}, and not each time:\n{fault.__cause__ or fault.__context__ or fault}"
    return None


if __name__ == "__main__":
    sys.exit(main())
