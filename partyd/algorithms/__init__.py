"""The registered algorithms; every one passes the suite in ``tests/conformance``."""

from __future__ import annotations

from typing import Any

from partyd.algorithms.class_count import class_count
from partyd.algorithms.coordinated_lr import coordinated_lr
from partyd.algorithms.data_split import data_split
from partyd.algorithms.linear_score import linear_score
from partyd.algorithms.millionaires import millionaires
from partyd.algorithms.psi import psi
from partyd.algorithms.row_repeats import row_repeats
from partyd.algorithms.sample import sample
from partyd.algorithms.secure_sum import secure_sum
from partyd.federation.algorithm import Algorithm

ALGORITHMS: tuple[Algorithm[Any], ...] = (
    secure_sum,
    millionaires,
    psi,
    row_repeats,
    data_split,
    sample,
    class_count,
    coordinated_lr,
    linear_score,
)
