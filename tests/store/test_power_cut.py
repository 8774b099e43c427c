"""Power cuts at random operations of a recorded life (F8); the campaign makes 2,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import power_cut

CUTS = 40


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> power_cut.Trace:
    return power_cut.record(tmp_path_factory.mktemp("trace") / "state")


def test_the_trace_has_log_checkpoints_and_blobs(trace: power_cut.Trace) -> None:
    kinds = {(op.kind, Path(op.path).name) for op in trace.ops}
    assert ("write", "partyd.db") in kinds
    assert ("truncate", "partyd.db-wal") in kinds
    assert sum(op.kind == "rename" and len(Path(op.other).name) == 64 for op in trace.ops) > 5


@pytest.mark.parametrize("number", range(CUTS))
def test_nothing_acknowledged_is_lost(trace: power_cut.Trace, number: int, tmp_path: Path) -> None:
    cut = len(trace.ops) * (number + 1) // CUTS
    power_cut.survive(trace, cut, number, tmp_path / "state")
    assert (tmp_path / "state" / "clean").exists()
