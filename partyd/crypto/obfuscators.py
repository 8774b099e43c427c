"""Encryptions of zero, computed before they are needed: a pool for each key.

An encryption or a re-randomisation spends nearly all its time on the obfuscator r; with r there, (1 + m n) r is a
product (`encrypted`). What is in the pool comes from the operating system's entropy, never from a stream that a
repeated round would repeat: the same r under two different plaintexts would show their difference. It is handed out
once, in this process alone, and is never written down, so that it cannot come back after a restart.

`ObfuscatorPool.fill` works in pieces of some milliseconds, for a process that is waiting and wants to know soon when
the waiting is over; and never beyond what was said to be wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gmpy2 import mpz

from partyd.crypto.ciphers import CipherVector
from partyd.crypto.encoding import Encoded
from partyd.crypto.paillier import PrivateKey, PublicKey
from partyd.crypto.prg import Prg
from partyd.crypto.work import obfuscator_s

Key = PublicKey | PrivateKey
CAPACITY = 1 << 12
"""Obfuscators kept at most: 2 MiB under a 2048-bit key."""
PIECE_S = 0.006
"""About how long a piece of filling takes."""


class ObfuscatorPool:
    """Obfuscators of one key, each given out once; threads may take and fill at the same time."""

    def __init__(self, key: Key, capacity: int = CAPACITY) -> None:
        self.key, self.capacity = key, capacity
        self._stock: deque[mpz] = deque()
        self._wanted = 0
        self._piece = max(1, int(PIECE_S / obfuscator_s(key)))

    def __len__(self) -> int:
        return len(self._stock)

    @property
    def missing(self) -> int:
        """How many are wanted that are not here, as far as there is room."""
        return max(0, min(self._wanted, self.capacity) - len(self._stock))

    @property
    def wanted(self) -> int:
        """How many will be taken from here on, as far as anybody has said."""
        return self._wanted

    def want(self, count: int) -> None:
        """Say how many will be taken from here on; what was said before is forgotten."""
        self._wanted = max(0, count)

    def fill(self) -> int:
        """Compute one piece of what is missing and return how many that were, 0 when nothing is missing."""
        count = min(self._piece, self.missing)
        if count:
            self._stock.extend(self.key.obfuscators(count, Prg.fresh()))
        return count

    def take(self, count: int) -> list[mpz]:
        """Return ``count`` obfuscators, or what there is, and forget them."""
        taken: list[mpz] = []
        while len(taken) < count:
            try:
                taken.append(self._stock.popleft())
            except IndexError:
                break
        self._wanted = max(0, self._wanted - count)
        return taken


def public_of(key: Key) -> PublicKey:
    """Return the public half of a key, or the key."""
    return key.public if isinstance(key, PrivateKey) else key


def encrypted(key: PublicKey, encoded: Encoded, obfuscators: Sequence[mpz]) -> CipherVector:
    """Return the encryption of each integer under its obfuscator; raises EncodingOverflow for a bound beyond the key.

    (1 + m n) r = r + n (r m mod n) modulo n^2, which takes half of a product modulo n^2.
    """
    key.insist_on_room(encoded.bound)
    n, n2 = key.n, key.n2
    sums = (r + r % n * m % n * n for m, r in zip(encoded.integers, obfuscators, strict=True))
    values = [total - n2 if total >= n2 else total for total in sums]
    return CipherVector(key, values, encoded.exponent, encoded.bound, _fresh=True)
