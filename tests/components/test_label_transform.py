"""label_transform as a task, against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.preprocessing import LabelEncoder

from partyd.components.label_transform import Encoding, LabelTransformParams, fit, transformed
from partyd.components.labels import replaced
from partyd.components.scores import TEST, TRAIN, class_table, result_table
from partyd.components.simulate import Seat
from partyd.data.render import csv_lines
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from tests.components.tables import G, H, document, output, saved, table, task

LABEL = [7.0, -1, 3, 3, 7]
ROWS = table(list("abcde"), {"x": [1, 2, 3, 4, 5]}, LABEL)


def encoding(one: Table = ROWS, **params: object) -> Encoding:
    return fit(one, LabelTransformParams.model_validate(params), G)


def test_classes_are_counted_as_scikit_learn_does(tmp_path: Path) -> None:
    one = saved(tmp_path, "in", ROWS)
    done = task("label_transform", {G: Seat({}, {"train_data": one})}, tmp_path / "fit", stage="train")
    want = LabelEncoder().fit_transform(LABEL).tolist()
    assert output(done, G, "train_output_data").require_label().tolist() == want
    assert document(done, G) == {"label_encoder": {"-1": 0.0, "3": 1.0, "7": 2.0}}
    inputs = {"test_data": one, "input_model": done.outputs[G] / "output_model"}
    applied = task("label_transform", {G: Seat({}, inputs)}, tmp_path / "apply", stage="predict")
    assert output(applied, G, "test_output_data").require_label().tolist() == want
    assert not done.transcript.sent


def test_labels_become_what_the_encoder_says() -> None:
    found = encoding(label_encoder={"-1": 0, "3": 0, "7": 1.5}, label_list=[7, 3, -1])
    after = transformed(ROWS, found, decodes=False)
    assert after.require_label().tolist() == [1.5, 0, 0, 0, 1.5]
    assert after.schema.label_type == "float64"
    with pytest.raises(DataError, match="name every class"):
        transformed(table(["a"], {}, [9]), found, decodes=False)


def test_predictions_of_two_classes_are_decoded(tmp_path: Path) -> None:
    learned = encoding(table(["a", "b"], {}, [5, 9]))
    coded = result_table(table(["a", "b"], {}, [0, 1]), np.array([0.2, 0.75]), 0.5, TEST)
    after = transformed(coded, learned, decodes=True)
    assert after.require_label().tolist() == [5, 9]
    names = ("predict_score", "predict_result", "predict_detail:5", "predict_detail:9", "type")
    assert after.schema.features == names
    np.testing.assert_allclose(after.features[:, :4], [[0.2, 5, 0.8, 0.2], [0.75, 9, 0.25, 0.75]])
    assert list(csv_lines(after))[2].startswith("b,9,0.75,9,")
    again = transformed(after, learned, decodes=False)
    assert again.require_label().tolist() == [0, 1]
    np.testing.assert_allclose(again.features[:, :4], [[0.2, 0, 0.8, 0.2], [0.75, 1, 0.25, 0.75]])


def test_classes_that_change_places_take_their_scores_along() -> None:
    swapped = encoding(table(["a", "b"], {}, [0, 1]), label_encoder={"0": 1, "1": 0})
    coded = result_table(table(["a"], {}, [1]), np.array([0.8]), 0.5, TRAIN)
    after = transformed(coded, swapped, decodes=True)
    assert (after.require_label().tolist(), after.features[:, 1].tolist()) == ([0], [0])
    np.testing.assert_allclose(after.features[0, 2:4], [0.8, 0.2])
    same = encoding(table(["a", "b"], {}, [0, 1]))
    np.testing.assert_array_equal(transformed(coded, same, decodes=True).features, coded.features)


def test_predictions_of_several_classes_are_decoded_in_the_order_of_the_labels() -> None:
    learned = encoding(table(["a", "b", "c"], {}, [4, 5, 6]), label_encoder={"4": 2, "5": 1, "6": 0})
    coded = class_table(table(["a"], {}), np.array([[0.5, 0.3, 0.2]]), (0.0, 1.0, 2.0), TEST)
    after = transformed(coded, learned, decodes=True)
    assert after.schema.features[2:5] == ("predict_detail:4", "predict_detail:5", "predict_detail:6")
    assert after.features[0, :5].tolist() == [0.5, 6, 0.2, 0.3, 0.5]


def test_predictions_may_be_encoded_by_their_own_classes() -> None:
    coded = class_table(
        table(["a", "b"], {}, [10, 20]), np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), (10.0, 20.0, 30.0), TEST
    )
    assert encoding(coded).label_encoder == {"10": 0.0, "20": 1.0, "30": 2.0}


def test_what_cannot_be_decoded_is_said() -> None:
    merged = encoding(label_encoder={"-1": 0, "3": 0, "7": 1})
    coded = result_table(table(["a"], {}, [1]), np.array([0.8]), 0.5, TRAIN)
    with pytest.raises(TaskFailed, match="two labels one code"):
        transformed(coded, merged, decodes=True)


def test_a_host_without_labels_gives_its_table_out_as_it_came(tmp_path: Path) -> None:
    guest, host = saved(tmp_path, "g", ROWS), saved(tmp_path, "h", table(["a"], {"z": [1]}))
    seats = {G: Seat({}, {"train_data": guest}), H: Seat({}, {"train_data": host})}
    done = task("label_transform", seats, tmp_path, stage="train")
    assert output(done, H, "train_output_data").features.tolist() == [[1]]
    assert document(done, H) == {"label_encoder": {}}
    with pytest.raises(DataError, match="no label"):
        encoding(table(["a"], {"z": [1]}))
    unlabelled = table(["a"], {"z": [1]})
    assert transformed(unlabelled, encoding(), decodes=True) == unlabelled


def test_a_missing_label_stays_missing() -> None:
    found = replaced(np.array([1.0, np.nan, 2.0]), {1.0: 10.0, 2.0: 20.0})
    np.testing.assert_array_equal(found, [10, np.nan, 20])
    assert replaced(np.zeros(0), {}).tolist() == []
    with pytest.raises(DataError):
        replaced(np.ones(1), {})


@pytest.mark.parametrize(
    "bad",
    [
        {"label_encoder": {"yes": 1}},
        {"label_encoder": {"1": "yes"}},
        {"label_encoder": {}},
        {"label_encoder": {"0": 1}, "label_list": [1]},
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LabelTransformParams.model_validate(bad)
