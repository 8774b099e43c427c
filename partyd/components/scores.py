"""How predictions stand in a table, and what is said about them.

A result table keeps the ids and the label of the rows that were scored. Its features are ``predict_score``,
``predict_result``, for more than two classes the score of each, and which rows they are (`partyd.data.render`). The
guest alone has one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import metrics
from partyd.components.base import JsonObject
from partyd.data.render import DETAIL, PREDICT_RESULT, PREDICT_SCORE, ROW_TYPES, TYPE, number
from partyd.data.table import Table

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
TRAIN, VALIDATE, TEST = ROW_TYPES


def result_table(rows: Table, score: Vector, threshold: float, kind: str) -> Table:
    """Return the result table of ``rows``, which are of ``kind``: the class is 1 where the score is above threshold."""
    result = (score > threshold).astype(np.float64)
    of_kind = np.full(len(rows), float(ROW_TYPES.index(kind)))
    return _bare(rows).with_features((PREDICT_SCORE, PREDICT_RESULT, TYPE), np.column_stack([score, result, of_kind]))


def class_table(rows: Table, scores: Matrix, classes: Sequence[float], kind: str) -> Table:
    """Return the result table of rows scored once for each class: the class of the highest score."""
    best = np.argmax(scores, axis=1)
    of_kind = np.full(len(rows), float(ROW_TYPES.index(kind)))
    names = (PREDICT_SCORE, PREDICT_RESULT, *(f"{DETAIL}{number(c)}" for c in classes), TYPE)
    columns = [scores.max(axis=1), np.asarray(classes, dtype=np.float64)[best], scores, of_kind]
    return _bare(rows).with_features(names, np.column_stack(columns))


def number_table(rows: Table, predicted: Vector, kind: str) -> Table:
    """Return the result table of rows for which a number was predicted: score and result are that number."""
    of_kind = np.full(len(rows), float(ROW_TYPES.index(kind)))
    names = (PREDICT_SCORE, PREDICT_RESULT, f"{DETAIL}label", TYPE)
    return _bare(rows).with_features(names, np.column_stack([predicted, predicted, predicted, of_kind]))


def _bare(rows: Table) -> Table:
    """Return the rows without their weights."""
    schema = rows.schema.model_copy(update={"weight": None})
    return Table(schema, rows.ids, rows.features, rows.match_ids, rows.label)


def binary_metrics(label: Vector, score: Vector, threshold: float = 0.5) -> JsonObject:
    """Return every binary metric by name; ``roc`` holds the curve, thinned for drawing."""
    statistic, at = metrics.ks(label, score)
    result, curve = (score > threshold).astype(np.float64), metrics.thinned(metrics.roc(label, score))
    counts = metrics.confusion(label, result)
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
