"""What programs are told about the components, and that it is what FATE's client defines."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.components.describe import describe, first_sentence

FATE_PARAMETERS: dict[str, set[str]] = {
    "reader": {"name", "namespace"},
    "dataframe_transformer": {"namespace", "name", "site_name"},
    "data_split": {"train_size", "validate_size", "test_size", "stratified", "random_state", "hetero_sync"},
    "sample": {"replace", "frac", "n", "random_state", "hetero_sync"},
    "feature_scale": {"method", "feature_range", "scale_col", "scale_idx", "strict_range", "use_anonymous"},
    "statistics": {"metrics", "ddof", "bias", "relative_error", "skip_col", "use_anonymous"},
    "union": set(),
    "evaluation": {"default_eval_setting", "metrics", "predict_column_name", "label_column_name"},
    "one_hot_encoder": {"transform_col_indexes", "transform_col_names", "need_run"},
    "feature_imputation": {
        "default_value",
        "missing_fill_method",
        "col_missing_fill_method",
        "missing_impute",
        "need_run",
    },
    "label_transform": {"label_encoder", "label_list", "need_run"},
    "sample_weight": {"class_weight", "sample_weight_name", "normalize", "need_run"},
    "column_expand": {"append_header", "method", "fill_value", "need_run"},
    "scorecard": {
        "method",
        "offset",
        "factor",
        "factor_base",
        "upper_limit_ratio",
        "lower_limit_value",
        "need_run",
    },
    "psi": {"protocol", "curve_type"},
    "coordinated_lr": {
        "learning_rate_scheduler",
        "epochs",
        "batch_size",
        "optimizer",
        "floating_point_precision",
        "tol",
        "early_stop",
        "he_param",
        "init_param",
        "threshold",
        "cv_param",
        "metrics",
        "output_cv_data",
    },
    "coordinated_linr": {
        "learning_rate_scheduler",
        "epochs",
        "batch_size",
        "optimizer",
        "floating_point_precision",
        "tol",
        "early_stop",
        "he_param",
        "init_param",
        "cv_param",
        "metrics",
        "output_cv_data",
    },
}
LOCAL_PORTS = (
    {"train_data", "test_data", "input_model"},
    {"train_output_data", "test_output_data", "output_model"},
)
FATE_PORTS: dict[str, tuple[set[str], set[str]]] = {
    **dict.fromkeys(
        ("one_hot_encoder", "feature_imputation", "label_transform", "sample_weight", "column_expand", "scorecard"),
        LOCAL_PORTS,
    ),
    "reader": (set(), {"output_data"}),
    "dataframe_transformer": ({"table"}, {"dataframe_output"}),
    "data_split": ({"input_data"}, {"train_output_data", "validate_output_data", "test_output_data"}),
    "sample": ({"input_data"}, {"output_data"}),
    "feature_scale": (
        {"train_data", "test_data", "input_model"},
        {"train_output_data", "test_output_data", "output_model"},
    ),
    "statistics": ({"input_data"}, {"output_model"}),
    "union": ({"input_datas"}, {"output_data"}),
    "evaluation": ({"input_datas"}, set()),
    "psi": ({"input_data"}, {"output_data"}),
    **dict.fromkeys(
        ("coordinated_lr", "coordinated_linr"),
        (
            {"train_data", "validate_data", "test_data", "cv_data", "warm_start_model", "input_model"},
            {"train_output_data", "test_output_data", "cv_output_datas", "output_model"},
        ),
    ),
}


ROOT = Path(__file__).resolve().parents[2]


def described(name: str) -> dict[str, Any]:
    found = describe(COMPONENTS[name])
    assert json.loads(json.dumps(found, allow_nan=False)) is not None
    return found


@pytest.mark.parametrize("name", sorted(FATE_PARAMETERS))
def test_every_parameter_and_port_of_fate_is_there(name: str) -> None:
    found = described(name)
    assert FATE_PARAMETERS[name] <= set(found["parameters"])
    inputs, outputs = FATE_PORTS[name]
    assert {port["name"] for port in found["inputs"]} == inputs
    assert outputs <= {port["name"] for port in found["outputs"]}
    assert found["description"].endswith((".", "psi.")) or found["description"]


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_null_stands_for_every_default(name: str) -> None:
    """FATE's client writes null for what its user left alone."""
    found = described(name)
    params = COMPONENTS[name].params
    if not any(part["required"] for part in found["parameters"].values()) and name in FATE_PARAMETERS:
        assert params.model_validate(dict.fromkeys(found["parameters"])) == params()


def test_types_defaults_and_bounds_are_told() -> None:
    lr = described("coordinated_lr")["parameters"]
    assert lr["epochs"] == {"type": "integer", "default": 20, "minimum": 1, "maximum": 100_000, "required": False}
    assert lr["early_stop"]["choices"] == ["diff", "abs", "weight_diff"]
    assert lr["batch_size"] == {"type": "integer", "default": None, "minimum": 10, "required": False}
    assert lr["optimizer"]["parameters"]["optimizer_params"]["parameters"]["lr"]["above"] == 0
    assert described("reader")["parameters"]["name"]["required"] is True
    assert described("sample")["parameters"]["frac"]["type"] == "number or object"


def test_roles_stages_and_disclosures_are_told() -> None:
    lr = described("coordinated_lr")
    assert lr["roles"] == ["guest", "host", "arbiter"]
    ports = {port["name"]: port for port in (*lr["inputs"], *lr["outputs"])}
    assert ports["test_data"] == {
        "name": "test_data",
        "kind": "data",
        "roles": ["guest", "host"],
        "stages": ["predict"],
        "needed": ["predict"],
        "several": False,
    }
    assert ports["validate_data"]["needed"] == []
    assert ports["cv_output_datas"]["several"] is True
    assert ports["warm_start_model"]["kind"] == "model"
    split = described("data_split")
    assert split["alone_if"] == {"hetero_sync": False}
    assert [(d["message"], d["roles"]) for d in split["disclosures"]] == [("Split", ["host"])]
    assert described("union")["disclosures"] == []
    assert described("evaluation")["metric"] == "evaluation"


def test_the_first_sentence_of_a_docstring() -> None:
    assert first_sentence("One: two. Three.\n\nFour.") == "One: two."
    assert first_sentence("One\ntwo.\n\nThree.") == "One two."
    assert first_sentence(None) == ""


def test_the_page_says_what_the_components_declare() -> None:
    page = "\n".join(runpy.run_path(str(ROOT / "scripts" / "components"))["page"]()).rstrip() + "\n"
    assert (ROOT / "docs" / "components.md").read_text() == page, "run scripts/components > docs/components.md"
    assert all(f"\n## {name}\n" in page for name in COMPONENTS)
