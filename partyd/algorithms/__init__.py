"""The registered algorithms; every one passes the suite in ``tests/conformance``."""

from __future__ import annotations

from typing import Any

from partyd.algorithms.class_count import class_count
from partyd.algorithms.column_choice import column_choice
from partyd.algorithms.coordinated_linr import coordinated_linr
from partyd.algorithms.coordinated_lr import coordinated_lr
from partyd.algorithms.coordinated_poisson import coordinated_poisson
from partyd.algorithms.cross_correlation import cross_correlation
from partyd.algorithms.data_split import data_split
from partyd.algorithms.hetero_secureboost import hetero_secureboost
from partyd.algorithms.homo_lr import homo_lr
from partyd.algorithms.label_sums import label_sums
from partyd.algorithms.linear_score import linear_score
from partyd.algorithms.millionaires import millionaires
from partyd.algorithms.model_merge import model_merge
from partyd.algorithms.psi import psi
from partyd.algorithms.row_repeats import row_repeats
from partyd.algorithms.rsa_psi import rsa_psi
from partyd.algorithms.sample import sample
from partyd.algorithms.secure_sum import secure_sum
from partyd.algorithms.secureboost_score import secureboost_score
from partyd.federation.algorithm import Algorithm

ALGORITHMS: tuple[Algorithm[Any], ...] = (
    secure_sum,
    millionaires,
    psi,
    rsa_psi,
    row_repeats,
    data_split,
    sample,
    class_count,
    coordinated_lr,
    coordinated_linr,
    coordinated_poisson,
    linear_score,
    hetero_secureboost,
    secureboost_score,
    cross_correlation,
    label_sums,
    column_choice,
    homo_lr,
    model_merge,
)
