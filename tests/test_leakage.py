from __future__ import annotations

import runpy
from pathlib import Path

from partyd.algorithms import ALGORITHMS

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_says_what_the_algorithms_declare() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "leakage"))["page"]()
    assert (ROOT / "docs" / "leakage.md").read_text() == page, "run scripts/leakage > docs/leakage.md"


def test_every_algorithm_and_message_is_on_the_page() -> None:
    page = (ROOT / "docs" / "leakage.md").read_text()
    for algorithm in ALGORITHMS:
        assert f"## {algorithm.name} " in page
        assert all(f"`{kind.__name__}`" in page for kind in algorithm.messages)
