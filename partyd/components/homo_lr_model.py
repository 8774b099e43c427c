"""The model of horizontal logistic regression, as a document in FATE's shape: the same at every party but for moments.

``data.model`` holds ``state_dict`` with ``models.<k>.weight`` and ``models.<k>.bias`` of each class's model, as PyTorch
names them, beside the columns that they belong to (``header``, in order). ``data.optimizer`` is what a warm start goes
on from. ``meta`` holds the parameters of the training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.homo_lr import HomoModel
from partyd.algorithms.homo_lr_parameters import HomoLrParams
from partyd.algorithms.homo_lr_rows import Progress
from partyd.algorithms.linear_model import insist_on_finite, linear, probability
from partyd.components.base import JsonObject
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed

Matrix = NDArray[np.float64]
MODEL_TYPE = "homo_lr"
RESTORED = {
    "optimizer_param": "optimizer",
    "learning_rate_param": "learning_rate_scheduler",
    "init_param": "init_param",
    "threshold": "threshold",
}
"""Which parameters a warm start takes from the model."""


@dataclass(frozen=True)
class HomoLrModel:
    """Weights for the columns of ``header``; with an intercept, one more weight a class."""

    header: tuple[str, ...]
    progress: Progress
    threshold: float = 0.5
    losses: tuple[float, ...] = ()
    converged: bool = False

    @classmethod
    def trained(cls, state: HomoModel, header: tuple[str, ...], threshold: float) -> HomoLrModel:
        """Return what a training ended with."""
        progress = Progress(state.w, state.first, state.second, state.steps, state.epochs)
        return cls(header, progress, threshold, tuple(state.losses), state.converged)

    @property
    def classes(self) -> int:
        """How many classes rows are told apart into."""
        return max(2, len(self.progress.w))

    def document(self, role: str, params: HomoLrParams) -> JsonObject:
        """Return the document."""
        p, columns = self.progress, len(self.header)
        weights = {f"models.{k}.weight": [w[:columns].tolist()] for k, w in enumerate(p.w)}
        biases = {f"models.{k}.bias": w[columns:].tolist() for k, w in enumerate(p.w) if len(w) > columns}
        moments = {"first": p.first.tolist(), "second": p.second.tolist(), "steps": p.steps}
        state = {"feature_num": columns, "label_num": len(p.w), "state_dict": weights | biases}
        return {
            "data": {
                "model": state | {"header": list(self.header)},
                "optimizer": moments,
                "end_epoch": p.epochs,
                "is_converged": self.converged,
                "losses": list(self.losses),
            },
            "meta": {
                "model_type": MODEL_TYPE,
                "role": role,
                "batch_size": params.batch_size,
                "max_iter": params.epochs,
                "threshold": self.threshold,
                "optimizer_param": params.optimizer.model_dump(mode="json"),
                "learning_rate_param": params.learning_rate_scheduler.model_dump(mode="json"),
                "init_param": params.init_param.model_dump(mode="json"),
                "ovr": params.ovr,
                "label_num": params.label_num,
            },
        }

    @classmethod
    def read(cls, document: JsonObject) -> HomoLrModel:
        """Return the model; raises TaskFailed for a document of something else, or one that lacks a part."""
        meta = document.get("meta", {})
        if not isinstance(meta, dict) or meta.get("model_type") != MODEL_TYPE:
            raise TaskFailed(f"the input model is not one of {MODEL_TYPE}; connect a training's output_model")
        try:
            data, model = document["data"], document["data"]["model"]
            state, moments = model["state_dict"], data["optimizer"]
            rows = [
                [*state[f"models.{k}.weight"][0], *state.get(f"models.{k}.bias", ())] for k in range(model["label_num"])
            ]
            w, first, second = (np.array(a, dtype=np.float64) for a in (rows, moments["first"], moments["second"]))
            header = tuple(str(name) for name in model["header"])
            if w.shape != first.shape or w.shape != second.shape or w.shape[1] - len(header) not in (0, 1):
                raise ValueError("the shapes differ")
            progress = Progress(w, first, second, int(moments["steps"]), int(data["end_epoch"]))
            return cls(header, progress, float(meta["threshold"]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise TaskFailed(f"the model lacks what {MODEL_TYPE} needs ({error!r}); train it again") from error

    def inputs(self, table: Table) -> Matrix:
        """Return the table's columns that have weights, in their order; raises DataError when one is missing."""
        missing = [name for name in self.header if name not in table.schema.features]
        if missing:
            raise DataError(f"the table lacks the model's feature {missing[0]!r}; use the columns of the training")
        x = np.asarray(table.features[:, [table.schema.features.index(name) for name in self.header]])
        insist_on_finite(x)
        return x

    def scores(self, table: Table) -> Matrix:
        """Return the probability of each class's model for each row; one column for two classes."""
        x, columns = self.inputs(table), len(self.header)
        return np.column_stack([probability(linear(x, w[:columns]) + w[columns:].sum()) for w in self.progress.w])


def warm(params: HomoLrParams, document: JsonObject) -> HomoLrParams:
    """Return the parameters with those of the model's own training that a warm start keeps."""
    meta = document.get("meta", {})
    kept = {ours: meta[theirs] for theirs, ours in RESTORED.items() if theirs in meta}
    return type(params).model_validate(params.model_dump(mode="json") | kept)
