"""Pearson correlation between the columns of guest and host, by additive shares of a product of private matrices.

A column x is brought to u = (x - mean) / |x - mean|, so that the correlation of two columns is <u, v> and no entry
exceeds 1. Entries are integers of ``PRECISION`` binary places. The guest encrypts its columns under its own Paillier
key, as many side by side in a plaintext as there is room for (`partyd.crypto.packing.Layout`): a row is one ciphertext,
or a few. The host raises them to its own entries, which gives [[<u, v>]] for all columns u at once, and adds a uniform
mask 40 bits wider. Then the guest holds sum + mask and the host the mask: shares of the product, from which neither
learns anything (the two-party product of Mohassel and Zhang, "SecureML", IEEE S&P 2017, section 5.1, with one set of
ciphertexts for the whole matrix). They open them to each other. The errors of rounding give at most rows^0.5 2^-28.

With several hosts the guest runs this with each; the columns of two hosts are not compared.

============  ===========  ========================================================================================
message       from, to     what the receiver learns
============  ===========  ========================================================================================
GuestKey      guest, host  the guest's public key
GuestColumns  guest, host  the names that peers know for the guest's columns, and how many there are; [[u]]: nothing
Product       host, guest  the names that peers know for the host's columns, and how many; a masked product: nothing
GuestShare    guest, host  the correlation of each of the guest's columns with each of its own
HostShare     host, guest  the correlation of each of this host's columns with each of its own
============  ===========  ========================================================================================

A constant column is all zeros in u and correlates with nothing: its correlations are 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.guest_key import DISCLOSURES, GuestKey, receive_guest_key, send_guest_key
from partyd.algorithms.he_parameters import HeParam
from partyd.algorithms.linear_model import LEAST_ROWS_A_COLUMN, insist_on_finite
from partyd.algorithms.parameters import FateParams
from partyd.crypto.packing import MASK_BITS, Layout, masked
from partyd.crypto.paillier import KEY_BITS, Ciphertexts, PublicKey, concatenate
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.arrays import Floats
from partyd.wire.codec import BigInt

Matrix = NDArray[np.float64]
PRECISION = 28
"""Binary places of an entry."""
MOST_COLUMNS = 2000
NAME = "cross_correlation"


class CrossCorrelationParams(FateParams):
    """The encryption."""

    he_param: HeParam = HeParam()

    @property
    def key_bits(self) -> int:
        """Bits of the guest's key, never below the floor. A test's own subclass may go lower."""
        return max(self.he_param.key_length, KEY_BITS)


@dataclass(frozen=True)
class Columns:
    """One party's rows, aligned with the peers', and the names by which peers know its columns."""

    x: Matrix
    names: tuple[str, ...]


class GuestColumns(Message, sender=GUEST, receiver=HOST):
    """The guest's columns, hidden, group by group; ``rows`` of them each."""

    names: list[str]
    rows: int
    u: Ciphertexts


class Product(Message, sender=HOST, receiver=GUEST):
    """For each group the product with each of the host's columns, behind a mask."""

    names: list[str]
    p: Ciphertexts


class GuestShare(Message, sender=GUEST, receiver=HOST):
    """What the guest decrypted: the product and the host's mask."""

    share: list[BigInt]


class HostShare(Message, sender=HOST, receiver=GUEST):
    """The host's masks."""

    share: list[BigInt]


class Correlations(State):
    """What a party learned, by peer: the peer's names, and own columns x the peer's columns."""

    names: dict[str, list[str]] = Field(default_factory=dict)
    values: dict[str, Floats] = Field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How ``columns`` of the guest stand in the plaintexts of a key, for ``rows`` rows: both sides compute it alike."""

    key: PublicKey
    rows: int
    columns: int

    @property
    def width(self) -> int:
        """The bits of a slot: of the sum of all rows' products, and its sign."""
        return (self.rows << 2 * PRECISION).bit_length() + 1

    @property
    def each(self) -> int:
        """How many columns a plaintext holds beside the factor that it is multiplied with, and the mask."""
        room = self.key.capacity.bit_length() - MASK_BITS - PRECISION - self.rows.bit_length() - 3
        if room < self.width:
            raise BadValue(f"a {self.key.bits}-bit key has no room for the products of {self.rows} rows; take a longer")
        return room // self.width

    @property
    def groups(self) -> tuple[int, ...]:
        """How many columns each plaintext of a row holds."""
        return tuple(min(self.each, self.columns - start) for start in range(0, self.columns, self.each))

    def bits(self, group: int) -> int:
        """The bits of a plaintext of ``group`` columns."""
        return self.width * group


def unit(x: Matrix) -> Matrix:
    """Return the columns of ``x`` centred and of length 1, those that are constant as zeros."""
    centred = x - x.mean(axis=0)
    length = np.sqrt(np.sum(centred * centred, axis=0))
    constant = length <= 1e-12 * np.abs(x).max(axis=0, initial=0.0) * np.sqrt(len(x))
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, length))


def scaled(x: Matrix) -> NDArray[np.int64]:
    """Return the entries of ``unit(x)`` as integers."""
    return np.rint(np.ldexp(unit(x), PRECISION)).astype(np.int64)


async def guest(party: Party, params: CrossCorrelationParams, data: Columns) -> Correlations:
    """Encrypt the own columns, decrypt the masked products, and open them with each host."""
    _insist_on_columns(data.x)
    rows, columns = data.x.shape
    private = await send_guest_key(party, NAME, params.key_bits, params.he_param.obfuscation)
    plan, u = Plan(private.public, rows, columns), scaled(data.x)
    integers = [m for some in _cut(u, plan) for m in Layout((plan.width,) * some.shape[1]).join(some.T.tolist())]
    bits = plan.bits(plan.groups[0])
    vector = await party.ciphers.encrypt_integers(private, integers, bits)
    sent = await party.ciphers.rerandomised(vector)
    await party.send(GuestColumns(names=list(data.names), rows=rows, u=sent))
    names, values = dict[str, list[str]](), dict[str, Floats]()
    for host_address, message in (await party.gather(Product)).items():
        _insist_on_names(message.names, rows, host_address)
        count = len(plan.groups) * len(message.names)
        bound = (((1 << bits) - 1 << PRECISION) * rows).bit_length() + MASK_BITS + 1
        product = message.p.under(private.public, count=count, exponent=0, max_bound_bits=bound)
        share = await party.ciphers.decrypt_integers(private, product)
        await party.send(GuestShare(share=share), to=host_address)
        masks = (await party.recv(HostShare, host_address)).share
        peer = str(host_address)
        names[peer], values[peer] = message.names, _opened(share, masks, plan, len(message.names))
        party.report.progress(len(names), len(party.peers(HOST)), "hosts")
    return Correlations(finished=True, names=names, values=values)


async def host(party: Party, params: CrossCorrelationParams, data: Columns) -> Correlations:
    """Multiply the guest's hidden columns by the own, mask the products, and open them with the guest."""
    _insist_on_columns(data.x)
    key = await receive_guest_key(party, NAME, params.key_bits, params.he_param.hiding)
    message, (guest_address,) = await party.recv(GuestColumns), party.peers(GUEST)
    if message.rows != len(data.x):
        raise DataError(f"the guest has {message.rows} rows, this host {len(data.x)}; align them with psi first")
    _insist_on_names(message.names, len(data.x), guest_address)
    plan, v = Plan(key, len(data.x), len(message.names)), scaled(data.x)
    bits = plan.bits(plan.groups[0])
    u = message.u.under(key, count=len(plan.groups) * plan.rows, exponent=0, bound_bits=bits)
    share: list[int] = []
    hidden = []
    for i in range(len(plan.groups)):
        group = u[i * plan.rows : (i + 1) * plan.rows]
        product = await party.ciphers.premultiplied(group, v.T, magnitude=float(1 << PRECISION))
        sums, masks = masked(product, party.rng(f"mask {i}"))
        hidden.append(sums)
        share += masks
    sent = await party.ciphers.rerandomised(concatenate(hidden))
    await party.send(Product(names=list(data.names), p=sent))
    theirs = (await party.recv(GuestShare)).share
    values = _opened(theirs, share, plan, v.shape[1]).T.copy()  # before the masks go: columns that were none show here
    await party.send(HostShare(share=share))
    peer = str(guest_address)
    return Correlations(finished=True, names={peer: message.names}, values={peer: values})


def _cut(u: NDArray[np.int64], plan: Plan) -> list[NDArray[np.int64]]:
    return [u[:, start : start + plan.each] for start in range(0, plan.columns, plan.each)]


def _opened(share: list[int], masks: list[int], plan: Plan, columns: int) -> Matrix:
    """Return the correlations, the guest's columns x the host's, of the two shares; raises BadValue for others."""
    if len(masks) != len(share) or len(share) != len(plan.groups) * columns:
        raise BadValue(f"a share of {len(masks)} numbers came for one of {len(share)}; check the peer's version")
    sums = [value - mask for value, mask in zip(share, masks, strict=True)]
    parts = []
    for i, group in enumerate(plan.groups):
        fields = Layout((plan.width,) * group).split(sums[i * columns : (i + 1) * columns])
        parts += [[field / (1 << 2 * PRECISION) for field in row] for row in fields]
    values = np.array(parts, dtype=np.float64)
    if not bool(np.all(np.abs(values) <= 1 + 1e-6)):
        raise BadValue("a correlation beyond 1 came out of the peer's share; do not go on with this peer")
    return np.clip(values, -1.0, 1.0)


def _insist_on_columns(x: Matrix) -> None:
    insist_on_finite(x)
    if x.shape[1] == 0:
        raise DataError("no column is left to correlate; name fewer in skip_col")


def _insist_on_names(names: list[str], rows: int, peer: Address) -> None:
    """Insist on a number of the peer's columns that leaves the own ones hidden, and on names that a model can hold."""
    if not 1 <= len(names) <= MOST_COLUMNS or any(not 1 <= len(name) <= 100 for name in names):
        raise BadValue(f"{peer} correlates {len(names)} columns, not 1 to {MOST_COLUMNS} with names; check its version")
    if len(set(names)) != len(names):
        raise BadValue(f"{peer} gives two of its columns one name; check its version")
    if rows < LEAST_ROWS_A_COLUMN * len(names):
        raise DataError(
            f"{rows} rows against {peer}'s {len(names)} columns: their correlations would give it much of this party's "
            f"columns themselves; take more rows or fewer columns, at least {LEAST_ROWS_A_COLUMN} rows for each"
        )


cross_correlation = Algorithm(
    name=NAME,
    version="1",
    params=CrossCorrelationParams,
    programs={GUEST: Program(Correlations, guest), HOST: Program(Correlations, host)},
    messages=(GuestKey, GuestColumns, Product, GuestShare, HostShare),
    disclosures=(
        *DISCLOSURES,
        Disclosure(
            HOST,
            "how many columns the guest compares, their anonymous names and the number of rows; their values are "
            "encrypted under the guest's key",
            GuestColumns,
        ),
        Disclosure(
            GUEST, "how many columns the host compares and their anonymous names; the products are masked", Product
        ),
        Disclosure(HOST, "the correlation of each of the guest's columns with each of its own", GuestShare),
        Disclosure(GUEST, "the correlation of each of the host's columns with each of its own", HostShare),
    ),
    coalitions=(
        "A party that chooses its own columns freely (one that is zero on all but one row, say) reads single values of "
        "the peer's standardised columns out of the correlations. The correlations with k columns explain, over n "
        "rows, k / n of the variance even of an unrelated column of the peer; as many as there are rows would give "
        "whole columns, so that more than n / 2 columns are refused, and far fewer are wise. Each further job with "
        "other columns adds to this. The correlations are rounded to 56 binary places."
    ),
)
