"""A host of hetero_secureboost that encrypts what are no sides, or with randomness that is none of its key's."""

from __future__ import annotations

import asyncio

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from numpy.typing import NDArray
from scipy.stats import kstest

from partyd.algorithms.he_parameters import HIDING
from partyd.algorithms.secureboost_sums import Packing, Stored, Summands, kept, node_sums
from partyd.crypto.packing import blinded
from partyd.crypto.paillier import CipherVector, PrivateKey, PublicKey, generate_keypair
from partyd.crypto.prg import Prg
from partyd.errors import BadValue
from partyd.federation.engine import Inline

SEED = Prg(bytes(32), "a lying host")
LEVELS = (-2047, 1365)


def stored_of(guest: PublicKey, packing: Packing, hidden: list[mpz]) -> Stored:
    """Return ciphertexts as the guest keeps them, one to a row."""
    pieces = kept(CipherVector(guest, hidden, 0, packing.sum_bound), packing, 0, len(hidden))
    return Stored(bytearray(b"".join(data for _, data in pieces)), len(hidden), 1, guest.ciphertext_bytes)


def sums_of(guest: PublicKey, packing: Packing, hidden: list[mpz], node: Summands) -> CipherVector:
    """Return the hidden sums of a node."""
    stored = stored_of(guest, packing, hidden)
    return asyncio.run(node_sums(Inline(), guest, packing, stored, [node]))


def lies(private: PrivateKey, y: NDArray[np.int64]) -> tuple[list[mpz], int, Summands]:
    """Return numbers of which every label would be a digit of the sum; that sum if no label were 0; and the node."""
    n, n2, gap = int(private.public.n), private.public.n2, LEVELS[1] - LEVELS[0]
    plain = [n // (gap * 2 ** (j + 2)) for j in range(len(y))]  # the guest doubles
    obfuscators = private.obfuscators(len(y), SEED)
    hidden = [(1 + mpz(k) * n) * r % n2 for k, r in zip(plain, obfuscators, strict=True)]
    codes = y.astype(np.uint8)
    node = Summands(np.arange(len(y)), codes, np.array([[LEVELS[1]], [LEVELS[0]]]))
    return hidden, sum(LEVELS[1] * k for k in plain), node


def digits(seen: int, n: int) -> list[int]:
    """Return the first 16 binary digits of ``seen`` / n, rounded."""
    top = ((seen + (n >> 18)) % n << 16) // n
    return [top >> (15 - j) & 1 for j in range(16)]


def test_a_host_that_encrypts_huge_sides_reads_no_labels() -> None:
    public, private = generate_keypair(512, SEED, insecure_for_tests=True)
    n, packing = int(public.n), Packing.of(public, 30_000, 12, 5)
    y = np.random.default_rng(3).integers(0, 2, 16)
    guest = PublicKey(n, HIDING["djn448"])
    hidden, highest, node = lies(private, y)
    sums = sums_of(guest, packing, hidden, node)
    read, shares = [], []
    for i in range(200):
        (residue,) = private.decrypt_residues(blinded(sums, SEED.child(f"mask {i}"))[0])
        read.append(digits(2 * highest - residue, n) == y.tolist())
        shares.append(residue / n)
    assert not any(read)
    assert kstest(np.array(shares), "uniform").pvalue > 1e-2


def test_without_the_mask_the_same_host_would_read_them() -> None:
    public, private = generate_keypair(512, SEED, insecure_for_tests=True)
    y = np.random.default_rng(3).integers(0, 2, 16)
    hidden, highest, node = lies(private, y)
    sums = sums_of(PublicKey(int(public.n)), Packing.of(public, 30_000, 12, 5), hidden, node)
    (residue,) = private.decrypt_residues(sums)
    assert digits(2 * highest - residue, int(public.n)) == y.tolist()


def test_the_guest_refuses_what_such_sides_come_to() -> None:
    public, private = generate_keypair(512, SEED, insecure_for_tests=True)
    y, packing = np.random.default_rng(3).integers(0, 2, 16), Packing.of(public, 30_000, 12, 5)
    hidden, _, node = lies(private, y)
    sums, masks = blinded(sums_of(public, packing, hidden, node), SEED)
    with pytest.raises(BadValue, match="do not go on"):
        packing.opened(public, private.decrypt_residues(sums), masks, 1)


@pytest.mark.parametrize("off", [1, 1 << 400])
def test_the_guest_refuses_sums_that_are_odd_or_no_residues(off: int) -> None:
    public, _ = generate_keypair(512, SEED, insecure_for_tests=True)
    packing = Packing.of(public, 40, 12, 5)
    for opened in (7 + off, int(public.n) + 7, -1):
        with pytest.raises(BadValue, match="do not go on"):
            packing.opened(public, [opened], [7], 1)


def test_a_host_whose_randomness_is_no_power_of_h_reads_no_parity() -> None:
    private = generate_keypair(512, SEED, insecure_for_tests=True)[1]
    n, n2, p = private.public.n, private.public.n2, private.p
    w = (1 - 2 * p * private._p_inverse) % n  # 1 modulo p, -1 modulo q
    packing, guest = Packing.of(private.public, 40, 12, 5), PublicKey(int(n), "djn_half")
    found = []
    for g in (1364, 1365) * 8:
        hidden = private.obfuscators(1, SEED)[0] * gmpy2.powmod(w, n, n2) % n2
        node = Summands(np.array([0]), np.array([0], np.uint8), np.array([[g]]))
        sums, _ = blinded(sums_of(guest, packing, [hidden], node), SEED)
        (answer,) = sums.rerandomised().values
        found.append(int(gmpy2.jacobi(answer, n)))
    assert found == [1] * 16
