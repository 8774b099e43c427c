"""A host's part in vertical boosting: offer its sides under its own key, open masked sums, split its own nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.arbiter_key import new_key, private_key
from partyd.algorithms.secureboost_columns import Candidates, goes_left, insist_on_known
from partyd.algorithms.secureboost_messages import (
    Chosen,
    ChosenSplits,
    EncryptedSides,
    HostKey,
    HostRecord,
    HostRows,
    HostState,
    MaskedSums,
    OpenedSums,
    Plan,
    Sides,
    Split,
    bits_of,
    flags_of,
)
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_sums import Packing
from partyd.crypto import keycheck, selection
from partyd.crypto.packing import blinded_bits
from partyd.crypto.paillier import PrivateKey
from partyd.crypto.prg import SEED_BYTES, Prg
from partyd.errors import BadValue, DataError
from partyd.federation.party import Party
from partyd.types import Address
from partyd.wire.codec import Secret

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Bits = NDArray[np.uint8]
CHUNK_BYTES = 4 << 20
"""Ciphertexts in a message: both sides hold some copies of it, and ten times as much of bits before encryption."""
MOST_NODES = 1 << 16
MOST_SIDES = 1 << 28
"""Rows times splits in one selection: 32 MiB of sides, and a minute of hashing."""
NOTHING = np.zeros(0, dtype=np.uint8)


async def start_host(party: Party, params: SecureBoostParams, data: HostRows) -> HostState:
    """Check the columns and make the key; it is sent in the next round, when this state has been checkpointed."""
    data.columns(params)
    if data.held_out is not None:
        insist_on_known(np.asarray(data.held_out), use_missing=params.use_missing)
    return HostState(key=new_key(params.key_bits), seed=party.rng("order").take(SEED_BYTES))


async def host(party: Party, params: SecureBoostParams, data: HostRows, state: HostState) -> HostState:
    """Meet the guest, send a chunk of sides, or help with a level of trees."""
    private = private_key(state.key, params.key_bits, params.he_param.obfuscation)
    offered = data.offered(params, state.seed)
    if not state.met:
        return await _meet(party, params, data, state, private, offered)
    packing = Packing.of(private.public, state.rows, state.bits, len(offered))
    if state.sent < state.rows:
        rows = slice(state.sent, min(state.sent + state.chunk_rows, state.rows))
        party.obfuscators(private, (state.rows - state.sent) * packing.per_row)
        plain = packing.plaintexts(data.columns(params).lefts(offered, rows))
        hidden = await party.ciphers.encrypt_integers(private, plain, packing.plain_bits)
        await party.send(EncryptedSides(sides=hidden.rerandomised()))
        party.report.progress(rows.stop, state.rows, "encrypting")
        return state.model_copy(update={"sent": rows.stop})
    party.obfuscators(private, 0)
    return await _level(party, params, data, state, private, offered, packing)


async def _meet(
    party: Party,
    params: SecureBoostParams,
    data: HostRows,
    state: HostState,
    private: PrivateKey,
    offered: Candidates,
) -> HostState:
    proof = keycheck.prove(private, key_context(party, party.me))
    key = keycheck.public_to_bytes(private.public)
    sender = selection.begin(party.rng("offer")) if params.hide_rows else None
    offer = b"" if sender is None else sender.request.points
    columns, candidates = np.shape(data.x)[1], len(offered)
    told = HostKey(key=key, proof=proof, columns=columns, candidates=candidates, first=data.first, offer=offer)
    await party.send(told)
    plan = await party.recv(Plan)
    if plan.rows != len(data.x) or plan.held_out != data.held_rows:
        raise DataError(f"the guest trains on {plan.rows} rows, this host has {len(data.x)}; align them with psi first")
    if (plan.bits, plan.fields) != (params.gradient_bits, params.fields):
        raise BadValue(f"the guest plans {plan.fields} sums of {plan.bits} bits against the job; check its version")
    packing = Packing.of(private.public, plan.rows, plan.bits, len(offered))
    if not 1 <= plan.chunk_rows <= packing.chunk_rows(private.public, CHUNK_BYTES):
        raise BadValue(f"the guest asks for {plan.chunk_rows} rows in a message; check its version")
    kept = b"" if sender is None else selection.ready(sender, plan.point).to_bytes()
    planned = plan.model_dump(exclude={"point"})
    return state.model_copy(update={"met": True, "transfers": Secret(kept), **planned})


async def _level(
    party: Party,
    params: SecureBoostParams,
    data: HostRows,
    state: HostState,
    private: PrivateKey,
    offered: Candidates,
    packing: Packing,
) -> HostState:
    """Open the masked sums of a level and split the nodes that come here."""
    asked = await party.recv(MaskedSums)
    if asked.finished:
        return state.model_copy(update={"finished": True})
    begun, depth = state.begun + asked.begins, 0 if asked.begins else state.depth
    if not 1 <= begun <= params.num_trees or depth >= params.depth:
        raise BadValue(f"the guest asks for level {depth} of round {begun}, more than the job has; check its version")
    most = params.aim.trees << depth
    allowed = _allowed(params, offered, state.seed, begun) if asked.begins else NOTHING
    values = await _opened(party, state, private, packing, asked, min(most, MOST_NODES))
    await party.send(OpenedSums(values=values, allowed=allowed))
    chosen = await party.recv(ChosenSplits)
    _insist_on_chosen(params, data, chosen, len(offered), most)
    rules = [_rule(params, data, offered, one.candidate) for one in chosen.splits]
    first = data.first + len(state.records)
    if not params.hide_rows:
        lefts = [_told(params, data, state, one, rule) for one, rule in zip(chosen.splits, rules, strict=True)]
        hidden = NOTHING
    else:
        lefts, hidden = [NOTHING] * len(rules), _hidden(params, data, state, chosen, rules)
    numbered = enumerate(zip(lefts, rules, strict=True))
    splits = [Split(left=left, column=rule.column, record=first + i) for i, (left, rule) in numbered]
    await party.send(Sides(splits=splits, hidden=hidden))
    party.report.progress(min(begun, params.num_trees), params.num_trees, "training")
    done = {"begun": begun, "depth": depth + 1, "levels": state.levels + 1, "records": [*state.records, *rules]}
    return state.model_copy(update=done)


async def _opened(
    party: Party, state: HostState, private: PrivateKey, packing: Packing, asked: MaskedSums, most: int
) -> list[int]:
    if not 0 <= asked.nodes <= most or (asked.sums is None) != (asked.nodes == 0):
        raise BadValue(f"the guest asks for sums of {asked.nodes} nodes; check its version")
    if asked.sums is None:
        return []
    count = asked.nodes * state.fields * packing.per_row
    hidden = asked.sums.under(private.public, count=count, exponent=0, bound_bits=blinded_bits(private.public))
    return await party.ciphers.decrypt_residues(private, hidden)


def _insist_on_chosen(params: SecureBoostParams, data: HostRows, chosen: ChosenSplits, offered: int, most: int) -> None:
    """Raise unless the chosen splits are of those offered, no more of them than the level's trees have nodes."""
    if any(not 0 <= one.candidate < offered for one in chosen.splits):
        raise BadValue("the guest chose a split that was not offered; check its version")
    trees = np.array([one.tree for one in chosen.splits], dtype=np.int64)
    by_tree = np.bincount(trees, minlength=1) if not np.any((trees < 0) | (trees >= params.aim.trees)) else None
    if by_tree is None or int(by_tree.max()) > most // params.aim.trees:
        raise BadValue(f"the guest splits {len(trees)} nodes, the level has {most} at most; check its version")
    if params.hide_rows:
        insist_on_table(len(data.x) + data.held_rows, len(trees))


def insist_on_table(rows: int, splits: int) -> None:
    """Raise DataError for more sides than one selection may hide."""
    if rows * splits > MOST_SIDES:
        raise DataError(
            f"hiding {rows} rows at {splits} splits of a level takes more than {MOST_SIDES} sides; lower max_depth, "
            "or set hide_rows to false"
        )


def _allowed(params: SecureBoostParams, offered: Candidates, seed: bytes, begun: int) -> NDArray[np.uint8]:
    """Return which candidates new trees may use: those of a random part of the columns."""
    if params.subsample_feature_rate == 1:
        return NOTHING
    columns = chosen_columns(offered, params.subsample_feature_rate, Prg(seed, "columns", str(begun)))
    return bits_of(np.isin(offered.column, columns))


def chosen_columns(offered: Candidates, rate: float, prg: Prg) -> NDArray[np.int64]:
    """Return a random part of the columns that offer candidates, at least one."""
    columns = np.unique(offered.column)
    return columns[prg.permutation(len(columns))[: max(1, round(rate * len(columns)))]]


def _rule(params: SecureBoostParams, data: HostRows, offered: Candidates, candidate: int) -> HostRecord:
    """Return the rule that a candidate is."""
    column, last = int(offered.column[candidate]), int(offered.bin[candidate])
    threshold = float(data.columns(params).edges[column][last])
    return HostRecord(column=column, threshold=threshold, missing_left=bool(offered.missing_left[candidate]))


def _lefts(params: SecureBoostParams, x: Matrix | None, rule: HostRecord) -> Mask:
    """Return which rows go left of a rule."""
    if x is None:
        return np.zeros(0, dtype=np.bool_)
    ways = {"missing_left": rule.missing_left, "zero_as_missing": params.zero_as_missing}
    return goes_left(np.asarray(x[:, rule.column]), rule.threshold, **ways)


def _told(params: SecureBoostParams, data: HostRows, state: HostState, one: Chosen, rule: HostRecord) -> Bits:
    """Return the sides of the rows that the guest names."""
    sizes = (-(-state.rows // 8), -(-state.held_out // 8))
    if (one.rows.shape, one.held_out.shape) != ((sizes[0],), (sizes[1],)):
        raise BadValue("the guest names rows that are none; check its version")
    left = _lefts(params, data.x, rule)[flags_of(one.rows, state.rows)]
    held = _lefts(params, data.held_out, rule)[flags_of(one.held_out, state.held_out)]
    return bits_of(np.concatenate([left, held]))


def _hidden(
    params: SecureBoostParams,
    data: HostRows,
    state: HostState,
    chosen: ChosenSplits,
    rules: Sequence[HostRecord],
) -> Bits:
    """Return the sides of all rows at the chosen splits, for the guest to open one of each tree for each row."""
    tables = []
    for tree in dict.fromkeys(one.tree for one in chosen.splits):
        mine = [rule for one, rule in zip(chosen.splits, rules, strict=True) if one.tree == tree]
        sides = [np.concatenate([_lefts(params, x, rule) for x in (data.x, data.held_out)]) for rule in mine]
        tables.append(np.column_stack(sides).astype(np.uint8))
    if not tables:
        return NOTHING
    owner = selection.Owner.from_bytes(state.transfers.to_bytes())
    return selection.hide(owner, chosen.columns, tables, str(state.levels))


def key_context(party: Party, host_address: Address) -> bytes:
    """Return what the proof of a host's key is for: this attempt of this task, and who made it."""
    return b"hetero_secureboost " + party.context + str(host_address).encode()
