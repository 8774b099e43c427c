"""Labels summed in hosts' bins against counting them, who receives what, and peers that cheat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from partyd.algorithms.binning_parameters import LabelSumsParams
from partyd.algorithms.guest_key import GuestKey
from partyd.algorithms.label_sums import label_sums
from partyd.algorithms.label_sums_messages import (
    BinSums,
    BinWoe,
    EncryptedLabels,
    GuestLabels,
    HostBins,
    HostColumns,
    KeptCuts,
    LabelPlan,
    Ready,
    cut_up,
    spans,
)
from partyd.algorithms.optimal_bins import kept_cuts
from partyd.algorithms.woe import groups, pooled
from partyd.errors import BadValue, CryptoError, DataError, PartydError
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address

G, H1, H2 = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)
RANDOM = np.random.default_rng(5)
ROWS = 50
BINS = np.array([4, 1, 7])
CODES = np.column_stack([RANDOM.integers(0, bins + 1, ROWS) for bins in BINS]).astype(np.int16)
Y = RANDOM.integers(0, 2, ROWS)
MAY = {"host_woe": True, "host_woe_rows": 8, "host_woe_events": 2, "host_woe_bits": 9}


class InsecureParams(LabelSumsParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def host_bins(**changes: Any) -> HostBins:
    return replace(HostBins(("a", "b", "c"), CODES, BINS), **changes)


def run(labels: GuestLabels, hosts: dict[Address, HostBins], **params: Any) -> Run:
    data: dict[Address, object] = {G: labels, **hosts}
    return asyncio.run(asyncio.wait_for(simulate(label_sums, InsecureParams(**params), data), 60))


@pytest.mark.parametrize("block", [7, 50, 1000])
def test_sums_of_several_hosts_are_those_that_are_counted(block: int) -> None:
    other = host_bins(names=("z",), codes=CODES[:, 2:], bins=BINS[2:])
    done = run(GuestLabels(Y, 1), {H1: host_bins(), H2: other}, block_rows=block)
    for peer, first in ((H1, 0), (H2, 2)):
        found = done.states[G].hosts[str(peer)]
        for j, cells in enumerate(spans(found.bins)):
            codes, count = CODES[:, first + j], int(BINS[first + j]) + 1
            assert np.array_equal(found.rows[cells], np.bincount(codes, minlength=count))
            assert np.array_equal(found.events[cells, 0], np.bincount(codes[Y == 1], minlength=count))
    assert done.states[G].hosts[str(H1)].names == ["a", "b", "c"]
    assert not done.states[H1].sums
    assert done.states[H1].woe is None


def test_several_classes_are_counted_at_once() -> None:
    label = RANDOM.integers(0, 5, ROWS)
    found = run(GuestLabels(label, 5), {H1: host_bins()}, block_rows=20).states[G].hosts[str(H1)]
    want = [np.bincount(CODES[:, 2][label == k], minlength=8) for k in range(5)]
    assert np.array_equal(found.events[spans(found.bins)[2]].T, want)


def test_a_host_without_columns_takes_part() -> None:
    none = HostBins((), np.zeros((ROWS, 0), dtype=np.int16), np.zeros(0, dtype=np.int64))
    assert run(GuestLabels(Y, 1), {H1: none}).states[G].hosts[str(H1)].events.shape == (0, 1)


def test_bins_are_joined_at_the_guest_and_the_host_learns_which() -> None:
    done = run(GuestLabels(Y, 1), {H1: host_bins(joins=2)}, n_bins=3)
    rows = np.bincount(CODES[:, 0], minlength=5)[:4]
    events = np.bincount(CODES[Y == 1, 0], minlength=5)[:4, None]
    params = InsecureParams(n_bins=3)
    kept = kept_cuts(events, rows, 3, params.optimal_binning_param, 0.5)
    flags = cut_up(done.states[H1].kept, BINS[:2] - 1)
    assert np.flatnonzero(flags[0]).tolist() == kept
    assert done.states[G].hosts[str(H1)].bins.tolist() == [len(kept) + 1, 1, 7]


def test_a_host_that_asks_and_may_learns_pooled_woe() -> None:
    done = run(GuestLabels(Y, 1), {H1: host_bins(wants_woe=True)}, **MAY)
    (first, *_) = spans(BINS)
    events = np.bincount(CODES[Y == 1, 0], minlength=5)
    rows = np.bincount(CODES[:, 0], minlength=5)
    want = pooled(events, rows, groups(events, rows, 8, 2), 0.5)
    assert done.states[H1].woe[first] == pytest.approx(want)


def test_who_receives_what() -> None:
    plain = run(GuestLabels(Y, 1), {H1: host_bins()}).transcript
    assert plain.kinds(to=HOST) == {GuestKey, LabelPlan, EncryptedLabels}
    assert plain.kinds(to=GUEST) == {HostColumns, Ready, BinSums}
    asked = run(GuestLabels(Y, 1), {H1: host_bins(joins=3, wants_woe=True), H2: host_bins()}, **MAY).transcript
    assert asked.kinds(to=H1) - asked.kinds(to=H2) == {KeptCuts, BinWoe}


def test_equal_labels_look_different() -> None:
    done = run(GuestLabels(np.array([0, 1] * 25), 1), {H1: host_bins()})
    (message,) = done.transcript.messages(EncryptedLabels)
    assert isinstance(message, EncryptedLabels)
    assert len(set(message.y.values)) == ROWS


@pytest.mark.parametrize(
    ("labels", "hosts", "params", "error", "match"),
    [
        (GuestLabels(Y, 1), host_bins(wants_woe=True), {}, DataError, "host_woe is not set"),
        (GuestLabels(Y, 3), host_bins(wants_woe=True), {"host_woe": True}, DataError, "two classes"),
        (GuestLabels(Y, 1), host_bins(wants_woe=True), MAY | {"host_woe_bits": 0.25}, DataError, "bits of the labels"),
        (GuestLabels(Y[:9], 1), host_bins(), {}, DataError, "align them with psi"),
        (GuestLabels(Y, 99), host_bins(), {}, DataError, "no room for 99 classes"),
        (GuestLabels(Y, 1), host_bins(names=("a", "a", "b")), {}, BadValue, "not up to"),
        (GuestLabels(Y, 1), host_bins(bins=np.array([0, 1, 7])), {}, BadValue, "in each column"),
        (GuestLabels(Y, 1), host_bins(bins=np.array([4, 1])), {}, BadValue, "in each column"),
        (GuestLabels(Y, 1), host_bins(joins=4), {}, BadValue, "joined"),
    ],
)
def test_what_cannot_be_weighed_is_refused(
    labels: GuestLabels, hosts: HostBins, params: dict[str, Any], error: type[PartydError], match: str
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(labels, {H1: hosts}, **params)
    assert caught.group_contains(error, match=match)


Change = Callable[[Any], object]


@pytest.mark.parametrize(
    ("kind", "name", "change", "error", "match"),
    [
        (BinSums, "rows", lambda rows: rows + 1, BadValue, "cannot be"),
        (BinSums, "rows", lambda rows: rows[:-1], BadValue, "other bins"),
        (BinSums, "rows", lambda rows: np.roll(rows, 1), BadValue, "cannot be"),
        (BinSums, "sums", lambda _: None, BadValue, "other bins"),
        (Ready, "start", lambda start: start + 1, BadValue, "is at row"),
        (LabelPlan, "classes", lambda _: 0, BadValue, "plans 0 classes"),
        (LabelPlan, "block_rows", lambda _: 1 << 40, BadValue, "plans 1 classes"),
        (LabelPlan, "classes", lambda _: 2, CryptoError, "bound in bits"),
        (KeptCuts, "kept", lambda kept: kept[:-1], BadValue, "keeps cuts"),
        (KeptCuts, "kept", lambda kept: kept + 2, BadValue, "keeps cuts"),
        (BinWoe, "woe", lambda woe: woe[:-1], BadValue, "tells WOE"),
        (BinWoe, "woe", lambda woe: woe * np.nan, BadValue, "tells WOE"),
    ],
)
def test_a_peer_that_cheats_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Message],
    name: str,
    change: Change,
    error: type[PartydError],
    match: str,
) -> None:
    honest = Party.send

    async def send(self: Party, message: Message, to: Address | None = None) -> None:
        if isinstance(message, kind):
            message = message.model_copy(update={name: change(getattr(message, name))})
        await honest(self, message, to)

    monkeypatch.setattr(Party, "send", send)
    with pytest.raises(ExceptionGroup) as caught:
        run(GuestLabels(Y, 1), {H1: host_bins(joins=3, wants_woe=True)}, **MAY)
    assert caught.group_contains(error, match=match)
