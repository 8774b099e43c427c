"""The metrics that evaluation knows, by FATE's names: FATE 2.2's, those of 1.x by their 1.x names, and more.

A metric takes labels and predictions (`Judged`) and gives entries. One that gives several (ks and its table) stands in
the document as a list of them, as in FATE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import curves, metrics, precision_recall
from partyd.algorithms.curves import Ranked
from partyd.components.judged import Entry, Judge, Judged, entry, single
from partyd.components.judging_classes import BY_LABEL, BY_POINTS, MULTI
from partyd.errors import DataError

Vector = NDArray[np.float64]
Tabulate = Callable[[Ranked], Mapping[str, object]]
THRESHOLD = 0.5


def _curve(name: str, table: Tabulate) -> Judge:
    return lambda rows: [entry(name, table(rows.ranked))]


def _auc(rows: Judged) -> list[Entry]:
    return [entry("auc", metrics.area(rows.roc))]


def _ks(rows: Judged) -> list[Entry]:
    return [entry("ks", metrics.distance(rows.roc)[0]), entry("ks_table", curves.ks_table(rows.ranked))]


def _roc(rows: Judged) -> list[Entry]:
    curve = metrics.thinned(rows.roc)
    return [entry("roc", {"fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()})]


def _precision_recall(rows: Judged) -> list[Entry]:
    return [entry("precision_recall", rows.precision_recall.columns())]


def _counted(name: str) -> Callable[[Judged], float]:
    """Return a metric of the counts where a score above one half is positive."""

    def measure(rows: Judged) -> float:
        above = np.where(rows.predicted > THRESHOLD, 1.0, np.where(np.isnan(rows.predicted), np.nan, 0.0))
        return float(getattr(metrics.confusion(rows.label, above, THRESHOLD), name))

    return measure


def _regression(name: str) -> Callable[[Judged], float]:
    return lambda rows: metrics.regression(rows.label, rows.predicted)[name]


def _judges() -> dict[str, Judge]:
    judges: dict[str, Judge] = {"auc": _auc, "ks": _ks, "roc": _roc, "precision_recall": _precision_recall}
    tables: dict[str, Tabulate] = {
        "confusion_matrix": curves.confusion_table,
        "gain": curves.gain,
        "lift": curves.lift,
        "biclass_precision_table": curves.precision_table,
        "biclass_recall_table": curves.recall_table,
        "biclass_accuracy_table": curves.accuracy_table,
        "fscore_table": curves.f_score_table,
        "quantile_pr": precision_recall.at_quantiles,
    }
    measures: dict[str, Callable[[Judged], float]] = {
        "average_precision": lambda rows: rows.precision_recall.average,
        "log_loss": lambda rows: metrics.log_loss(rows.label, rows.predicted),
        "mean_squared_log_error": lambda rows: metrics.squared_log_error(rows.label, rows.predicted),
    }
    for ours, fates in {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "f1_score"}.items():
        measures |= {ours: _counted(ours), f"binary_{fates}": _counted(ours)}
    for name in ("mse", "rmse", "mae", "median_absolute_error", "r2", "explained_variance"):
        measures["r2_score" if name == "r2" else name] = _regression(name)
    judges |= {name: _curve(name, table) for name, table in tables.items()}
    judges |= {name: single(name, measure) for name, measure in measures.items()}
    return judges | dict(MULTI) | dict(BY_LABEL) | dict(BY_POINTS)


JUDGES: Mapping[str, Judge] = _judges()
"""Every metric of one set of rows."""
STABILITY = "psi"
"""The one metric that compares two sets of rows: the scores of training and of validation."""
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "binary": (
        "auc", "ks", "confusion_matrix", "gain", "lift", "biclass_precision_table", "biclass_recall_table",
        "biclass_accuracy_table", "fscore_table", "roc", "precision_recall", "average_precision", "binary_accuracy",
        "binary_precision", "binary_recall", "binary_f1_score",
    ),
    "multi": (
        "multi_accuracy", "multi_precision", "multi_recall", "macro_precision", "macro_recall", "macro_f1_score",
        "class_report", "multi_confusion_matrix",
    ),
    "regression": ("rmse", "mae", "mse", "r2_score", "explained_variance", "median_absolute_error"),
    "clustering": (*BY_LABEL, *BY_POINTS),
}  # fmt: skip
"""What a setting asks for: FATE's metrics first, then more."""
ALIASES: Mapping[str, str] = {
    "mean_absolute_error": "mae", "l1": "mae", "regression_l1": "mae",
    "mean_squared_error": "mse", "l2": "mse", "regression_l2": "mse", "regression": "mse",
    "root_mean_squared_error": "rmse", "l2_root": "rmse",
    "msle": "mean_squared_log_error",
    "r2": "r2_score",
    "acc": "accuracy",
    "confusion_mat": "confusion_matrix",
    "f1_score": "fscore_table",
    "dbi": "davies_bouldin_index",
    "fmi": "fowlkes_mallows_score",
    "ri": "adjusted_rand_score",
    "jaccard": "jaccard_similarity_score",
}  # fmt: skip
"""Other names that FATE 1.x has for a metric."""
MEANT: Mapping[str, Mapping[str, str]] = {
    "multi": {
        "accuracy": "multi_accuracy",
        "precision": "class_report",
        "recall": "class_report",
        "fscore_table": "class_report",
    }
}
"""What FATE 1.x's names mean in a setting, where they do not mean what they say."""


def judge(names: Iterable[str], rows: Judged) -> list[object]:
    """Return the results of each metric; raises DataError for rows that cannot be judged so."""
    found = [JUDGES[name](rows) for name in names if name != STABILITY]
    return [entries if len(entries) > 1 else entries[0] for entries in found]


def compare(parts: Mapping[str, Judged], expected: str, actual: str) -> list[Entry]:
    """Return the stability of the scores of ``actual`` against those of ``expected``."""
    if expected not in parts or actual not in parts:
        has = ", ".join(parts)
        raise DataError(f"psi compares the scores of {expected} and {actual}; this table has {has} alone")
    first, second = parts[expected], parts[actual]
    labels = None if first.known is None or second.known is None else (first.known, second.known)
    stability = curves.stability(first.predicted, second.predicted, labels)
    return [entry("psi_table", stability.table), entry("total_psi", stability.total)]


def numbers(results: Iterable[object]) -> dict[str, float]:
    """Return the results that are single numbers, by name."""
    flat = [one for result in results for one in (result if isinstance(result, list) else [result])]
    return {one["metric"]: one["val"] for one in flat if isinstance(one, dict) and isinstance(one["val"], float)}
