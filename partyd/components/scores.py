"""How predictions stand in a table, and what is said about them.

A result table keeps the ids and the label of the rows that were scored; its features are ``predict_score`` (a
probability) and ``predict_result`` (0 or 1: whether the score reaches the threshold). The guest alone has one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import metrics
from partyd.components.base import JsonObject
from partyd.data.table import Table

Vector = NDArray[np.float64]
PREDICT_SCORE = "predict_score"
PREDICT_RESULT = "predict_result"


def result_table(rows: Table, score: Vector, threshold: float) -> Table:
    """Return the result table of ``rows``."""
    result = (score >= threshold).astype(np.float64)
    return rows.with_features((PREDICT_SCORE, PREDICT_RESULT), np.column_stack([score, result]))


def binary_metrics(label: Vector, score: Vector, threshold: float = 0.5) -> JsonObject:
    """Return every binary metric by name; ``roc`` holds the curve, thinned for drawing."""
    statistic, at = metrics.ks(label, score)
    counts, curve = metrics.confusion(label, score, threshold), metrics.thinned(metrics.roc(label, score))
    document: JsonObject = {
        "auc": metrics.auc(label, score),
        "ks": statistic,
        "ks_threshold": min(at, float(score.max())),
        "accuracy": counts.accuracy,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "threshold": threshold,
        "confusion": {
            "tp": counts.true_positive,
            "fp": counts.false_positive,
            "tn": counts.true_negative,
            "fn": counts.false_negative,
        },
        "roc": {"fpr": curve.fpr.tolist(), "tpr": curve.tpr.tolist()},
    }
    if bool(np.all((score >= 0) & (score <= 1))):
        document["log_loss"] = metrics.log_loss(label, score)
    return document
