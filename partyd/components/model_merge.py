"""Put a model's halves together at the guest and write it for other software: FATE 1.x's ``hetero-model-merge``.

Takes the halves of a model of coordinated_lr, coordinated_linr, coordinated_poisson or hetero_secureboost, trained in
this job or kept from an earlier one (``model_warehouse``). A host gives its half only where its policy says so:
``merge_models`` in ``policy.toml`` is ``no`` unless its owner writes ``anonymous`` or ``named``.

The guest's ``output_model`` is a document that says what each column is and whose, and a folder beside it with
``model.pmml`` (PMML 4.4) and, of trees, ``model.xgboost.json``. Columns are as the training saw them: what stood before
it in the pipeline (scaling, imputation, binning) is to be done before the merged model is asked.
"""

from __future__ import annotations

import hashlib

from partyd.algorithms.merge_parameters import ModelMergeParams
from partyd.algorithms.model_merge import Merged
from partyd.algorithms.model_merge import model_merge as merging
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext, Training
from partyd.components.merged_model import MERGED, TREES, LinearModel, TreeModel, half, kind_of, merged, request
from partyd.components.merged_pmml import pmml
from partyd.components.merged_xgboost import xgboost_json
from partyd.errors import DataError
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
PMML_FILE, XGBOOST_FILE = "model.pmml", "model.xgboost.json"


async def run(context: TaskContext) -> None:
    """Give this party's half, or put all of them together."""
    params = context.params
    assert isinstance(params, ModelMergeParams)
    context.limits.insist_on_merging(params.models_apart)
    document = context.read_model("input_model")
    _insist_on_format(document, params)
    training = context.trainings.get("input_model", Training("", ()))
    if context.party.me.role == HOST:
        is_named = params.host_names == "real"
        mine = half(document, context.party.me, is_named=is_named, training=training.mark)
        await context.driver.run("merge", merging, params, mine, Merged)
        context.party.report.info(f"gave its half of the model to the guest, columns by {params.host_names} names")
        return
    hosts = [str(peer) for peer in context.party.peers(HOST)]
    absent = [party for party in training.parties if party.endswith("/host") and party not in hosts]
    if absent:
        raise DataError(f"{absent[0]} has a part of the model and is not in this task; name that host in the job")
    asked = request(document, hosts, training.mark)
    state = await context.driver.run("merge", merging, params, asked, Merged)
    _write(context, params, document, merged(document, context.party.me, state))


def _insist_on_format(document: JsonObject, params: ModelMergeParams) -> None:
    """Raise DataError for a format that the model cannot have, before anything is sent."""
    if params.output_format == "pmml":
        return
    is_trees, zeros = kind_of(document) == TREES, document.get("meta", {}).get("zero_as_missing")
    if params.output_format == "xgboost" and not is_trees:
        raise DataError("XGBoost has no linear models of this kind; set output_format to pmml")
    if is_trees and zeros:
        raise DataError("XGBoost cannot take zeros for missing values; set output_format to pmml")


def _write(
    context: TaskContext, params: ModelMergeParams, document: JsonObject, model: LinearModel | TreeModel
) -> None:
    files: dict[str, bytes] = {}
    if params.output_format != "xgboost":
        files[PMML_FILE] = pmml(model, params.target_name)
    if params.output_format != "pmml" and isinstance(model, TreeModel):
        files[XGBOOST_FILE] = xgboost_json(model)
    columns = [{"name": c.name, "party": c.party, "feature": c.feature} for c in model.columns]
    summary: JsonObject = {
        "data": {
            "columns": columns,
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        },
        "meta": {
            "model_type": MERGED,
            "merged_type": kind_of(document),
            "role": "guest",
            "host_names": params.host_names,
            "target_name": params.target_name,
            "threshold": model.threshold,
        },
    }
    context.write_files("output_model", files)
    context.write_model("output_model", summary)
    context.party.report.info(f"merged {len(columns)} columns into {', '.join(files)}")


model_merge = Component(
    "model_merge",
    BOTH,
    ModelMergeParams,
    run,
    inputs=(Port("input_model", Kind.MODEL, BOTH),),
    outputs=(Port("output_model", Kind.MODEL, GUEST),),
    algorithms=(merging,),
    agreed=("host_names",),
)
