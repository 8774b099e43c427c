"""What a host that is told the WOE of its bins can infer of single labels: as much as its budget of bits allows."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partyd.algorithms.binning_parameters import LabelSumsParams
from partyd.algorithms.label_sums import label_sums
from partyd.algorithms.label_sums_messages import GuestLabels, HostBins
from partyd.errors import DataError
from partyd.federation.simulate import simulate
from partyd.types import GUEST, HOST, Address
from tests.attacks.inference import auc_either_way, declared_auc

G, H = Address("10000", GUEST), Address("9999", HOST)
ROWS = 1000
MARGIN = 0.03
Vector = NDArray[np.float64]


class InsecureParams(LabelSumsParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def attacked(columns: int, bins: int, **changes: Any) -> tuple[float, int]:
    """Return the AUC of adding up the WOE that unrelated columns were told, and how many weights were told."""
    random = np.random.default_rng(5)
    y, codes = random.integers(0, 2, ROWS), random.integers(0, bins, (ROWS, columns)).astype(np.int16)
    names = tuple(f"h{j}" for j in range(columns))
    host = HostBins(names, codes, np.full(columns, bins), wants_woe=True)
    params = InsecureParams(host_woe=True, **changes)
    state = asyncio.run(simulate(label_sums, params, {G: GuestLabels(y, 1), H: host})).states[H]
    woe = state.woe.reshape(columns, bins + 1)
    told = sum(len(np.unique(column[:bins])) - 1 for column in woe)
    return auc_either_way(y.astype(np.float64), sum(woe[j, codes[:, j]] for j in range(columns))), told


def test_weights_of_unrelated_columns_tell_labels_as_well_as_their_number_lets_them() -> None:
    found, told = attacked(4, 8)
    assert found == pytest.approx(declared_auc(ROWS, told), abs=MARGIN)
    assert found < 0.62


def test_a_host_is_not_told_enough_for_more() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        attacked(5, 10)
    assert caught.group_contains(DataError, match="host_woe_bits")


def test_a_guest_that_allows_more_gives_away_more() -> None:
    found, told = attacked(20, 10, host_woe_bits=9)
    assert found > 0.66
    assert found == pytest.approx(declared_auc(ROWS, told), abs=2 * MARGIN)
