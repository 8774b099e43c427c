"""A tiny run of every registered algorithm: parameters, and data by address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from partyd.algorithms.class_count import ClassCountParams
from partyd.algorithms.data_split import DataSplitParams, Splittable
from partyd.algorithms.linear_score import LinearScoreParams, Scored
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.algorithms.lr_rows import Labelled
from partyd.algorithms.millionaires import MillionairesParams
from partyd.algorithms.psi import PsiParams
from partyd.algorithms.row_repeats import Common, RowRepeatsParams
from partyd.algorithms.sample import Drawable, SampleParams
from partyd.algorithms.secure_sum import SecureSumParams
from partyd.federation.algorithm import Params
from partyd.types import ARBITER, GUEST, HOST, Address

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)


@dataclass(frozen=True)
class Example:
    """What `simulate` takes."""

    params: Params
    data: Mapping[Address, object]


class InsecureLrParams(CoordinatedLrParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def secure_sum() -> Example:
    return Example(SecureSumParams(data_num=5), {G: np.arange(5.0), H1: np.ones(5)})


def coordinated_lr() -> Example:
    random = np.random.default_rng(3)
    x = random.normal(size=(24, 4))
    y = (x.sum(axis=1) > 0).astype(np.float64)
    params = InsecureLrParams.model_validate(
        {
            "epochs": 2,
            "batch_size": 12,
            "tol": 0,
            "early_stop": "weight_diff",
            "init_param": {"method": "random_uniform"},
        }
    )
    weight = np.linspace(0.5, 2, len(y))
    return Example(params, {G: Labelled(x[:, :2], y, weight), H1: x[:, 2:3], H2: x[:, 3:], A: None})


def linear_score() -> Example:
    random = np.random.default_rng(4)
    data = {party: Scored(random.normal(size=(3, 2)), random.normal(size=2)) for party in (G, H1, H2)}
    return Example(LinearScoreParams(), data)


def psi() -> Example:
    sets = {G: ["a", "b", "c", "d", "e"], H1: ["c", "b", "x"], H2: ["e", "b", "c", "y"]}
    return Example(PsiParams(chunk_rows=2), {p: np.array([i.encode() for i in ids]) for p, ids in sets.items()})


def millionaires() -> Example:
    x, y = np.array([1, 5, 2**64 - 1], np.uint64), np.array([2, 5, 2**63], np.uint64)
    return Example(MillionairesParams(chunk_rows=2), {G: x, H1: y})


def data_split() -> Example:
    label = np.array([0.0, 1.0] * 6)
    return Example(DataSplitParams(stratified=True), {G: Splittable(12, label), H1: Splittable(12), H2: Splittable(12)})


def sample() -> Example:
    params, label = SampleParams(frac={0: 0.5, 1: 2.0}, replace=True), np.array([0.0, 1.0] * 6)
    return Example(params, {G: Drawable(12, label), H1: Drawable(12), H2: Drawable(12)})


def row_repeats() -> Example:
    return Example(RowRepeatsParams(), {G: Common(3, np.array([1, 3, 2])), H1: Common(3), H2: Common(3)})


def class_count() -> Example:
    return Example(ClassCountParams(), {G: 4, H1: None, H2: None, A: None})


EXAMPLES: Mapping[str, Callable[[], Example]] = {
    "secure_sum": secure_sum,
    "coordinated_lr": coordinated_lr,
    "linear_score": linear_score,
    "psi": psi,
    "millionaires": millionaires,
    "data_split": data_split,
    "sample": sample,
    "row_repeats": row_repeats,
    "class_count": class_count,
}
