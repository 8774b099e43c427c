"""The metrics of classes and of clusters that evaluation knows, by FATE's names.

Of single labels the micro averages of precision, recall and F1, which are FATE 2.2's ``multi_`` metrics, are the
accuracy. ``class_report`` and ``multi_confusion_matrix`` tell the classes apart. Clusters are judged against labels,
and by the points where the table holds them.
"""

from __future__ import annotations

from collections.abc import Mapping

from partyd.algorithms import clustering
from partyd.algorithms.contingency import ByClass, accuracy
from partyd.components.judged import Entry, Judge, Judged, entry, single


def _accuracy(rows: Judged) -> float:
    return accuracy(rows.confusion)


def _macro(name: str) -> Judge:
    ours = name.removesuffix("_score")
    return single(f"macro_{name}", lambda rows: ByClass.of(rows.confusion).macro(ours))


def _weighted(name: str) -> Judge:
    ours = name.removesuffix("_score")
    return single(f"weighted_{name}", lambda rows: ByClass.of(rows.confusion).weighted(ours))


def _report(rows: Judged) -> list[Entry]:
    by = ByClass.of(rows.confusion)
    columns = {
        "label": by.classes.tolist(),
        "precision": by.precision.tolist(),
        "recall": by.recall.tolist(),
        "f1_score": by.f1.tolist(),
        "support": by.support.tolist(),
    }
    return [entry("class_report", columns)]


def _matrix(rows: Judged) -> list[Entry]:
    found = rows.confusion
    return [entry("multi_confusion_matrix", {"label": found.labels.tolist(), "matrix": found.counts.tolist()})]


def _contingency(rows: Judged) -> list[Entry]:
    found = rows.contingency
    value = {
        "true_label": found.labels.tolist(),
        "predicted_label": found.predictions.tolist(),
        "result_table": found.counts.tolist(),
    }
    return [entry("contingency_matrix", value)]


def _distances(rows: Judged) -> list[Entry]:
    found = rows.clusters
    value = {
        "cluster_index": found.clusters.tolist(),
        "radius": found.max_radius.tolist(),
        "nearest_cluster": found.nearest().tolist(),
    }
    return [entry("distance_measure", value)]


AVERAGED = ("precision", "recall", "f1_score")
MULTI: Mapping[str, Judge] = {
    **{f"multi_{name}": single(f"multi_{name}", _accuracy) for name in ("accuracy", *AVERAGED)},
    **{f"macro_{name}": _macro(name) for name in AVERAGED},
    **{f"weighted_{name}": _weighted(name) for name in AVERAGED},
    "class_report": _report,
    "multi_confusion_matrix": _matrix,
}
BY_LABEL: Mapping[str, Judge] = {
    "jaccard_similarity_score": single("jaccard_similarity_score", lambda rows: clustering.jaccard(rows.confusion)),
    "fowlkes_mallows_score": single("fowlkes_mallows_score", lambda rows: clustering.fowlkes_mallows(rows.contingency)),
    "adjusted_rand_score": single("adjusted_rand_score", lambda rows: clustering.adjusted_rand(rows.contingency)),
    "contingency_matrix": _contingency,
}
BY_POINTS: Mapping[str, Judge] = {
    "davies_bouldin_index": single("davies_bouldin_index", lambda rows: rows.clusters.davies_bouldin()),
    "distance_measure": _distances,
}
