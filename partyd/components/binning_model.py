"""The model of hetero_feature_binning, in FATE 2.2's shape: cuts, and what is known of each bin.

``metrics_summary`` has ``event_count``, ``woe``, ``iv`` and their kin by column and bin, ``host_metrics_summary`` the
same for each host's columns under the names that peers know. Bins are numbered from 0, the missing after the others and
only where there are some. With more than two classes ``iv`` is the mean over the classes, and ``classes`` has the whole
for each class against the rest. Of 1.x is ``optimal``: for joined bins, what the criterion was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.label_sums_messages import spans
from partyd.algorithms.woe import Weights, is_monotonic, weigh
from partyd.components.base import JsonObject
from partyd.components.binning_cuts import numbered
from partyd.components.columns import column, insist_on_columns
from partyd.data.render import number
from partyd.data.table import Table
from partyd.errors import TaskFailed

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]
MODEL_TYPE = "binning"


@dataclass(frozen=True)
class Sums:
    """Rows and events (cells x classes) of the bins of some columns, one after another, the missing last in each."""

    names: Sequence[str]
    bins: Counts
    rows: Counts
    events: Counts

    def summary(self, labels: Sequence[float], adjustment: float) -> JsonObject:
        """Return FATE's metrics_summary."""
        if self.events.shape[1] == 1:
            return self._of_class(0, adjustment)
        classes = {number(label): self._of_class(k, adjustment) for k, label in enumerate(labels)}
        each = [found["iv"] for found in classes.values()]
        return {"iv": {name: float(np.mean([iv[name] for iv in each])) for name in self.names}, "classes": classes}

    def weights(self, class_: int, adjustment: float) -> dict[str, tuple[slice, Weights]]:
        """Return the weights of each column's bins, and where they stand."""
        found = {}
        for name, cells in zip(self.names, spans(self.bins), strict=True):
            events, rows = self.events[cells, class_], self.rows[cells]
            found[name] = cells, weigh(events, rows, int(events.sum()), int(rows.sum()), adjustment)
        return found

    def _of_class(self, class_: int, adjustment: float) -> JsonObject:
        summary: JsonObject = {
            key: {}
            for key in (
                *("event_count", "non_event_count", "event_rate", "non_event_rate"),
                *("woe", "iv_array", "is_monotonic", "iv"),
            )
        }
        for name, (cells, weights) in self.weights(class_, adjustment).items():
            rows, events = self.rows[cells], self.events[cells, class_]
            shown = len(rows) if rows[-1] else len(rows) - 1
            arrays = {"event_count": events, "non_event_count": rows - events, "event_rate": weights.event_rate}
            arrays |= {"non_event_rate": weights.non_event_rate, "woe": weights.woe, "iv_array": weights.iv}
            for key, values in arrays.items():
                summary[key][name] = by_bin(values[:shown])
            summary["is_monotonic"][name] = is_monotonic(weights.woe[:-1])
            summary["iv"][name] = float(weights.iv.sum())
        return summary


def by_bin(values: NDArray[np.generic]) -> JsonObject:
    """Return an array as FATE writes it: by the number of the bin."""
    return {str(i): value for i, value in enumerate(values.tolist())}


@dataclass(frozen=True)
class Bins:
    """What a model says of the columns that it transforms: their cuts, and the WOE of each bin where it is known."""

    split_points: Mapping[str, Vector]
    woe: Mapping[str, Vector]
    transform_method: str

    @classmethod
    def read(cls, model: JsonObject) -> Bins:
        """Return what a model holds; raises TaskFailed for one of another component, or one that is broken."""
        meta, data = model.get("meta"), model.get("data")
        if not isinstance(meta, dict) or meta.get("model_type") != MODEL_TYPE or not isinstance(data, dict):
            raise TaskFailed("the input model is not one of hetero_feature_binning; connect its output_model")
        try:
            points = {name: _array(data["split_pt_dict"][name]) for name in meta["bin_col"]}
            woe = {name: _array(values) for name, values in (data["woe_dict"] or {}).items() if name in points}
            if any(len(woe.get(name, ())) not in (0, len(cuts) + 2) for name, cuts in points.items()):
                raise ValueError("WOE of another number of bins")
            return cls(points, woe, str(meta["transform_method"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TaskFailed(f"the binning model cannot be read ({error}); train it again") from error

    def transformed(self, table: Table, method: str) -> Table:
        """Return ``table`` with bins' numbers or WOE for its binned columns; columns without a known WOE stay."""
        insist_on_columns(table, tuple(self.split_points))
        if method == "none":
            return table
        features = np.array(table.features, dtype=np.float64)
        for name, points in self.split_points.items():
            bins = numbered(column(table, name), points)
            if method == "bin_idx" or name in self.woe:
                j = table.schema.features.index(name)
                features[:, j] = bins if method == "bin_idx" else self.woe[name][bins]
        return table.with_features(table.schema.features, features)


def _array(given: JsonObject) -> Vector:
    return np.array([float(given[str(i)]) for i in range(len(given))], dtype=np.float64)
