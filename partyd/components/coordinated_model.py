"""A party's share of a vertical linear model with an arbiter, as a document in FATE's shape.

``data.estimator`` holds the weights (``param.coef_``, a list of lists of one) beside the columns that they belong to
(``header``), at the guest the intercept, and what a warm start goes on from. With more than two classes (``meta.ovr``)
it holds one such part for each of ``meta.labels``, by its position. ``meta`` holds the parameters of the training, and
as ``model_type`` the name of the component that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.coordinated_messages import Weights
from partyd.algorithms.linear_model import with_ones
from partyd.algorithms.lr_parameters import CoordinatedLrParams, CoordinatedParams
from partyd.algorithms.lr_rows import Start
from partyd.components.base import JsonObject
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
RESTORED = {
    "optimizer_param": "optimizer",
    "learning_rate_param": "learning_rate_scheduler",
    "init_param": "init_param",
    "threshold": "threshold",
    "exposure_colname": "exposure_colname",
}
"""Which parameters a warm start takes from the model, as in FATE."""


@dataclass(frozen=True)
class Estimator:
    """The weights of one class against the rest: this party's columns, and at the guest the intercept."""

    header: tuple[str, ...]
    w: Vector
    intercept: float | None = None
    first: Vector = field(default_factory=lambda: np.zeros(0))
    second: Vector = field(default_factory=lambda: np.zeros(0))
    steps: int = 0
    epochs: int = 0
    converged: bool = False
    losses: tuple[float, ...] = ()
    seed: bytes = b""

    @classmethod
    def trained(cls, state: Weights, header: Sequence[str], epochs: int, *, intercept: bool) -> Estimator:
        """Return what a training ended with."""
        taken = state.taken // state.batches
        return cls(
            header=tuple(header),
            w=state.w[: len(header)],
            intercept=float(state.w[-1]) if intercept else None,
            first=state.first,
            second=state.second,
            steps=state.steps_before + state.taken,
            epochs=state.epochs_before + taken,
            converged=taken < epochs,
            losses=tuple(state.losses),
            seed=state.seed,
        )

    @classmethod
    def read(cls, document: JsonObject) -> Estimator:
        """Return the part of a model; raises TaskFailed when it is none."""
        try:
            param, moments = document["param"], document["optimizer"]
            intercept = param["intercept_"]
            return cls(
                header=tuple(str(name) for name in document["header"]),
                w=np.array([float(row[0]) for row in param["coef_"]], dtype=np.float64),
                intercept=None if not intercept else float(intercept[0]),
                first=np.array(moments["first"], dtype=np.float64),
                second=np.array(moments["second"], dtype=np.float64),
                steps=int(moments["steps"]),
                epochs=int(document["lr_scheduler"]["epochs"]),
                converged=bool(document["is_converged"]),
                losses=tuple(float(loss) for loss in document.get("losses", ())),
                seed=bytes.fromhex(document["batches"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise TaskFailed(f"the model lacks what it needs to be used ({error!r}); train it again") from error

    def document(self) -> JsonObject:
        """Return the part as it stands in a model."""
        intercept = None if self.intercept is None else [self.intercept]
        return {
            "param": {"coef_": [[w] for w in self.w.tolist()], "intercept_": intercept, "dtype": "float64"},
            "header": list(self.header),
            "optimizer": {"first": self.first.tolist(), "second": self.second.tolist(), "steps": self.steps},
            "lr_scheduler": {"epochs": self.epochs},
            "end_epoch": self.epochs,
            "is_converged": self.converged,
            "fit_intercept": self.intercept is not None,
            "losses": list(self.losses),
            "batches": self.seed.hex(),
        }

    def aligned(self, table: Table) -> tuple[Matrix, Vector]:
        """Return the table's columns that have weights, and the weights; a guest's intercept is a column of ones."""
        missing = [name for name in self.header if name not in table.schema.features]
        if missing:
            raise DataError(f"the table lacks the model's feature {missing[0]!r}; use the columns of the training")
        names = sorted(self.header)
        columns = [table.schema.features.index(name) for name in names]
        x, w = np.asarray(table.features[:, columns]), self.w[[self.header.index(name) for name in names]]
        return (x, w) if self.intercept is None else (with_ones(x), np.append(w, self.intercept))

    def start(self, table: Table) -> Start:
        """Return where a training on ``table`` goes on; raises DataError unless it has the model's columns alone."""
        if sorted(self.header) != sorted(table.schema.features):
            differing = sorted(set(self.header) ^ set(table.schema.features))
            raise DataError(f"the table and the earlier model differ in {', '.join(differing[:10])}; use its columns")
        order = [self.header.index(name) for name in table.schema.features]
        order += [len(self.header)] * (self.intercept is not None)
        w = self.w if self.intercept is None else np.append(self.w, self.intercept)
        if self.first.shape != w.shape or self.second.shape != w.shape:
            raise TaskFailed("the earlier model's optimizer does not fit its weights; train it again")
        return Start(w[order], self.first[order], self.second[order], self.steps, self.epochs, self.seed)


@dataclass(frozen=True)
class Model:
    """A share of a model of ``kind``: one estimator, or one for each of ``labels``; a regression has no labels."""

    kind: str
    estimators: tuple[Estimator, ...]
    labels: tuple[float, ...] = ()
    threshold: float = 0.5
    exposure: str | None = None

    @property
    def ovr(self) -> bool:
        """Whether there is a model for each class against the rest."""
        return len(self.estimators) > 1

    def document(self, role: str, params: CoordinatedParams) -> JsonObject:
        """Return the document; hosts and arbiter know no labels."""
        parts = [estimator.document() for estimator in self.estimators]
        estimator = {str(i): part for i, part in enumerate(parts)} if self.ovr else (parts or [{}])[0]
        meta: JsonObject = {
            "model_type": self.kind,
            "role": role,
            "epochs": params.epochs,
            "batch_size": params.batch_size,
            "optimizer_param": params.optimizer.model_dump(mode="json"),
            "learning_rate_param": params.learning_rate_scheduler.model_dump(mode="json"),
            "init_param": params.init_param.model_dump(mode="json"),
            "floating_point_precision": params.floating_point_precision,
        }
        if isinstance(params, CoordinatedLrParams):
            labels = [int(label) if label.is_integer() else label for label in self.labels]
            guests = {"labels": labels if role == "guest" else None, "ovr": self.ovr, "threshold": self.threshold}
            meta |= guests
        if self.exposure is not None:
            meta["exposure_colname"] = self.exposure
        return {"data": {"estimator": estimator}, "meta": meta}

    @classmethod
    def read(cls, document: JsonObject, kind: str) -> Model:
        """Return the model; raises TaskFailed for a document of something else."""
        meta, estimator = document.get("meta", {}), document.get("data", {}).get("estimator")
        if meta.get("model_type") != kind or not isinstance(estimator, dict):
            raise TaskFailed(f"the input model is not one of {kind}; connect a training's output_model")
        parts = [estimator[str(i)] for i in range(len(estimator))] if meta.get("ovr") else [estimator] * bool(estimator)
        estimators, labels = tuple(Estimator.read(part) for part in parts), tuple(map(float, meta.get("labels") or ()))
        return cls(kind, estimators, labels, float(meta.get("threshold", 0.5)), meta.get("exposure_colname"))


P = TypeVar("P", bound=CoordinatedParams)


def warm(params: P, document: JsonObject) -> P:
    """Return the parameters with those of the model's own training that a warm start keeps."""
    meta, changed = document.get("meta", {}), params.model_dump(mode="json")
    kept = {ours: meta[theirs] for theirs, ours in RESTORED.items() if theirs in meta}
    return type(params).model_validate(changed | {name: value for name, value in kept.items() if name in changed})
