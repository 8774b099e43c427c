"""statistics as a task, against scipy and numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from partyd.components.simulate import Seat
from partyd.components.statistics import NAMES, StatisticsParams, describe
from partyd.errors import DataError
from tests.components.tables import G, H, document, saved, table, task

VALUES = np.random.default_rng(5).gamma(2.0, 3.0, 200)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ddof", [0, 1])
def test_every_statistic_equals_its_reference(ddof: int, bias: bool) -> None:
    values = np.append(VALUES, [np.nan] * 5)
    params = StatisticsParams(ddof=ddof, bias=bias)
    found = describe(values, (*NAMES, "25%", "100%"), params)
    want = {
        "count": 200,
        "sum": VALUES.sum(),
        "min": VALUES.min(),
        "max": VALUES.max(),
        "mean": VALUES.mean(),
        "median": np.median(VALUES),
        "std": VALUES.std(ddof=ddof),
        "var": VALUES.var(ddof=ddof),
        "coefficient_of_variation": VALUES.std(ddof=ddof) / VALUES.mean(),
        "missing_count": 5,
        "missing_ratio": 5 / 205,
        "skewness": stats.skew(VALUES, bias=bias),
        "kurtosis": stats.kurtosis(VALUES, bias=bias),
        "25%": np.percentile(VALUES, 25),
        "100%": VALUES.max(),
    }
    assert found == pytest.approx(want)


@pytest.mark.parametrize(
    ("values", "undefined"),
    [
        ([], set(NAMES) - {"count", "missing_count"}),
        ([float("nan")], set(NAMES) - {"count", "missing_count", "missing_ratio"}),
        ([3.0], {"std", "var", "coefficient_of_variation", "skewness", "kurtosis"}),
        ([0.1] * 3, {"skewness", "kurtosis"}),
        ([-1.0, 1.0], {"coefficient_of_variation"}),
    ],
)
def test_what_is_not_defined_is_null(values: list[float], undefined: set[str]) -> None:
    found = describe(np.array(values, dtype=np.float64), NAMES, StatisticsParams())
    assert {name for name, value in found.items() if value is None} == undefined


def test_the_correction_for_bias_needs_enough_rows() -> None:
    found = describe(np.array([1.0, 2.0]), ("skewness", "kurtosis"), StatisticsParams(bias=False))
    assert found == {"skewness": None, "kurtosis": None}


def test_each_party_describes_its_own_columns(tmp_path: Path) -> None:
    guest = saved(tmp_path, "g", table(["a", "b"], {"x0": [1, 3], "x1": [5, 7]}, [0, 1]))
    host = saved(tmp_path, "h", table(["a", "b"], {"z0": [10, 20]}))
    params = {"metrics": ["mean", "25%", "mean"], "skip_col": None, "use_anonymous": False}
    seats = {G: Seat(params | {"skip_col": ["x1"]}, {"input_data": guest}), H: Seat(params, {"input_data": host})}
    done = task("statistics", seats, tmp_path)
    assert document(done, G, "output_model") == {
        "data": {"inner_metric_names": ["mean", "25%"], "metrics_summary": {"x0": {"mean": 2.0, "25%": 1.5}}},
        "meta": {"metrics": ["mean", "25%"], "model_type": "statistics"},
    }
    assert document(done, H, "output_model")["data"]["metrics_summary"]["z0"]["mean"] == 15
    assert not done.transcript.sent


def test_columns_may_be_skipped_by_the_names_that_others_see(tmp_path: Path) -> None:
    rows = saved(tmp_path, "g", table(["a"], {"x": [1], "y": [2]}))
    params = {"skip_col": ["guest_10000_x1"], "use_anonymous": True}
    done = task("statistics", {G: Seat(params, {"input_data": rows})}, tmp_path)
    assert list(document(done, G, "output_model")["data"]["metrics_summary"]) == ["x"]
    with pytest.raises(ExceptionGroup) as caught:
        task("statistics", {G: Seat({"skip_col": ["q"]}, {"input_data": rows})}, tmp_path / "again")
    assert caught.group_contains(DataError, match="skip_col names 'q'")


@pytest.mark.parametrize("bad", [["average"], ["101%"], "describe", [], ["1.5%"]])
def test_an_unknown_statistic_is_refused(bad: object) -> None:
    with pytest.raises(ValidationError):
        StatisticsParams.model_validate({"metrics": bad})
    assert StatisticsParams.model_validate({"metrics": None}).metrics == ("mean", "std", "min", "max")
    assert StatisticsParams.model_validate({"metrics": "median"}).metrics == ("median",)
