"""HeteroFeatureBinning and HeteroFeatureSelection of FATE 1.x, as the components' own parameters."""

from __future__ import annotations

from typing import Any

import pytest

from partyd.components.binning_parameters import HeteroFeatureBinningParams
from partyd.components.selection_parameters import HeteroFeatureSelectionParams
from tests.dsl.jobs import only

BINNING, SELECTION = "HeteroFeatureBinning", "HeteroFeatureSelection"
ALONE = "is counted at each party alone"


@pytest.mark.parametrize(
    ("module", "given", "expected", "noted"),
    [
        (BINNING, {"bin_num": 7, "category_indexes": [2]}, {"n_bins": 7, "category_idx": [2]}, {}),
        (
            BINNING,
            {"method": "optimal", "optimal_binning_param": {"metric_method": "chi-square", "min_bin_pct": 0.1}},
            {"optimal_binning_param": {"metric_method": "chi-square", "min_bin_pct": 0.1, "init_bin_nums": 1000}},
            {},
        ),
        (
            SELECTION,
            {"filter_methods": ["unique_value", "iv_top_k", "sbt_filter"], "iv_top_k_param": {"k": 3}},
            {"method": ["unique_value", "iv"], "iv_param": {"filter_type": "top_k", "threshold": 3}},
            {"filter_methods": "no counterpart", "iv_top_k_param.k": ALONE},
        ),
        (
            SELECTION,
            {"iv_value_param": {"value_threshold": 0.1, "host_thresholds": [0.2, 0.3], "local_only": False}},
            {"iv_param": {"threshold": 0.1, "host_threshold": [[0.2, 0.3]], "select_federated": True}},
            {},
        ),
        (
            SELECTION,
            {"iv_param": {"filter_type": ["top_percentile"], "threshold": [0.8], "mul_class_merge_type": "max"}},
            {"iv_param": {"filter_type": ["top_percentile"], "threshold": [0.8], "mul_class_merge_type": "max"}},
            {"iv_param.filter_type": ALONE},
        ),
        (
            SELECTION,
            {"manually_param": {"left_col_names": ["x"], "left_col_indexes": [1]}},
            {"method": ["manual"], "manual_param": {"left_col": ["x"], "left_idx": [1]}},
            {},
        ),
        (
            SELECTION,
            {
                "filter_methods": ["vif_filter", "correlation_filter"],
                "vif_param": {"threshold": [5.0], "take_high": True},
            },
            {"method": ["vif", "correlation"], "vif_param": {"threshold": [5.0]}},
            {"vif_param.take_high": "small factors"},
        ),
        (
            SELECTION,
            {"filter_methods": ["outlier_cols"], "outlier_param": {"percentile": 0.9, "upper_threshold": 10}},
            {"method": ["outlier"], "outlier_param": {"percentile": 0.9, "upper_threshold": 10}},
            {},
        ),
    ],
)
def test_parameters_become_ours_and_are_taken(
    module: str, given: dict[str, Any], expected: dict[str, Any], noted: dict[str, str]
) -> None:
    parameters, notes = only(module, given)
    assert {name: parameters[name] for name in expected} == expected
    assert notes.keys() == noted.keys()
    assert all(said in notes[name] for name, said in noted.items())
    kind = HeteroFeatureBinningParams if module == BINNING else HeteroFeatureSelectionParams
    assert kind.model_validate(parameters)
