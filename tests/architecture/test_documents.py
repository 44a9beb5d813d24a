"""What documents for users name must be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def test_each_proof_of_the_threat_model_is_there() -> None:
    named = set(re.findall(r"`((?:tests|docs|bench|functions|layers)/[\w/.-]+)`", SECURITY)) | {
        "Makefile",
        "pyproject.toml",
    }
    assert len(named) > 30
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("number", range(1, 8))
def test_each_boundary_has_an_answer_to_each_kind_of_threat(number: int) -> None:
    """The agent's boundary has no word on repudiation: what a machine does there its owner sees."""
    [section] = re.findall(rf"^### {number}\. .*?(?=^##)", SECURITY, re.MULTILINE | re.DOTALL)
    rows = [row.split("|")[1:5] for row in section.splitlines() if re.match(r"\| [STRIDE]", row)]
    kinds = {kind for letters, *_ in rows for kind in letters.replace(",", "").split()}
    assert kinds == set("STRIDE") - ({"R"} if number == 7 else set())
    assert all(threat.strip() and answer.strip() for _, threat, answer, _ in rows)
    unproved = [threat.strip() for _, threat, _, proof in rows if "`" not in proof]
    assert unproved == {5: ["who did it"], 7: ["a container becomes the machine"]}.get(number, [])
