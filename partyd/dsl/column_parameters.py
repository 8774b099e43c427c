"""The parameters of FATE 1.x's modules that weigh and choose columns: HeteroFeatureBinning, HeteroFeatureSelection."""

from __future__ import annotations

from collections.abc import Mapping

from partyd.components.base import JsonObject
from partyd.dsl.parameters import ENCRYPTION, HOW_IT_RUNS, SAME_RESULT, columns
from partyd.dsl.rules import By, Inside, Left, Rule, To

FILTERS: Mapping[str, str] = {
    "manually": "manual",
    "iv_filter": "iv",
    "iv_value_thres": "iv",
    "iv_percentile": "iv",
    "iv_top_k": "iv",
    "statistic_filter": "statistics",
    "correlation_filter": "correlation",
    "vif_filter": "vif",
    "unique_value": "unique_value",
    "percentage_value": "percentage_value",
    "coefficient_of_variation_value_thres": "coefficient_of_variation",
    "outlier_cols": "outlier",
}
INIT_BIN_NUMS = 1000
"""How many fine bins 1.x begins with."""
EACH_ALONE = "is counted at each party alone; 1.x counts over the columns of all parties together"


def _binning_method(value: object, out: JsonObject) -> str:
    out["method"] = value
    if isinstance(value, str) and value.lower() == "optimal":
        out.setdefault("optimal_binning_param", {}).setdefault("init_bin_nums", INIT_BIN_NUMS)
    return ""


def _filters(value: object, out: JsonObject) -> str:
    listed = value if isinstance(value, list) else [value]
    out["method"] = list(dict.fromkeys(FILTERS[v] for v in listed if isinstance(v, str) and v in FILTERS))
    missing = [str(v)[:40] for v in listed if not (isinstance(v, str) and v in FILTERS)]
    return f"these filters have no counterpart, so more columns are kept: {', '.join(missing)}" if missing else ""


def _filter_type(value: object, out: JsonObject) -> str:
    out.setdefault("iv_param", {})["filter_type"] = value
    listed = value if isinstance(value, list) else [value]
    return EACH_ALONE if any(v in ("top_k", "top_percentile") for v in listed) else ""


def _best(filter_type: str) -> By:
    """Return the rule for a number of columns that are kept by their information value."""

    def put(value: object, out: JsonObject) -> str:
        out.setdefault("iv_param", {}).update(filter_type=filter_type, threshold=value)
        return EACH_ALONE

    return By(put)


def _for_each_host(value: object, out: JsonObject) -> str:
    if value is not None:
        out.setdefault("iv_param", {})["host_threshold"] = [value] if isinstance(value, list) else value
    return ""


def _federated(value: object, out: JsonObject) -> str:
    if isinstance(value, bool):
        out.setdefault("iv_param", {})["select_federated"] = not value
    return ""


def _kept(*path: str, names: tuple[str, ...]) -> Inside:
    return Inside({name: To((*path, name)) for name in names})


BINNING: Mapping[str, Rule] = {
    "method": By(_binning_method),
    "bin_num": To(("n_bins",)),
    "error": To(("relative_error",)),
    "adjustment_factor": To(("adjustment_factor",)),
    "local_only": To(("local_only",)),
    "skip_static": To(("skip_metrics",)),
    "bin_indexes": columns("bin_idx"),
    "bin_names": columns("bin_col"),
    "category_indexes": columns("category_idx"),
    "category_names": columns("category_col"),
    "split_points_by_col_name": To(("split_pt_dict",)),
    "split_points_by_index": Left("split points are given by column name; these are left out", (None, {})),
    "transform_param": Inside(
        {
            "transform_type": To(("transform_method",), {"bin_num": "bin_idx"}),
            "transform_cols": Left("every binned column is transformed", (-1, None)),
            "transform_names": Left("every binned column is transformed", (None, [])),
        }
    ),
    "compress_thres": Left(SAME_RESULT, (None, 10000)),
    "head_size": Left(SAME_RESULT, (None, 10000)),
    "optimal_binning_param": _kept(
        "optimal_binning_param",
        names=(*("metric_method", "min_bin_pct", "max_bin_pct", "init_bin_nums", "mixture", "init_bucket_method"),),
    ),
    "encrypt_param": ENCRYPTION["encrypt_param"],
    **HOW_IT_RUNS,
}
_IV: Mapping[str, Rule] = {
    **{name: To(("iv_param", name)) for name in ("metrics", "threshold", "take_high")},
    "filter_type": By(_filter_type),
    "host_thresholds": To(("iv_param", "host_threshold")),
    "select_federated": To(("iv_param", "select_federated")),
    "mul_class_merge_type": To(("iv_param", "mul_class_merge_type")),
}
SELECTION: Mapping[str, Rule] = {
    "filter_methods": By(_filters),
    "select_col_indexes": Left("columns are chosen by name; every column is looked at", (-1, None)),
    "select_names": columns("select_col"),
    "iv_param": Inside(_IV),
    "iv_value_param": Inside(
        {
            "value_threshold": To(("iv_param", "threshold")),
            "host_thresholds": By(_for_each_host),
            "local_only": By(_federated),
        }
    ),
    "iv_percentile_param": Inside({"percentile_threshold": _best("top_percentile"), "local_only": By(_federated)}),
    "iv_top_k_param": Inside({"k": _best("top_k"), "local_only": By(_federated)}),
    "statistic_param": Inside(
        {
            **{name: To(("statistic_param", name)) for name in ("metrics", "filter_type", "threshold", "take_high")},
            "host_thresholds": Left("every party filters by its own statistics, with the same threshold", (None,)),
            "select_federated": Left("every party filters by its own statistics", (True, None)),
        }
    ),
    "manually_param": Inside(
        {
            "filter_out_names": To(("manual_param", "filter_out_col")),
            "left_col_names": To(("manual_param", "left_col")),
            "filter_out_indexes": To(("manual_param", "filter_out_idx")),
            "left_col_indexes": To(("manual_param", "left_idx")),
        }
    ),
    "correlation_param": _kept("correlation_param", names=("sort_metric", "threshold", "select_federated")),
    "vif_param": Inside(
        {
            "threshold": To(("vif_param", "threshold")),
            "metrics": Left(SAME_RESULT, ("vif", ["vif"], None)),
            "filter_type": Left("columns are filtered by the threshold", ("threshold", ["threshold"], None)),
            "take_high": Left("columns of small factors are kept", (False, [False], None)),
            "host_thresholds": Left("every party filters by its own factors, with the same threshold", (None,)),
            "select_federated": Left("every party filters by its own factors", (True, [True], None)),
        }
    ),
    "unique_param": _kept("unique_param", names=("eps",)),
    "percentage_value_param": _kept("percentage_value_param", names=("upper_pct",)),
    "variance_coe_param": _kept("variance_coe_param", names=("value_threshold",)),
    "outlier_param": _kept("outlier_param", names=("percentile", "upper_threshold")),
    **{f"{n}_param": Left("this filter has no counterpart, so more columns are kept") for n in ("psi", "sbt")},
    "use_anonymous": To(("use_anonymous",)),
    **HOW_IT_RUNS,
}
