"""The metrics that evaluation knows, by FATE's names.

A metric takes labels and predictions (`Judged`) and gives entries: ``{"metric": name, "val": number or columns}``. One
that gives several (ks and its table) stands in the document as a list of them, as in FATE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import curves, metrics
from partyd.algorithms.curves import Ranked
from partyd.components.base import JsonObject
from partyd.errors import DataError

Vector = NDArray[np.float64]
Entry = JsonObject
Judge = Callable[["Judged"], list[Entry]]
Measure = Callable[[Vector, Vector], float]
Tabulate = Callable[[Ranked], Mapping[str, object]]
THRESHOLD = 0.5


@dataclass(frozen=True)
class Judged:
    """Labels and predictions of the same rows; what several metrics need is computed once."""

    label: Vector
    predicted: Vector

    @cached_property
    def ranked(self) -> Ranked:
        """The scores, sorted by class."""
        return Ranked.of(self.label, self.predicted)

    @cached_property
    def roc(self) -> metrics.Roc:
        """The ROC curve."""
        return metrics.roc(self.label, self.predicted)


def entry(name: str, value: object) -> Entry:
    """Return one result."""
    return {"metric": name, "val": value}


def _number(name: str, measure: Measure) -> Judge:
    return lambda rows: [entry(name, float(measure(rows.label, rows.predicted)))]


def _curve(name: str, table: Tabulate) -> Judge:
    return lambda rows: [entry(name, table(rows.ranked))]


def _auc(rows: Judged) -> list[Entry]:
    return [entry("auc", metrics.area(rows.roc))]


def _ks(rows: Judged) -> list[Entry]:
    return [entry("ks", metrics.distance(rows.roc)[0]), entry("ks_table", curves.ks_table(rows.ranked))]


def _roc(rows: Judged) -> list[Entry]:
    curve = metrics.thinned(rows.roc)
    return [entry("roc", {"fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()})]


def _counted(name: str) -> Measure:
    """Return a metric of the counts where a score above one half is positive."""

    def measure(label: Vector, score: Vector) -> float:
        counts = metrics.confusion(label, (score > THRESHOLD).astype(np.float64), THRESHOLD)
        return float(getattr(counts, name))

    return measure


def _multi(name: str) -> Measure:
    return lambda label, predicted: metrics.multiclass(label, predicted)[name]


def _regression(name: str) -> Measure:
    return lambda label, predicted: metrics.regression(label, predicted)[name]


def _judges() -> dict[str, Judge]:
    judges: dict[str, Judge] = {"auc": _auc, "ks": _ks, "roc": _roc}
    tables: dict[str, Tabulate] = {
        "confusion_matrix": curves.confusion_table,
        "gain": curves.gain,
        "lift": curves.lift,
        "biclass_precision_table": curves.precision_table,
        "biclass_recall_table": curves.recall_table,
        "biclass_accuracy_table": curves.accuracy_table,
        "fscore_table": curves.f_score_table,
    }
    judges |= {name: _curve(name, table) for name, table in tables.items()}
    measures: dict[str, Measure] = {"log_loss": metrics.log_loss}
    for ours, theirs in {
        "accuracy": "accuracy",
        "precision": "precision",
        "recall": "recall",
        "f1": "f1_score",
    }.items():
        measures |= {ours: _counted(ours), f"binary_{theirs}": _counted(ours), f"multi_{theirs}": _multi("accuracy")}
    measures |= {f"macro_{name}": _multi(name) for name in ("precision", "recall")}
    for name in ("mse", "rmse", "mae", "r2", "explained_variance"):
        measures["r2_score" if name == "r2" else name] = _regression(name)
    return judges | {name: _number(name, measure) for name, measure in measures.items()}


JUDGES: Mapping[str, Judge] = _judges()
"""Every metric of one set of rows. Of single labels, micro averages of precision, recall and F1 are the accuracy."""
STABILITY = "psi"
"""The one metric that compares two sets of rows: the scores of training and of validation."""
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "binary": (
        "auc", "ks", "confusion_matrix", "gain", "lift", "biclass_precision_table", "biclass_recall_table",
        "biclass_accuracy_table", "fscore_table", "roc", "binary_accuracy", "binary_precision", "binary_recall",
        "binary_f1_score",
    ),
    "multi": ("multi_accuracy", "multi_precision", "multi_recall", "macro_precision", "macro_recall"),
    "regression": ("rmse", "mae", "mse", "r2_score", "explained_variance"),
}  # fmt: skip
"""What a setting asks for: FATE's metrics first, then more."""


def judge(names: Iterable[str], label: Vector, predicted: Vector) -> list[object]:
    """Return the results of each metric; raises DataError for rows that cannot be judged so."""
    rows = Judged(label, predicted)
    found = [JUDGES[name](rows) for name in names if name != STABILITY]
    return [entries if len(entries) > 1 else entries[0] for entries in found]


def compare(scores: Mapping[str, Vector], expected: str, actual: str) -> list[Entry]:
    """Return the stability of the scores of ``actual`` against those of ``expected``."""
    if expected not in scores or actual not in scores:
        has = ", ".join(scores)
        raise DataError(f"psi compares the scores of {expected} and {actual}; this table has {has} alone")
    stability = curves.stability(scores[expected], scores[actual])
    return [entry("psi_table", stability.table), entry("total_psi", stability.total)]


def numbers(results: Iterable[object]) -> dict[str, float]:
    """Return the results that are single numbers, by name."""
    flat = [one for result in results for one in (result if isinstance(result, list) else [result])]
    return {one["metric"]: one["val"] for one in flat if isinstance(one, dict) and isinstance(one["val"], float)}
