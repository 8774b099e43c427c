"""Choose columns by filters, one after another: FATE 2.2's component of this name, with the filters of FATE 1.x.

Every party filters its own columns by its own lists (``manual``), statistics and values. What goes by the label is
decided by the guest: ``iv`` by the information values that hetero_feature_binning left in its model, ``correlation`` by
these and by what feature_correlation found. For those a host tells which columns it still has, and the guest answers
which of them stay (`partyd.algorithms.column_choice`); with ``select_federated`` off hosts keep theirs.

``iv``, ``statistics`` (of the component statistics), ``correlation`` and ``vif`` read models at ``input_models``. The
host's thresholds are the guest's where nothing is said, and top_k and top_percentile are counted for each party alone,
as in FATE 2.2. Correlations between columns of two hosts, or of one host among each other, are not known to the guest;
``vif`` looks at those of each party. With ``keep_one`` the best column in question stays where a filter would leave
none. A prediction drops what the training dropped and exchanges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from partyd.algorithms.column_choice import (
    Chooser,
    ColumnChoiceParams,
    GuestChoice,
    HostChoice,
    Offered,
    column_choice,
)
from partyd.components.base import Component, JsonObject, Kind, Port, Stage, TaskContext
from partyd.components.columns import positioned
from partyd.components.own_columns import own_named
from partyd.components.selection_filters import (
    Column,
    Verdict,
    by_correlation,
    by_inflation,
    by_rules,
    by_values,
    manual,
)
from partyd.components.selection_parameters import HeteroFeatureSelectionParams
from partyd.data.schema import anonymous_names
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
MODEL_TYPE = "selection"
MODELS = {
    "iv": "binning",
    "statistics": "statistics",
    "correlation": "feature_correlation",
    "vif": "feature_correlation",
}
MERGES: Mapping[str, Callable[[list[float]], Any]] = {"average": np.mean, "max": np.max, "min": np.min}


@dataclass
class Applied:
    """What one filter did, for the model: own columns by name, hosts' by party id and the names that peers know."""

    method: str
    own: Verdict
    hosts: dict[str, Verdict] = field(default_factory=dict)


async def run(context: TaskContext) -> None:
    """Select columns of the training table, or of another as the model says."""
    params = context.params
    assert isinstance(params, HeteroFeatureSelectionParams)
    if context.stage == "predict" or not context.has_input("train_data"):
        table = context.read_table("test_data")
        context.write_table("test_output_data", without(table, dropped(context.read_model("input_model"))))
        return
    table, me = context.read_table("train_data"), context.party.me
    context.limits.insist_on_rows(len(table))
    selection = Selection(context, params, table)
    for i, method in enumerate(params.method):
        await selection.apply(i, method)
        context.party.report.info(f"{method}: {len(selection.left)} of {len(selection.looked_at)} columns stay")
    model = selection.document(me)
    context.write_model("train_output_model", model)
    for part in ("train", "test"):
        if context.has_input(f"{part}_data"):
            context.write_table(f"{part}_output_data", without(context.read_table(f"{part}_data"), dropped(model)))
    context.write_document("metric", model["data"])


class Selection:
    """The filters of one party, in their order."""

    def __init__(self, context: TaskContext, params: HeteroFeatureSelectionParams, table: Table) -> None:
        self._context, self._params, self._table, self._me = context, params, table, context.party.me
        self._models = _by_type(context.read_models("input_models")) if context.has_input("input_models") else {}
        names = params.select_col
        self.looked_at = table.schema.features
        if names is not None:
            self.looked_at = own_named(table, names, self._me, "select_col", anonymous=params.use_anonymous)
        self.left = self.looked_at
        self.applied: list[Applied] = []
        self._anonymous = dict(zip(table.schema.features, anonymous_names(table.schema, self._me), strict=True))

    async def apply(self, position: int, method: str) -> None:
        """Apply the next filter."""
        iv, correlation = self._params.iv_param, self._params.correlation_param
        federated = {"iv": iv.select_federated, "correlation": correlation.select_federated}
        if method not in federated:
            done = Applied(method, self._by_itself(method))
        elif self._me.role == HOST:
            done = Applied(method, await self._told(position, method, federated=federated[method]))
        else:
            done = await self._decided(position, method, federated=federated[method])
        self.applied.append(done)
        self.left = tuple(name for name, stays in done.own.stays.items() if stays)

    def _by_itself(self, method: str) -> Verdict:
        """Return the verdict of a filter that needs no other party."""
        params, left = self._params, self.left
        if method == "manual":
            return self._manual()
        if method == "statistics":
            known = _transposed(self._model(method)["data"]["metrics_summary"])
            return by_rules(left, params.statistic_param.rules(), known, keep_one=params.keep_one)
        if method == "vif":
            local = self._model(method)["data"]["local_corr"]
            if any(name not in local for name in left):
                raise DataError("feature_correlation left out columns that vif looks at; name the others in select_col")
            return by_inflation(left, local, params.vif_param.threshold, keep_one=params.keep_one)
        return by_values(method, self._table, left, params)

    def _manual(self) -> Verdict:
        given, me, anonymous = self._params.manual_param, self._me, self._params.use_anonymous
        out = own_named(self._table, given.filter_out_col, me, "filter_out_col", anonymous=anonymous)
        out += positioned(self._table, given.filter_out_idx, "filter_out_idx")
        keep = own_named(self._table, given.keep_col, me, "keep_col", anonymous=anonymous)
        left: tuple[str, ...] | None = None
        if given.left_col is not None or given.left_idx is not None:
            left = own_named(self._table, given.left_col or (), me, "left_col", anonymous=anonymous)
            left += positioned(self._table, given.left_idx or (), "left_idx")
        verdict = manual(self.left, out, [name for name in keep if name in self.looked_at], left)
        return verdict.with_one(self.left) if self._params.keep_one else verdict

    async def _told(self, position: int, method: str, *, federated: bool) -> Verdict:
        """Return what the guest decides of this host's columns; with ``federated`` off all stay."""
        if not federated:
            return Verdict(dict.fromkeys(self.left, True))
        offered = Offered(self._known_as(method))
        stage = f"{position}-{method}"
        state = await self._context.driver.run(stage, column_choice, ColumnChoiceParams(), offered, HostChoice)
        return Verdict(dict(zip(self.left, state.stays, strict=True)))

    def _known_as(self, method: str) -> tuple[str, ...]:
        """Return by what names the guest's models know the columns in question: those of the tables they came from."""
        kinds = [MODELS["iv"]] + ([MODELS[method]] if method == "correlation" else [])
        maps = [self._models[k]["data"]["column_anonymous_map"] for k in kinds if k in self._models]
        found = [{known.get(name, "") for known in maps or [self._anonymous]} for name in self.left]
        for name, names in zip(self.left, found, strict=True):
            if len(names) > 1 or "" in names:
                raise DataError(
                    f"the models at input_models do not know the column {name!r}, or by different names; train them on "
                    "one table, or name the columns to be looked at in select_col"
                )
        return tuple(name for names in found for name in names)

    async def _decided(self, position: int, method: str, *, federated: bool) -> Applied:
        """Decide of the own columns, and where ``federated`` of the hosts'."""
        decide = self._by_iv if method == "iv" else self._by_correlation
        if not federated:
            return decide({})

        def choose(candidates: Mapping[str, Sequence[str]]) -> dict[str, list[bool]]:
            hosts = decide(candidates).hosts
            return {peer: [hosts[_id(peer)].stays[name] for name in names] for peer, names in candidates.items()}

        stage = f"{position}-{method}"
        state = await self._context.driver.run(stage, column_choice, ColumnChoiceParams(), Chooser(choose), GuestChoice)
        return decide(state.candidates)

    def _by_iv(self, candidates: Mapping[str, Sequence[str]]) -> Applied:
        param, keep_one = self._params.iv_param, self._params.keep_one
        own = by_rules(self.left, param.rules(), {"iv": self._own_iv()}, keep_one=keep_one)
        hosts = {}
        for i, peer in enumerate(sorted(candidates, key=_in_order)):
            known, rules = {"iv": self._host_iv(peer)}, param.host_rules(i)
            hosts[_id(peer)] = by_rules(tuple(candidates[peer]), rules, known, keep_one=keep_one)
        return Applied("iv", own, hosts)

    def _by_correlation(self, candidates: Mapping[str, Sequence[str]]) -> Applied:
        data = self._model("correlation")["data"]
        columns: list[Column] = [("", name) for name in self.left]
        columns += [(peer, name) for peer in sorted(candidates, key=_in_order) for name in candidates[peer]]
        own_iv = self._own_iv()
        host_iv = {peer: self._host_iv(peer) for peer in candidates}
        sort_by = {(peer, name): (host_iv[peer] if peer else own_iv).get(name) or 0.0 for peer, name in columns}
        known = {(("", a), ("", b)): v for a, line in data["local_corr"].items() for b, v in line.items()}
        for peer, table in data["remote_corr"].items():
            known |= {(("", a), (peer, b)): v for a, line in table.items() for b, v in line.items()}
        stays = by_correlation(columns, sort_by, known, self._params.correlation_param.threshold)
        verdicts = {
            peer: Verdict({name: stays[peer, name] for of, name in columns if of == peer}) for peer in ("", *candidates)
        }
        if self._params.keep_one:
            for peer, verdict in verdicts.items():
                best = sorted(verdict.stays, key=lambda name, peer=peer: -sort_by[peer, name])  # type: ignore[misc]
                verdicts[peer] = verdict.with_one(best)
        own = verdicts.pop("")
        return Applied("correlation", own, {_id(peer): verdict for peer, verdict in verdicts.items()})

    def _model(self, method: str) -> JsonObject:
        kind = MODELS[method]
        if kind not in self._models:
            raise TaskFailed(f"the filter {method} needs a model of {kind}; connect it at input_models")
        return self._models[kind]

    def _own_iv(self) -> dict[str, float | None]:
        summary = self._model("iv")["data"].get("metrics_summary")
        if not summary:
            raise DataError("the binning model has no information values; bin without skip_metrics")
        return self._iv_of(summary)

    def _host_iv(self, peer: str) -> dict[str, float | None]:
        summaries = self._model("iv")["data"].get("host_metrics_summary") or {}
        if _id(peer) not in summaries:
            raise DataError(
                f"the binning model does not know the columns of {peer}; bin without local_only, or set "
                "select_federated to false"
            )
        return self._iv_of(summaries[_id(peer)])

    def _iv_of(self, summary: JsonObject) -> dict[str, float | None]:
        """Return each column's information value, those of several classes merged as the job says."""
        if "classes" not in summary:
            return dict(summary["iv"])
        each, merge = (
            [of["iv"] for of in summary["classes"].values()],
            MERGES[self._params.iv_param.mul_class_merge_type],
        )
        return {name: float(merge([iv[name] for iv in each])) for name in summary["iv"]}

    def document(self, me: Address) -> JsonObject:
        """Return the model, in FATE's shape."""
        stays = {name: name in self.left for name in self.looked_at}
        filters = [_filter(done, self.looked_at, keep_one=self._params.keep_one) for done in self.applied]
        data: JsonObject = {
            "selection_obj_list": filters,
            "inner_method": [done.method for done in self.applied],
            "selected_mask": stays,
            "column_anonymous_map": self._anonymous,
        }
        meta: JsonObject = {
            "method": list(self._params.method),
            "select_col": list(self.looked_at),
            "keep_one": self._params.keep_one,
            "model_type": MODEL_TYPE,
            "party": str(me),
        }
        return {"data": data, "meta": meta}


def _filter(done: Applied, looked_at: Sequence[str], *, keep_one: bool) -> JsonObject:
    return {
        "method": done.method,
        "keep_one": keep_one,
        "selected_mask": {name: done.own.stays.get(name, False) for name in looked_at},
        "all_metrics": done.own.metrics,
        "host_selected_mask": {peer: verdict.stays for peer, verdict in done.hosts.items()},
        "all_host_metrics": {peer: verdict.metrics for peer, verdict in done.hosts.items()},
    }


def dropped(model: JsonObject) -> tuple[str, ...]:
    """Return the columns that a model drops; raises TaskFailed for a model of another component."""
    meta, data = model.get("meta"), model.get("data")
    mask = data.get("selected_mask") if isinstance(data, dict) else None
    if not isinstance(meta, dict) or meta.get("model_type") != MODEL_TYPE or not isinstance(mask, dict):
        raise TaskFailed("the input model is not one of hetero_feature_selection; connect its train_output_model")
    return tuple(name for name, stays in mask.items() if not stays)


def without(table: Table, names: Sequence[str]) -> Table:
    """Return ``table`` without the columns ``names``; those that it does not have are not missed."""
    kept = [j for j, name in enumerate(table.schema.features) if name not in names]
    if len(kept) == len(table.schema.features):
        return table
    return table.with_features(tuple(table.schema.features[j] for j in kept), np.asarray(table.features[:, kept]))


def _by_type(models: Sequence[JsonObject]) -> dict[str, JsonObject]:
    found: dict[str, JsonObject] = {}
    for model in models:
        meta, data = model.get("meta"), model.get("data")
        kind = str(meta.get("model_type")) if isinstance(meta, dict) else ""
        if kind not in MODELS.values() or not isinstance(data, dict):
            raise TaskFailed(
                f"a model at input_models is none of {', '.join(sorted(set(MODELS.values())))}; connect those"
            )
        if kind in found:
            raise TaskFailed(f"two models of {kind} are connected at input_models; connect one")
        found[kind] = model
    return found


def _transposed(summary: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Return by metric and column what is by column and metric."""
    found: dict[str, dict[str, float | None]] = {}
    for name, metrics in summary.items():
        for metric, value in metrics.items():
            found.setdefault(metric, {})[name] = value
    return found


def _id(address: str) -> str:
    return address.partition("/")[0]


def _in_order(address: str) -> tuple[int, str]:
    """Return what sorts addresses by party id, numbers as numbers."""
    return (int(_id(address)) if _id(address).isdecimal() else 0, address)


TRAINS: tuple[Stage, ...] = ("train", "default")
hetero_feature_selection = Component(
    "hetero_feature_selection",
    BOTH,
    HeteroFeatureSelectionParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True, needed=("train",), stages=TRAINS),
        Port("test_data", Kind.DATA, BOTH, optional=True, needed=("predict",)),
        Port("input_models", Kind.MODEL, BOTH, optional=True, stages=TRAINS, several=True),
        Port("input_model", Kind.MODEL, BOTH, optional=True, needed=("predict",)),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, BOTH, optional=True, stages=TRAINS),
        Port("test_output_data", Kind.DATA, BOTH, optional=True),
        Port("train_output_model", Kind.MODEL, BOTH, optional=True, stages=TRAINS),
    ),
    algorithms=(column_choice,),
    agreed=("federated_filters",),
)
