"""feature_correlation as a task, against numpy and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from partyd.components.feature_correlation import correlated, inflation
from partyd.components.simulate import Seat
from partyd.types import Address
from tests.components.tables import G, H, document, saved, table, task

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(40, 4))
X[:, 3] = X[:, 0] + 0.1 * X[:, 3]


def seats(folder: Path, params: dict[str, object]) -> dict[Address, Seat]:
    ids = [f"i{i}" for i in range(40)]
    guest = saved(folder, "g", table(ids, {"a": X[:, 0], "b": X[:, 1]}, (X[:, 0] > 0).astype(float)))
    host = saved(folder, "h", table(ids, {"c": X[:, 2], "d": X[:, 3]}))
    return {G: Seat(params, {"input_data": guest}), H: Seat(params, {"input_data": host})}


def test_columns_of_both_parties_are_correlated(tmp_path: Path) -> None:
    done = task("feature_correlation", seats(tmp_path, {}), tmp_path)
    want, model = np.corrcoef(X.T), document(done, G, "output_model")["data"]
    assert model["local_corr"]["a"] == pytest.approx({"a": 1, "b": want[0, 1]})
    across = model["remote_corr"][str(H)]
    assert across["a"] == pytest.approx({"host_9999_x0": want[0, 2], "host_9999_x1": want[0, 3]}, abs=1e-7)
    theirs = document(done, H, "output_model")["data"]
    assert theirs["remote_corr"][str(G)]["d"]["guest_10000_x0"] == pytest.approx(want[3, 0], abs=1e-7)
    assert theirs["column_anonymous_map"] == {"c": "host_9999_x0", "d": "host_9999_x1"}


def test_local_only_exchanges_nothing(tmp_path: Path) -> None:
    done = task("feature_correlation", seats(tmp_path, {"local_only": True, "calc_local_vif": False}), tmp_path)
    model = document(done, H, "output_model")["data"]
    assert not done.transcript.sent
    assert model["remote_corr"] == {}
    assert model["vif"] is None
    assert model["local_corr"]["c"]["d"] == pytest.approx(np.corrcoef(X.T)[2, 3])


def test_inflation_is_what_regression_on_the_others_says() -> None:
    for i, found in enumerate(inflation(correlated(X))):
        others = np.delete(X, i, axis=1)
        r2 = LinearRegression().fit(others, X[:, i]).score(others, X[:, i])
        assert found == pytest.approx(1 / (1 - r2))


def test_inflation_is_undefined_for_dependent_and_constant_columns() -> None:
    x = np.column_stack([X[:, 0], 2 * X[:, 0], X[:, 1], np.full(40, 3.0)])
    found = inflation(correlated(x))
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert found[3] is None
    assert inflation(correlated(X[:, :1])) == [1.0]
