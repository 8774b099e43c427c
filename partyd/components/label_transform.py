"""Put other numbers in the place of labels: FATE 1.x's LabelTransform. Nothing is exchanged.

``label_encoder`` says which: ``{"-1": 0, "1": 1}``. Without one the classes are counted: 0, 1, 2 ... in their order.
Labels are numbers here, so words are mapped where a table is uploaded.

In ``train`` a table of predictions is encoded like any other, its label and its predicted classes. In ``predict`` it is
decoded: the model's own classes become the labels that there were, as in FATE. A host without labels gives its table
out as it came, and so does everybody a table for prediction without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, model_validator

from partyd.components.base import Component, TaskContext
from partyd.components.columns import column
from partyd.components.fitted import Learned, LocalParams, carry_out, inputs, outputs
from partyd.components.labels import MOST_CLASSES, classes, replaced
from partyd.data.render import DETAIL, PREDICT_RESULT, PREDICT_SCORE, TYPE, is_scored, number
from partyd.data.table import Table
from partyd.errors import TaskFailed
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
Vector = NDArray[np.float64]
Encoder = Mapping[float, float]


class LabelTransformParams(LocalParams):
    """FATE 1.x's parameters; ``label_list`` names the labels of the encoder once more."""

    label_encoder: dict[FiniteFloat, FiniteFloat] | None = Field(default=None, min_length=1, max_length=MOST_CLASSES)
    label_list: tuple[FiniteFloat, ...] | None = None

    @model_validator(mode="after")
    def _lists_agree(self) -> LabelTransformParams:
        encoded, listed = self.label_encoder, self.label_list
        if encoded is not None and listed is not None and sorted(listed) != sorted(encoded):
            raise ValueError("label_list and the labels of label_encoder differ; leave label_list out")
        return self


class Encoding(Learned):
    """The number that stands for each label, by the label in words; empty where there are no labels."""

    label_encoder: dict[str, FiniteFloat]

    @property
    def forward(self) -> Encoder:
        """The new label of each old one."""
        return {float(label): code for label, code in self.label_encoder.items()}

    @property
    def backward(self) -> Encoder:
        """The old label of each new one; raises TaskFailed when one stands for several."""
        found = {code: label for label, code in self.forward.items()}
        if len(found) != len(self.label_encoder):
            raise TaskFailed("label_encoder gives two labels one code, so predictions cannot be decoded; leave it out")
        return found


async def run(context: TaskContext) -> None:
    """Encode the labels of the training table, or encode or decode those of another by the model."""
    params, me = context.params, context.party.me
    assert isinstance(params, LabelTransformParams)
    decodes = context.stage == "predict"

    def transform(table: Table, encoding: Encoding) -> Table:
        return transformed(table, encoding, decodes=decodes)

    encoding = carry_out(context, "label_transform", Encoding, lambda table: fit(table, params, me), transform)
    if encoding is not None:
        context.write_document("metric", {"label_encoder": encoding.label_encoder})


def fit(table: Table, params: LabelTransformParams, me: Address) -> Encoding:
    """Return the code of each label; raises DataError at a guest without labels."""
    if table.label is None and me.role == HOST:
        return Encoding(label_encoder={})
    label = np.asarray(table.require_label(), dtype=np.float64)
    if params.label_encoder is not None:
        encoder: Encoder = params.label_encoder
    else:
        seen = np.concatenate([label, column(table, PREDICT_RESULT)]) if is_scored(table) else label
        encoder = {value: float(code) for code, value in enumerate(classes(seen))}
    return Encoding(label_encoder={number(label): code for label, code in sorted(encoder.items())})


def transformed(table: Table, encoding: Encoding, *, decodes: bool) -> Table:
    """Return the table with other labels; raises DataError for a label without a code."""
    if not encoding.label_encoder:
        return table
    if is_scored(table):
        encoder = encoding.backward if decodes else encoding.forward
        return _labelled(_predictions(table, encoder), encoder)
    return _labelled(table, encoding.forward)


def _labelled(table: Table, encoder: Encoder) -> Table:
    if table.label is None:
        return table
    whole = all(code.is_integer() for code in encoder.values())
    schema = table.schema if whole else table.schema.model_copy(update={"label_type": "float64"})
    return replace(table, schema=schema, label=replaced(np.asarray(table.label, dtype=np.float64), encoder))


def _predictions(table: Table, encoder: Encoder) -> Table:
    """Return predictions with other classes; the score of each stands beside it unless the two are 0 and 1."""
    score = column(table, PREDICT_SCORE)
    named = {n.removeprefix(DETAIL): column(table, n) for n in table.schema.features if n.startswith(DETAIL)}
    scores = {float(name): values for name, values in named.items()} or {0.0: 1 - score, 1.0: score}
    images = replaced(np.array(list(scores)), encoder).tolist()
    details = dict(sorted(zip(images, scores.values(), strict=True)))
    if not named and images == [0.0, 1.0]:
        details = {}
    names = (PREDICT_SCORE, PREDICT_RESULT, *(f"{DETAIL}{number(c)}" for c in details), TYPE)
    result = replaced(column(table, PREDICT_RESULT), encoder)
    return table.with_features(names, np.column_stack([score, result, *details.values(), column(table, TYPE)]))


label_transform = Component("label_transform", BOTH, LabelTransformParams, run, inputs(BOTH), outputs(BOTH))
