"""The outside judge's pipelines: scripts on FATE's own ``fate_client.pipeline``, one for each component."""

from __future__ import annotations

import pytest

from tests.judge.client import Judge
from tests.judge.party_tables import COMMON_ROWS, HOMO_ROWS

pytestmark = pytest.mark.needs("fate-client")


@pytest.fixture(scope="module", autouse=True)
def _uploaded(judge: Judge) -> None:
    assert judge.pipeline("upload") == {"uploaded": 6}


def test_psi(judge: Judge) -> None:
    found = judge.pipeline("psi")
    assert found["rows"] == COMMON_ROWS
    assert found["read"] == 549
    assert {"id", "y", "x0"} <= set(found["columns"])


def test_dataframe_transformer_of_bound_files(judge: Judge) -> None:
    assert judge.pipeline("dataframe_transformer") == {"rows": COMMON_ROWS}


def test_data_split(judge: Judge) -> None:
    rows = judge.pipeline("data_split")["rows"]
    assert sum(rows["data_split_0"].values()) == COMMON_ROWS
    assert set(rows["data_split_0"]) == {"train_output_data", "validate_output_data", "test_output_data"}
    assert (rows["data_split_1"]["train_output_data"], rows["data_split_1"]["test_output_data"]) == (200, 50)


def test_sample(judge: Judge) -> None:
    found = judge.pipeline("sample")
    assert found["drawn"] == 1000
    assert set(found["by_label"]) == {"0", "1"}


def test_feature_scale(judge: Judge) -> None:
    found = judge.pipeline("feature_scale")
    assert abs(found["mean"]) < 1e-6
    assert found["std"] == pytest.approx(1, abs=5e-3)
    assert found["range"] == [pytest.approx(-1), pytest.approx(1)]
    assert "output_model" in found["model"]
    assert found["predicted"] == {"test_output_data": COMMON_ROWS}


def test_statistics(judge: Judge) -> None:
    found = judge.pipeline("statistics")
    assert "mean" in str(found["every"])
    assert "x0" not in str(found["some"]["output_model"]["data"])


def test_union(judge: Judge) -> None:
    assert judge.pipeline("union")["rows"] == 500


def test_coordinated_lr(judge: Judge) -> None:
    found = judge.pipeline("coordinated_lr")
    assert found["rows"] == COMMON_ROWS
    assert {"predict_result", "predict_score", "predict_detail", "type"} <= set(found["columns"])
    assert set(found["detail"]) == {"0", "1"}
    assert "auc" in str(found["judged"])
    assert found["model"]


def test_coordinated_linr(judge: Judge) -> None:
    found = judge.pipeline("coordinated_linr")
    assert found["rows"] == COMMON_ROWS
    assert 0 < found["tested"] < COMMON_ROWS
    assert {"predict_result", "predict_score", "predict_detail", "type"} <= set(found["columns"])
    assert set(found["detail"]) == {"label"}
    assert "train_set_rmse" in str(found["judged"])
    assert found["grown"]["output_model"]["data"]["estimator"]["end_epoch"] == 4


def test_homo_lr(judge: Judge) -> None:
    found = judge.pipeline("homo_lr")
    assert "auc" in str(found["judged"])
    assert set(found["model"]["output_model"]["data"]["model"]["state_dict"]) == {"models.0.weight", "models.0.bias"}
    assert found["rows"] == found["predicted"] == HOMO_ROWS
    assert {"predict_result", "predict_score", "predict_detail", "type"} <= set(found["columns"])


def test_hetero_secureboost(judge: Judge) -> None:
    found = judge.pipeline("hetero_secureboost")
    assert found["rows"] == COMMON_ROWS
    assert 0 < found["tested"] < COMMON_ROWS
    assert {"predict_result", "predict_score", "predict_detail", "type"} <= set(found["columns"])
    assert set(found["detail"]) == {"0", "1"}
    assert "auc" in str(found["judged"])
    assert str(found["grown"]).count("'nodes'") == 3


def test_evaluation(judge: Judge) -> None:
    found = judge.pipeline("evaluation")
    for name in ("auc", "ks", "gain", "lift", "confusion_matrix"):
        assert name in str(found["asked"])
    assert found["default"]


def test_hetero_feature_binning(judge: Judge) -> None:
    found = judge.pipeline("hetero_feature_binning")
    model = found["model"]["data"]
    assert set(model["metrics_summary"]["iv"]) == {f"x{i}" for i in range(10)}
    assert set(model["host_metrics_summary"]["10000"]["iv"]) == {f"host_10000_x{i}" for i in range(20)}
    assert len(model["split_pt_dict"]["x0"]) == 9
    assert 8 <= found["woe"] == found["predicted"] <= 10
    assert (found["numbers"], found["by_hand"]) == ([0, 1, 2, 3, 4], [0, 1, 2, 3])
    assert found["rows"] == COMMON_ROWS


def test_hetero_feature_selection(judge: Judge) -> None:
    found = judge.pipeline("hetero_feature_selection")
    assert len(found["columns"]) == 4
    assert "x0" not in found["columns"]
    assert found["predicted"] == found["columns"]
    assert found["model"]["inner_method"] == ["manual", "iv", "statistics"]
    by_iv = found["model"]["selection_obj_list"][1]["host_selected_mask"]["10000"]
    assert (len(by_iv), sum(by_iv.values())) == (19, 4)


def test_credit_scoring(judge: Judge) -> None:
    found = judge.pipeline("credit_scoring")
    assert "host_9999_x" not in str(found["binning"])
    assert "host_10000_x0" in str(found["binning"])
    assert {"income", "card_use", "debt_ratio"} <= set(found["columns"])
    assert not {"age", "housing", "branch_km"} & set(found["columns"])
    judged = next(document for document in found["judged"] if document["name"] == "evaluation")
    for task in ("lr_0", "sbt_0"):
        auc, *_ = judged["data"][task]["validate_set"]
        assert auc["metric"] == "auc"
        assert 0.78 < auc["val"] < 0.95
