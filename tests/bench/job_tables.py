"""The tables of ``bench_jobs``: one CSV for the guest, with the label, and one for the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

from tests.conftest import SHARED_DATA

CREDIT_ROWS, CREDIT_GUEST, CREDIT_HOST = 30_000, 13, 10


def breast() -> tuple[str, str, str]:
    """Return where the table is from, and both halves; columns are scaled, as FATE's own example's are."""
    x, y = load_breast_cancer(return_X_y=True)
    x, ids = (x - x.mean(0)) / x.std(0), np.random.default_rng(3).permutation(len(y))
    guest, host = np.arange(len(y)), np.random.default_rng(4).permutation(len(y))
    return (
        f"scikit-learn's breast cancer, {len(y)} rows, 10 and 20 columns",
        csv(ids[guest], x[guest][:, :10], y[guest]),
        csv(ids[host], x[host][:, 10:], None),
    )


def credit() -> tuple[str, str, str]:
    """Return where the table is from, and both halves."""
    paths = [SHARED_DATA / f"default_credit_hetero_{role}.csv" for role in ("guest", "host")]
    shape = f"{CREDIT_ROWS:,} rows, {CREDIT_GUEST} and {CREDIT_HOST} columns"
    if all(path.exists() for path in paths):
        return f"default_credit_hetero, {shape}", paths[0].read_text(), paths[1].read_text()
    return f"made up in the shape of default_credit_hetero, {shape}", *_made_up()


def _made_up() -> tuple[str, str]:
    """Return a table whose label depends on columns of both halves, about one in five being 1."""
    chance = np.random.default_rng(5)
    x = np.round(chance.standard_normal((CREDIT_ROWS, CREDIT_GUEST + CREDIT_HOST)), 6)
    score = x @ chance.normal(0, 0.3, x.shape[1]) - 1.6 + 0.5 * x[:, 0] * x[:, CREDIT_GUEST]
    y = (chance.random(CREDIT_ROWS) < 1 / (1 + np.exp(-score))).astype(np.int64)
    ids, order = chance.permutation(CREDIT_ROWS), chance.permutation(CREDIT_ROWS)
    return csv(ids, x[:, :CREDIT_GUEST], y), csv(ids[order], x[order][:, CREDIT_GUEST:], None)


def csv(ids: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.int64] | None) -> str:
    """Write a table down."""
    heads: Sequence[str] = ["id", *(["y"] if y is not None else []), *(f"x{i}" for i in range(x.shape[1]))]
    labels = [[]] * len(ids) if y is None else [[str(label)] for label in y.tolist()]
    rows = (
        ",".join([str(i), *label, *map(repr, values)])
        for i, label, values in zip(ids.tolist(), labels, x.tolist(), strict=True)
    )
    return "\n".join([",".join(heads), *rows]) + "\n"
