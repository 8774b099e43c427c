"""Cut each party's columns into bins and weigh them by the guest's label: FATE 2.2's component of this name.

Each party cuts its own columns: at quantiles, into equal widths (``bucket``), where the job says (``manual``), or into
fine bins that are joined for the best IV, KS, chi-square or Gini (``optimal``, of 1.x). Missing values have a bin of
their own, the last. WOE and IV of the hosts' bins come to the guest through encrypted labels
(`partyd.algorithms.label_sums`) and stay there. The label may have two classes, of which the larger value is the event,
or more, each against the rest; every row counts once, whatever its weight. ``local_only`` leaves the hosts' columns
out, ``skip_metrics`` all labels; then nothing is exchanged.

``transform_method`` writes bins' numbers or WOE into the output tables. A host has no WOE: its columns stay as they
are, as in FATE, unless ``host_woe`` is set for all parties. A prediction uses the trained bins, alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.label_sums import label_sums
from partyd.algorithms.label_sums_messages import (
    MOST_CLASSES,
    GuestLabels,
    GuestState,
    HostBins,
    HostState,
    cut_up,
    spans,
)
from partyd.algorithms.optimal_bins import kept_cuts
from partyd.components.base import Component, JsonObject, Kind, Port, Stage, TaskContext
from partyd.components.binning_cuts import Chosen, chosen, codes, cut
from partyd.components.binning_model import MODEL_TYPE, Bins, Sums, by_bin
from partyd.components.binning_parameters import HeteroFeatureBinningParams
from partyd.components.limits import Limits
from partyd.data.render import number
from partyd.data.schema import anonymous_names
from partyd.data.table import Table
from partyd.errors import BelowFloor, DataError
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
Vector = NDArray[np.float64]
Counts = NDArray[np.int64]
Params = HeteroFeatureBinningParams
S = TypeVar("S", GuestState, HostState)


async def run(context: TaskContext) -> None:
    """Bin the training table, or transform another with the trained bins."""
    params = context.params
    assert isinstance(params, HeteroFeatureBinningParams)
    if context.stage == "predict" or not context.has_input("train_data"):
        _transform(context, params, "test", Bins.read(context.read_model("input_model")))
        return
    table, me = context.read_table("train_data"), context.party.me
    context.limits.insist_on_rows(len(table))
    which = chosen(table, params, me)
    split_points = cut(table, which, params, me)
    fit = _fit_guest if me.role == GUEST else _fit_host
    model = await fit(context, params, table, which, split_points)
    context.write_model("output_model", model)
    for part in ("train", "test"):
        if context.has_input(f"{part}_data"):
            _transform(context, params, part, Bins.read(model))
    context.write_document("metric", {key: model["data"][key] for key in ("metrics_summary", "host_metrics_summary")})


def _transform(context: TaskContext, params: Params, part: str, bins: Bins) -> None:
    table = context.read_table(f"{part}_data")
    method = params.transform_method or bins.transform_method
    if method == "woe" and not bins.woe and bins.split_points:
        why = "host_woe is not set" if context.party.me.role == HOST else "the model has none"
        context.party.report.info(f"the columns stay as they are: no WOE is known here, for {why}")
    context.write_table(f"{part}_output_data", bins.transformed(table, method))


async def _fit_guest(
    context: TaskContext, params: Params, table: Table, which: Chosen, split_points: dict[str, Vector]
) -> JsonObject:
    """Weigh the own bins and the hosts', and return the model."""
    if params.skip_metrics:
        return _document(params, table, which, context.party.me, split_points, {})
    labels, coded = _labels(table, context.limits)
    if params.transform_method == "woe" and coded.classes > 1:
        raise DataError(f"the label has {coded.classes} classes and WOE is known for two; transform to bin_idx")
    sums = _own_sums(table, split_points, coded)
    if params.method == "optimal":
        split_points = _joined(sums, split_points, which, params)
        sums = _own_sums(table, split_points, coded)
    summary = sums.summary(labels, params.adjustment_factor)
    woe = {}
    if coded.classes == 1:
        woe = {name: w.woe for name, (_, w) in sums.weights(0, params.adjustment_factor).items()}
    hosts: JsonObject = {}
    if not params.local_only:
        state = await _exchanged(context, params, coded, GuestState)
        for address, host in state.hosts.items():
            theirs = Sums(host.names, host.bins, host.rows, host.events)
            hosts[address.partition("/")[0]] = theirs.summary(labels, params.adjustment_factor)
    shown = sum(len(summary["iv"]) for summary in hosts.values())
    context.party.report.info(f"weighed {len(sums.names)} own columns and {shown} of hosts by {len(table)} rows")
    told = {"metrics_summary": summary, "host_metrics_summary": hosts or None, "labels": [number(v) for v in labels]}
    return _document(params, table, which, context.party.me, split_points, woe, **told)


async def _fit_host(
    context: TaskContext, params: Params, table: Table, which: Chosen, split_points: dict[str, Vector]
) -> JsonObject:
    """Let the guest weigh this host's bins, and return the model of what is known here: cuts, perhaps WOE."""
    me, woe = context.party.me, dict[str, Vector]()
    if params.skip_metrics or params.local_only:
        if params.method == "optimal":
            raise DataError("a host's bins are joined by the guest's labels; choose another method, or not local_only")
        return _document(params, table, which, me, split_points, woe)
    data = _host_bins(table, which, split_points, params, me)
    _insist_on_full_bins(data, context.limits)
    state = await _exchanged(context, params, data, HostState)
    if state.kept is not None:
        flags = cut_up(state.kept, data.bins[: data.joins] - 1)
        left = zip(split_points.items(), flags, strict=False)
        split_points = split_points | {name: points[keep == 1] for (name, points), keep in left}
    if state.woe is not None:
        bins = np.array([len(points) + 1 for points in split_points.values()], dtype=np.int64)
        woe = {name: state.woe[cells] for name, cells in zip(split_points, spans(bins), strict=True)}
    return _document(params, table, which, me, split_points, woe)


async def _exchanged(context: TaskContext, params: Params, data: GuestLabels | HostBins, kind: type[S]) -> S:
    context.limits.insist_on_key(params.key_bits)
    return await context.driver.run("labels", label_sums, params, data, kind)


def _labels(table: Table, limits: Limits) -> tuple[list[float], GuestLabels]:
    """Return the classes in order and each row's; raises DataError for a label that has none or too many."""
    label = np.asarray(table.require_label())
    found, coded, counts = np.unique(label, return_inverse=True, return_counts=True)
    if not bool(np.all(np.isfinite(found))):
        raise DataError("a row has no label; drop the rows without one before the columns are binned")
    if not 2 <= len(found) <= MOST_CLASSES:
        raise DataError(f"the label has {len(found)} values, not 2 to {MOST_CLASSES} classes; is it the right column?")
    if counts.min() < limits.min_batch:
        raise BelowFloor(
            f"a class of the label has fewer rows than the {limits.min_batch} of which a policy lets sums be seen; "
            "join it with another class or ask the owner of that policy to lower min_batch",
            f"the smallest class has {counts.min()} rows",
        )
    classes = len(found) if len(found) > 2 else 1
    return found.tolist(), GuestLabels(coded.astype(np.int64), classes)


def _own_sums(table: Table, split_points: Mapping[str, Vector], labels: GuestLabels) -> Sums:
    """Return rows and events of the guest's own bins."""
    bins, rows, events = codes(table, split_points), [], []
    counts = np.array([len(points) + 1 for points in split_points.values()], dtype=np.int64)
    for j, count in enumerate((counts + 1).tolist()):
        rows.append(np.bincount(bins[:, j], minlength=count))
        flat = np.bincount(labels.codes * count + bins[:, j], minlength=max(labels.classes, 2) * count)
        each = flat.reshape(-1, count)
        events.append(each[1:].T if labels.classes == 1 else each.T)
    none = np.zeros((0, labels.classes), dtype=np.int64)
    return Sums(tuple(split_points), counts, np.concatenate([none[:, 0], *rows]), np.concatenate([none, *events]))


def _joined(sums: Sums, split_points: Mapping[str, Vector], which: Chosen, params: Params) -> dict[str, Vector]:
    """Return the cuts that remain of the guest's fine ones; categories stay as they are."""
    found = {}
    for (name, points), cells in zip(split_points.items(), spans(sums.bins), strict=True):
        fine = slice(cells.start, cells.stop - 1)
        optimal, adjustment = params.optimal_binning_param, params.adjustment_factor
        kept = kept_cuts(sums.events[fine], sums.rows[fine], params.n_bins, optimal, adjustment)
        found[name] = points if name in which.category_col else points[kept]
    return found


def _host_bins(
    table: Table, which: Chosen, split_points: Mapping[str, Vector], params: Params, me: Address
) -> HostBins:
    known = dict(zip(table.schema.features, anonymous_names(table.schema, me), strict=True))
    return HostBins(
        tuple(known[name] for name in split_points),
        codes(table, split_points),
        np.array([len(points) + 1 for points in split_points.values()], dtype=np.int64),
        joins=len(which.bin_col) if params.method == "optimal" else 0,
        wants_woe=params.host_woe and params.transform_method == "woe",
    )


def _insist_on_full_bins(data: HostBins, limits: Limits) -> None:
    """Insist on as many rows in every bin as this party's policy wants in what others see sums of."""
    if not limits.min_batch:
        return
    for j, bins in enumerate(data.bins.tolist()):
        rows = np.bincount(data.codes[:, j], minlength=bins + 1)
        if rows[rows > 0].min(initial=len(data.codes)) < limits.min_batch:
            raise BelowFloor(
                f"a bin has fewer rows than the {limits.min_batch} of which a policy lets sums be seen; lower n_bins, "
                "leave columns with rare values out of bin_col, or ask the owner of that policy to lower min_batch",
                f"a bin of {data.names[j]} has {rows[rows > 0].min()} rows",
            )


def _document(
    params: Params,
    table: Table,
    which: Chosen,
    me: Address,
    split_points: Mapping[str, Vector],
    woe: Mapping[str, Vector],
    **told: object,
) -> JsonObject:
    summaries: JsonObject = {"metrics_summary": None, "host_metrics_summary": None, "labels": None}
    data: JsonObject = {
        "method": params.method,
        "bin_col": list(which.bin_col),
        "category_col": list(which.category_col),
        "split_pt_dict": {name: by_bin(points) for name, points in split_points.items()},
        "bin_idx_dict": None,
        "bin_count_dict": {name: len(points) + 1 for name, points in split_points.items()},
        "train_metrics_summary": None,
        "train_host_metrics_summary": None,
        "woe_dict": {name: by_bin(values) for name, values in woe.items()} or None,
        "adjustment_factor": params.adjustment_factor,
        "column_anonymous_map": dict(zip(table.schema.features, anonymous_names(table.schema, me), strict=True)),
    }
    meta: JsonObject = {
        "method": params.method,
        "metrics": ["iv"] if told else [],
        "local_only": params.local_only,
        "bin_col": list(which.bin_col),
        "category_col": list(which.category_col),
        "transform_method": params.transform_method or "none",
        "model_type": MODEL_TYPE,
    }
    return {"data": data | summaries | told, "meta": meta}


TRAINS: tuple[Stage, ...] = ("train", "default")
hetero_feature_binning = Component(
    "hetero_feature_binning",
    BOTH,
    HeteroFeatureBinningParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True, needed=("train",), stages=TRAINS),
        Port("test_data", Kind.DATA, BOTH, optional=True, needed=("predict",)),
        Port("input_model", Kind.MODEL, BOTH, optional=True, needed=("predict",)),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, BOTH, optional=True, stages=TRAINS),
        Port("test_output_data", Kind.DATA, BOTH, optional=True),
        Port("output_model", Kind.MODEL, BOTH, optional=True, stages=TRAINS),
    ),
    algorithms=(label_sums,),
    alone_if=(("local_only", True),),
    agreed=("local_only", "skip_metrics", "host_woe", "he_param"),
)
