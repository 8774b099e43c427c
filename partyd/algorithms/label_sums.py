"""How many rows of each class lie in each bin of the hosts' columns, without any host seeing a label.

The guest encrypts every row's label under its own Paillier key, row by row: 1 for the event and 0 for none, or, where
there are several classes, a 1 in the slot of the row's class (`partyd.crypto.packing.Layout`). A host adds up the
ciphertexts of each bin (`partyd.crypto.histogram`), packs the sums, dozens to a ciphertext, and sends them with the
plain numbers of rows. The guest decrypts, and knows what WOE and IV are made of (`partyd.algorithms.woe`). This is the
protocol of FATE's hetero feature binning, where every sum is a ciphertext of its own.

Labels travel in blocks of ``block_rows``, one round each, and a host keeps nothing of a block but the sums so far: so
memory does not grow with the table. A block is sent when its receiver is ready for it.

A host may ask for two things. Where its bins are to be joined optimally, it sends fine ones and the guest answers which
of the cuts remain (`partyd.algorithms.optimal_bins`). Where its columns are to become WOE, and the guest allows it, the
guest answers the WOE of its bins, bins of few rows pooled with their neighbours (`partyd.algorithms.woe.groups`).

===============  ===========  =====================================================================================
message          from, to     what the receiver learns
===============  ===========  =====================================================================================
GuestKey         guest, host  the guest's public key
LabelPlan        guest, host  how many rows and classes there are
HostColumns      host, guest  what peers call the host's columns, how many bins each has, what the host asks for
Ready            host, guest  that the next block may come: nothing
EncryptedLabels  guest, host  nothing: encrypted under the guest's key
BinSums          host, guest  for each bin of each column: how many rows it has, and how many of each class
KeptCuts         guest, host  which neighbouring bins are alike enough to be joined
BinWoe           guest, host  the share of events in each of its bins, small ones pooled
===============  ===========  =====================================================================================

The last two are sent only to hosts that asked. Every column has one bin more than its cuts make: for missing values.
"""

from __future__ import annotations

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.algorithms.arbiter_key import private_key, public_key
from partyd.algorithms.binning_parameters import LabelSumsParams
from partyd.algorithms.guest_key import DISCLOSURES, GuestKey, receive_guest_key, send_guest_key
from partyd.algorithms.label_sums_messages import (
    MOST_BLOCK,
    MOST_CLASSES,
    BinSums,
    BinWoe,
    EncryptedLabels,
    GuestLabels,
    GuestState,
    HostBins,
    HostColumns,
    HostState,
    HostSums,
    KeptCuts,
    LabelPlan,
    Packing,
    Ready,
    cut_up,
    insist_on_columns,
    insist_on_sums,
    spans,
)
from partyd.algorithms.optimal_bins import kept_cuts
from partyd.algorithms.woe import groups, pooled, told_bits
from partyd.crypto import keycheck
from partyd.crypto.ciphers import CipherVector
from partyd.crypto.packing import slot_bits, slots, unpack
from partyd.crypto.paillier import PublicKey
from partyd.errors import BadValue, CryptoError, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.arrays import Octets
from partyd.wire.codec import Secret

Codes = NDArray[np.int64]
NAME = "label_sums"


async def start_guest(party: Party, params: LabelSumsParams, data: GuestLabels) -> GuestState:
    """Send the key and the plan, and hear what columns the hosts have."""
    private = await send_guest_key(party, NAME, params.key_bits, params.he_param.obfuscation)
    rows = len(data.codes)
    Packing(private.public, rows, data.classes).insist_on_room()
    await party.send(LabelPlan(rows=rows, classes=data.classes, block_rows=params.block_rows))
    party.obfuscators(private, rows)
    hosts = {}
    for peer, message in (await party.gather(HostColumns)).items():
        insist_on_columns(message, peer)
        none = np.zeros(0, dtype=np.int64)
        told = {"joins": message.joins, "wants_woe": message.wants_woe}
        hosts[str(peer)] = HostSums(names=message.names, bins=message.bins, rows=none, events=none, **told)
    if any(host.wants_woe for host in hosts.values()) and not params.host_woe:
        raise DataError("a host wants the WOE of its bins, and host_woe is not set here; set it for all parties")
    if data.classes > 1 and any(host.wants_woe for host in hosts.values()):
        raise DataError("a host's columns become WOE with labels of two classes only; use bin_idx for more")
    return GuestState(key=Secret(keycheck.private_to_bytes(private)), hosts=hosts)


async def guest(party: Party, params: LabelSumsParams, data: GuestLabels, state: GuestState) -> GuestState:
    """Encrypt a block of labels; after the last one decrypt the hosts' sums and answer what they asked for."""
    private = private_key(state.key, params.key_bits, params.he_param.obfuscation)
    rows, packing = len(data.codes), Packing(private.public, len(data.codes), data.classes)
    stop = min(state.done + params.block_rows, rows)
    width = packing.layout.widths[0]
    codes = data.codes[state.done : stop].tolist()
    labels = codes if data.classes == 1 else [1 << width * code for code in codes]
    vector = await party.ciphers.encrypt_integers(private, labels, packing.label_bits)
    block = EncryptedLabels(y=await party.ciphers.rerandomised(vector))
    party.obfuscators(private, rows - stop)
    for peer, ready in (await party.gather(Ready)).items():
        if ready.start != state.done:
            raise BadValue(f"{peer} is at row {ready.start}, not {state.done}; check its version")
        await party.send(block, to=peer)
    party.report.progress(stop, rows, "labels")
    if stop < rows:
        return state.model_copy(update={"done": stop})
    hosts = {}
    for peer, message in (await party.gather(BinSums)).items():
        host = state.hosts[str(peer)]
        events = await _opened(party, params, packing, state, host, message, peer)
        insist_on_sums(message.rows, events, host, data, peer)
        hosts[str(peer)] = await _answered(
            party, params, host.model_copy(update={"rows": message.rows, "events": events}), peer
        )
    return state.model_copy(update={"finished": True, "done": stop, "hosts": hosts})


async def _opened(
    party: Party,
    params: LabelSumsParams,
    packing: Packing,
    state: GuestState,
    host: HostSums,
    message: BinSums,
    peer: Address,
) -> Codes:
    """Return the numbers of rows of each class (cells x classes) that a host's ciphertexts hold."""
    cells = int((host.bins + 1).sum())
    if message.rows.shape != (cells,) or (message.sums is None) == bool(cells):
        raise BadValue(f"{peer} sent other bins than it announced; check its version")
    if message.sums is None:
        return np.zeros((0, packing.classes), dtype=np.int64)
    private = private_key(state.key, params.key_bits, params.he_param.obfuscation)
    one = packing.vector([mpz(1)])
    each, width = slots(one), slot_bits(one)
    packed = message.sums.under(private.public, count=-(-cells // each), exponent=0, max_bound_bits=each * width)
    opened = await party.ciphers.decrypt_integers(private, packed)
    try:
        return np.array(packing.layout.split(unpack(opened, each, width, cells)), dtype=np.int64).T
    except (CryptoError, OverflowError) as error:
        raise BadValue(f"{peer} sent sums that cannot be; do not go on with this host") from error


async def _answered(party: Party, params: LabelSumsParams, host: HostSums, peer: Address) -> HostSums:
    """Join the bins and tell WOE, as far as the host asked, and return its sums as they then are."""
    if host.joins:
        host, kept = joined(host, params)
        await party.send(KeptCuts(kept=kept), to=peer)
    if host.wants_woe:
        woe = _told_woe(params, host, peer)
        await party.send(BinWoe(woe=np.concatenate([np.zeros(0), *woe])), to=peer)
    return host


def _told_woe(params: LabelSumsParams, host: HostSums, peer: Address) -> list[NDArray[np.float64]]:
    """Return the WOE that a host is told; raises DataError where it could compute many rows' labels from it."""
    woe, bits, rows = [], 0.0, 0
    for cells in spans(host.bins):
        events, counts = host.events[cells, 0], host.rows[cells]
        told = groups(events, counts, params.host_woe_rows, params.host_woe_events)
        woe.append(pooled(events, counts, told, params.adjustment_factor))
        bits, rows = bits + told_bits(counts, told), int(counts.sum())
    if bits > params.host_woe_bits * rows:
        raise DataError(
            f"the WOE of {peer}'s bins would tell up to {bits:.0f} bits of the labels of {rows} rows, more than "
            f"host_woe_bits = {params.host_woe_bits:g} for each; bin fewer columns there, or into fewer bins"
        )
    return woe


def joined(host: HostSums, params: LabelSumsParams) -> tuple[HostSums, Octets]:
    """Return a host's sums in the bins that are left when neighbours are joined, and a 1 for each cut that is."""
    flags, bins, rows, events = [], list[int](), [], []
    optimal, adjustment = params.optimal_binning_param, params.adjustment_factor
    for j, cells in enumerate(spans(host.bins)):
        if j >= host.joins:
            bins.append(int(host.bins[j]))
            rows.append(host.rows[cells])
            events.append(host.events[cells])
            continue
        fine, last = slice(cells.start, cells.stop - 1), slice(cells.stop - 1, cells.stop)
        kept = kept_cuts(host.events[fine], host.rows[fine], params.n_bins, optimal, adjustment)
        flag = np.zeros(cells.stop - cells.start - 2, dtype=np.uint8)
        flag[kept] = 1
        starts = [0, *(cut + 1 for cut in kept)]
        flags.append(flag)
        bins.append(len(starts))
        rows += [np.add.reduceat(host.rows[fine], starts), host.rows[last]]
        events += [np.add.reduceat(host.events[fine], starts, axis=0), host.events[last]]
    sums = {"rows": np.concatenate(rows), "events": np.concatenate(events)}
    return host.model_copy(update={"bins": np.array(bins, dtype=np.int64), **sums}), np.concatenate(flags)


async def start_host(party: Party, params: LabelSumsParams, data: HostBins) -> HostState:
    """Take the guest's key and plan, and say which columns there are."""
    key = await receive_guest_key(party, NAME, params.key_bits, params.he_param.hiding)
    plan = await party.recv(LabelPlan)
    if plan.rows != len(data.codes):
        raise DataError(f"the guest has {plan.rows} rows, this host {len(data.codes)}; align them with psi first")
    if not (1 <= plan.classes <= MOST_CLASSES and 1 <= plan.block_rows <= MOST_BLOCK):
        raise BadValue(f"the guest plans {plan.classes} classes, {plan.block_rows} rows a block; check its version")
    Packing(key, plan.rows, plan.classes).insist_on_room()
    asked = {"joins": data.joins, "wants_woe": data.wants_woe}
    await party.send(HostColumns(names=list(data.names), bins=data.bins, **asked))
    return HostState(n=int(key.n), classes=plan.classes, block_rows=plan.block_rows)


async def host(party: Party, params: LabelSumsParams, data: HostBins, state: HostState) -> HostState:
    """Add up a block of labels in every bin; after the last one send the sums and take what was asked for."""
    rows, key = len(data.codes), public_key(state.n, params.he_param.hiding)
    packing, stop = Packing(key, rows, state.classes), min(state.done + state.block_rows, rows)
    await party.send(Ready(start=state.done))
    message = await party.recv(EncryptedLabels)
    y = message.y.under(key, count=stop - state.done, exponent=0, bound_bits=packing.label_bits)
    sums: CipherVector | None = None
    if len(data.bins):
        bins, cells = data.codes[state.done : stop], _cells(data.bins)
        found = await party.ciphers.histograms(y, bins, int(data.bins.max()) + 1)
        sums = packing.vector(found.vector[cells].raw())
        if state.sums:
            sums = packing.vector((sums + packing.vector(_read(state.sums, key))).raw())
    party.report.progress(stop, rows, "labels")
    if stop < rows:
        return state.model_copy(update={"done": stop, "sums": b"" if sums is None else _written(sums)})
    counts = [np.bincount(data.codes[:, j], minlength=bins + 1) for j, bins in enumerate(data.bins.tolist())]
    flat = np.concatenate([np.zeros(0, dtype=np.int64), *counts]).astype(np.int64)
    party.obfuscators(key, 0)
    packed = None if sums is None else await party.ciphers.rerandomised(await party.ciphers.pack(sums))
    await party.send(BinSums(rows=flat, sums=packed))
    return await _answers(party, data, state.model_copy(update={"finished": True, "done": stop, "sums": b""}))


async def _answers(party: Party, data: HostBins, state: HostState) -> HostState:
    bins = data.bins
    if data.joins:
        kept, cuts = (await party.recv(KeptCuts)).kept, bins[: data.joins] - 1
        if kept.shape != (int(cuts.sum()),) or bool(np.any(kept > 1)):
            raise BadValue("the guest keeps cuts that this host does not have; check the guest's version")
        state = state.model_copy(update={"kept": kept})
        bins = bins.copy()
        bins[: data.joins] = [1 + int(flags.sum()) for flags in cut_up(kept, cuts)]
    if data.wants_woe:
        woe = (await party.recv(BinWoe)).woe
        if woe.shape != (int((bins + 1).sum()),) or not bool(np.all(np.isfinite(woe))):
            raise BadValue("the guest tells WOE of bins that this host does not have; check the guest's version")
        state = state.model_copy(update={"woe": woe})
    return state


def _cells(bins: Codes) -> Codes:
    """Return where in a histogram of equal rows the cells of each column are."""
    width = int(bins.max()) + 1
    return np.concatenate([np.arange(count + 1) + j * width for j, count in enumerate(bins.tolist())])


def _written(vector: CipherVector) -> bytes:
    width = vector.key.ciphertext_bytes
    return b"".join(int(value).to_bytes(width, "big") for value in vector.raw())


def _read(data: bytes, key: PublicKey) -> list[mpz]:
    width = key.ciphertext_bytes
    return [mpz.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]


label_sums = Algorithm(
    name=NAME,
    version="1",
    params=LabelSumsParams,
    programs={
        GUEST: Program(GuestState, start_guest, guest),
        HOST: Program(HostState, start_host, host),
    },
    messages=(GuestKey, LabelPlan, HostColumns, Ready, EncryptedLabels, BinSums, KeptCuts, BinWoe),
    disclosures=(
        *DISCLOSURES,
        Disclosure(HOST, "the number of rows, and how many classes the label has", LabelPlan),
        Disclosure(
            GUEST,
            "the anonymous names of the host's columns, how many bins each has, and what the host wants to know",
            HostColumns,
        ),
        Disclosure(GUEST, "nothing: that the host is ready for the next rows", Ready),
        Disclosure(HOST, "nothing: labels encrypted under the guest's key", EncryptedLabels),
        Disclosure(
            GUEST,
            "for each bin of each of the host's columns (the fine bins, where bins are joined): how many rows it has, "
            "and how many of each class; so WOE and IV. Of the only row of a class: in which bins it lies",
            BinSums,
        ),
        Disclosure(
            HOST,
            "where bins are joined optimally: which of its neighbouring bins, which tells how alike the guest's labels "
            "are distributed in them",
            KeptCuts,
        ),
        Disclosure(
            HOST,
            "where host_woe is set and the host transforms to WOE: the WOE, and so the share of events, of each of its "
            "bins that has at least host_woe_rows rows and host_woe_events rows of each kind, and of smaller ones "
            "pooled with their neighbours; with the share of events in all rows, their number in each bin",
            BinWoe,
        ),
    ),
    coalitions=(
        "A guest that encrypts other numbers than labels, say a different power of two for each row, reads out of the "
        "sums in which bins single rows lie, some hundreds of rows a run: a host that does not trust the guest to "
        "encrypt labels should not take part. A host that is told WOE solves equations: the numbers of events in "
        "overlapping bins of many columns, or of one column binned anew in another job, give single labels away. What "
        "one job tells is kept below host_woe_bits for each row: at 0.25, which is the default, even columns that have "
        "nothing to do with the label let the host guess labels with an AUC of up to 0.62. Jobs are not added up. Two "
        "hosts that are told WOE and put it together learn as much as one that has the columns of both."
    ),
)
