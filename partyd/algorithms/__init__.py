"""The registered algorithms; every one passes the suite in ``tests/conformance``."""

from __future__ import annotations

from typing import Any

from partyd.algorithms.coordinated_lr import coordinated_lr
from partyd.algorithms.linear_score import linear_score
from partyd.algorithms.secure_sum import secure_sum
from partyd.federation.algorithm import Algorithm

ALGORITHMS: tuple[Algorithm[Any], ...] = (secure_sum, coordinated_lr, linear_score)
