"""scorecard as a task, against FATE's formula written out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from partyd.components.scorecard import ScorecardParams, fit, transform
from partyd.components.scores import TRAIN, class_table, result_table
from partyd.components.simulate import Seat
from partyd.data.render import csv_lines
from partyd.data.table import Table
from partyd.errors import DataError
from tests.components.tables import G, document, output, saved, table, task

P = np.array([0.5, 1 / 3, 0.8, 0.0, 1.0, 1e-9, 1 - 1e-9, 1e-12, 0.02])


def scored(p: np.ndarray = P, label: bool = True) -> Table:
    ids = [f"u{i}" for i in range(len(p))]
    return result_table(table(ids, {}, [0.0] * len(p) if label else None), p, 0.5, TRAIN)


def written_out(p: float, offset: float, factor: float, base: float, ratio: float, low: float) -> float:
    if p <= 1e-8:
        credit = ratio * offset
    elif 1 - p <= 1e-8:
        credit = low
    else:
        credit = offset + factor / math.log(base) * math.log((1 - p) / p)
    return round(min(max(credit, low), ratio * offset), 2)


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ({}, (500, 20, 2, 3, 0)),
        ({"offset": 600, "factor": 50, "factor_base": 10, "upper_limit_ratio": 1.1}, (600, 50, 10, 1.1, 0)),
        ({"factor": 400, "lower_limit_value": 100}, (500, 400, 2, 3, 100)),
    ],
)
def test_scores_are_fates(tmp_path: Path, params: dict[str, float], numbers: tuple[float, ...]) -> None:
    one = saved(tmp_path, "in", scored())
    done = task("scorecard", {G: Seat(params, {"train_data": one})}, tmp_path / "fit", stage="train")
    inputs = {"test_data": one, "input_model": done.outputs[G] / "output_model"}
    applied = task("scorecard", {G: Seat({}, inputs)}, tmp_path / "apply", stage="predict")
    want = [written_out(p, *numbers) for p in P.tolist()]
    for found in (output(done, G, "train_output_data"), output(applied, G, "test_output_data")):
        assert found.schema.features == ("predict_result", "predict_score", "credit_score")
        np.testing.assert_allclose(found.features[:, 2], want, atol=0.011)
        np.testing.assert_array_equal(found.features[:, 1], P)
    assert document(done, G)["scorecard_compute_formula"].startswith(f"Score = {numbers[0]:g} + {numbers[1]:g} / ln(")
    assert not done.transcript.sent


def test_doubled_odds_are_worth_one_factor() -> None:
    found = transform(scored(np.array([1 / 2, 1 / 3, 1 / 5])), fit(ScorecardParams()))
    assert found.features[:, 2].tolist() == [500, 520, 540]


def test_the_table_reads_as_fates_does() -> None:
    header = next(iter(csv_lines(transform(scored(), fit(ScorecardParams())))))
    assert header == "id,label,predict_result,predict_score,credit_score\n"
    assert transform(scored(label=False), fit(ScorecardParams())).label is None


def test_only_probabilities_of_two_classes_have_a_score(tmp_path: Path) -> None:
    scale = fit(ScorecardParams())
    three = class_table(table(["a"], {}), np.array([[0.2, 0.5, 0.3]]), (0.0, 1.0, 2.0), TRAIN)
    for one in (three, table(["a"], {"x": [0.5]})):
        with pytest.raises(DataError, match="binary classifier"):
            transform(one, scale)
    for p in (1.5, -0.1, float("nan")):
        with pytest.raises(DataError, match="no probability"):
            transform(scored(np.array([p])), scale)


@pytest.mark.parametrize(
    "bad",
    [
        {"method": "fico"},
        {"factor_base": 1},
        {"factor_base": 0},
        {"offset": "much"},
        {"lower_limit_value": 2000},
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScorecardParams.model_validate(bad)
    assert ScorecardParams.model_validate({"method": "CREDIT", "offset": None}).offset == 500
