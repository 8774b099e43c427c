"""The folds of a cross validation, the same at every party without a message: rows are aligned and counted alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.lr_parameters import FoldParam
from partyd.crypto.prg import Prg
from partyd.errors import DataError

Rows = NDArray[np.int64]


def folds(rows: int, params: FoldParam, context: bytes) -> Iterator[tuple[Rows, Rows]]:
    """Yield for each fold the rows to train on and those to validate on.

    Without ``shuffle`` a fold is a stretch of rows; with it the order follows ``random_state`` or else ``context``,
    which all parties of the task know.
    """
    if rows < params.n_splits:
        raise DataError(f"{rows} rows cannot be cut into {params.n_splits} folds; lower n_splits")
    order = np.arange(rows)
    if params.shuffle:
        seed = context if params.random_state is None else params.random_state.to_bytes(32, "big")
        order = Prg(seed, "folds").permutation(rows)
    parts = np.array_split(order, params.n_splits)
    for i, held_out in enumerate(parts):
        rest = np.concatenate(parts[:i] + parts[i + 1 :])
        yield np.sort(rest), np.sort(held_out)
