"""Modules of FATE 1.x that work on one party's own table, translated and checked against the components."""

from __future__ import annotations

from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.dsl.modules import MODULES
from partyd.dsl.translate import read_any, translate
from tests.dsl.jobs import G, H, common, conf, dsl, node, only

LOCAL = ("OneHotEncoder", "FeatureImputation", "LabelTransform", "SampleWeight", "ColumnExpand", "Scorecard")
FILLED = {"default_value": 42, "missing_impute": [0], "col_missing_fill_method": {"x0": "min"}, "need_run": True}


@pytest.mark.parametrize(
    ("module", "given", "expected"),
    [
        ("OneHotEncoder", {"transform_col_indexes": -1, "transform_col_names": []}, {}),
        (
            "OneHotEncoder",
            {"transform_col_indexes": [1, 2], "transform_col_names": ["x0"], "need_run": False},
            {"transform_col_indexes": [1, 2], "transform_col_names": ["x0"], "need_run": False},
        ),
        ("FeatureImputation", FILLED, FILLED),
        (
            "LabelTransform",
            {"label_encoder": {"0": 1, "1": 0}, "label_list": [0, 1]},
            {"label_encoder": {"0": 1, "1": 0}, "label_list": [0, 1]},
        ),
        (
            "SampleWeight",
            {"class_weight": {"0": 1, "1": 2}, "sample_weight_name": None, "normalize": True},
            {"class_weight": {"0": 1, "1": 2}, "sample_weight_name": None, "normalize": True},
        ),
        ("ColumnExpand", {"append_header": ["a", "b"], "method": "manual", "fill_value": [0, 0.1]}, None),
        ("Scorecard", {"method": "credit", "offset": 500, "factor": 20, "upper_limit_ratio": 3}, None),
    ],
)
def test_every_parameter_is_kept(module: str, given: dict[str, Any], expected: dict[str, Any] | None) -> None:
    parameters, notes = only(module, given)
    assert parameters == (given if expected is None else expected)
    assert not notes
    COMPONENTS[MODULES[module].component].params.model_validate(parameters)


def test_the_evaluation_of_1x_keeps_its_settings() -> None:
    given = {"eval_type": "clustering", "metrics": ["DBI"], "unfold_multi_result": True, "pos_label": "2"}
    parameters, notes = only("Evaluation", given)
    want = {"default_eval_setting": "clustering", "metrics": ["DBI"], "unfold_multi_result": True, "pos_label": "2"}
    assert parameters == want
    assert not notes
    params = COMPONENTS["evaluation"].params.model_validate(parameters)
    assert params.model_dump()["pos_label"] == 2
    assert only("Evaluation", {"eval_type": "binary", "metrics": []})[0] == {
        "default_eval_setting": "binary",
        "pos_label": 1,
    }
    statistics, _ = only("DataStatistics", {"statistics": ["coefficient_of_variance", "stddev"]})
    assert statistics["metrics"] == ["coefficient_of_variation", "std"]


def test_scales_and_unions_of_1x_keep_their_settings() -> None:
    given = {"mode": "cap", "feat_lower": 0.1, "with_mean": False, "need_run": True}
    parameters, notes = only("FeatureScale", given)
    want = {"method": "standard", "mode": "cap", "feat_lower": 0.1, "with_mean": False}
    assert parameters == want
    assert not notes
    assert only("Union", {})[0] == {"keep_duplicate": False}
    assert only("Union", {"keep_duplicate": True})[0] == {"keep_duplicate": True}


@pytest.mark.parametrize("module", LOCAL)
def test_each_module_has_a_rule_for_every_parameter_of_its_component(module: str) -> None:
    mapped = MODULES[module]
    ours = set(COMPONENTS[mapped.component].params.model_fields) - {"use_anonymous", "drop", "handle_unknown"}
    assert set(mapped.parameters) == ours


def test_a_job_around_labels_is_one_that_runs_here() -> None:
    """As FATE 1.x's example: encode the labels, train, decode the predictions, score them."""
    components = {
        "reader_0": node("Reader", "t"),
        "transform_0": node("DataTransform", "t", data="reader_0.t", model="m"),
        "intersection_0": node("Intersection", "t", data="transform_0.t"),
        "fill_0": node("FeatureImputation", "t", data="intersection_0.t", model="m"),
        "label_0": node("LabelTransform", "t", data="fill_0.t", model="m"),
        "weight_0": node("SampleWeight", "t", data="label_0.t", model="m"),
        "lr_0": node("HeteroLR", "t", train_data="weight_0.t", model="m"),
        "label_1": node("LabelTransform", "t", data="lr_0.t", of="label_0.m"),
        "card_0": node("Scorecard", "t", data="lr_0.t"),
        "evaluation_0": node("Evaluation", "t", data="label_1.t"),
    }
    made = common(label_0={"label_encoder": {"-1": 0, "1": 1}})
    made["component_parameters"]["role"]["host"]["0|1"]["label_0"] = {"need_run": False}
    spec, _ = read_any({"dsl": {"components": components}, "conf": made}, COMPONENTS)
    assert spec.dag.parameters("label_0", H)["need_run"] is False
    assert "need_run" not in spec.dag.parameters("label_0", G)
    assert spec.dag.stage_of("label_1") == "predict"
    for name in ("label_1", "card_0"):
        assert spec.dag.names(name, G)
        assert not spec.dag.names(name, H)
    assert spec.dag.names("label_0", H)


def test_what_is_made_of_predictions_stays_with_the_guest() -> None:
    made = dsl()["components"]
    made["union_0"] = node("Union", "t", data="lr_0.out")
    made["label_7"] = node("LabelTransform", "t", data="union_0.t", model="m")
    made["mixed_0"] = {"module": "Union", "input": {"data": {"data": ["lr_0.out", "scale_0.out"]}}, "output": {}}
    tasks = translate({"components": made}, conf()).document["dag"]["tasks"]
    guest = [{"role": "guest", "party_id": ["9999"]}]
    assert tasks["union_0"]["parties"] == tasks["label_7"]["parties"] == guest
    assert not any("parties" in tasks[name] for name in ("mixed_0", "lr_1", "evaluation_0", "scale_1"))
