"""column_expand as a task."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from partyd.components.column_expand import ColumnExpandParams, fit, transform
from partyd.components.simulate import Seat
from partyd.errors import DataError
from tests.components.tables import G, document, output, saved, table, task

ROWS = table(["a", "b"], {"x": [1, 2]}, [0, 1])


def test_columns_are_appended_and_again_by_the_model(tmp_path: Path) -> None:
    one = saved(tmp_path, "in", ROWS)
    params = {"append_header": ["y", "z"], "fill_value": [3, "4.5"]}
    done = task("column_expand", {G: Seat(params, {"train_data": one})}, tmp_path / "fit", stage="train")
    inputs = {"test_data": one, "input_model": done.outputs[G] / "output_model"}
    applied = task("column_expand", {G: Seat({}, inputs)}, tmp_path / "apply", stage="predict")
    for found in (output(done, G, "train_output_data"), output(applied, G, "test_output_data")):
        assert found.schema.features == ("x", "y", "z")
        assert found.features.tolist() == [[1, 3, 4.5], [2, 3, 4.5]]
        assert found.require_label().tolist() == [0, 1]
    assert document(done, G) == {"append_header": ["y", "z"], "fill_value": [3.0, 4.5]}
    assert document(done, G, "output_model")["meta"]["method"] == "manual"


def test_one_value_serves_all_columns_and_no_column_changes_nothing() -> None:
    for params, names, last in (
        ({}, ("x",), 1.0),
        ({"append_header": "y"}, ("x", "y"), 1e-8),
        ({"append_header": ["y", "z"], "fill_value": 2}, ("x", "y", "z"), 2.0),
        ({"append_header": None, "fill_value": [1, 2]}, ("x",), 1.0),
    ):
        found = transform(ROWS, fit(ColumnExpandParams.model_validate(params)))
        assert found.schema.features == names
        assert found.features[0, -1] == last


def test_a_name_that_is_there_already_is_refused() -> None:
    with pytest.raises(DataError, match="append_header names 'x'"):
        transform(ROWS, fit(ColumnExpandParams(append_header=("x",))))


@pytest.mark.parametrize(
    "bad",
    [
        {"method": "random"},
        {"append_header": ["y", "z"], "fill_value": [1, 2, 3]},
        {"append_header": ["y", "y"]},
        {"append_header": [""]},
        {"append_header": ["y"], "fill_value": "high"},
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ColumnExpandParams.model_validate(bad)
