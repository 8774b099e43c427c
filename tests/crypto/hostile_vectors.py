"""Ciphertext vectors as a hostile peer would send them, and the count of what gets through.

Every mutant is made such that it must be refused by whoever knows the key, the count, the exponent and the bound. (A
ciphertext replaced by another unit is not among them: that is a valid vector of another number.)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from partyd.crypto.ciphers import HEADER, MAX_COUNT, Ciphertexts, CipherVector
from partyd.crypto.paillier import PrivateKey
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, CryptoError

COUNT = 4
EXAMPLES = 10


@dataclass
class Tally:
    """What happened: ``accepted``, ``unhandled`` and ``lost`` (honest vectors refused) must stay 0."""

    tried: int = 0
    accepted: int = 0
    unhandled: int = 0
    lost: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.accepted or self.unhandled or self.lost)


@dataclass(frozen=True)
class Vector:
    """The fields of a vector's wire form, each to be changed by itself."""

    version: int
    fingerprint: bytes
    exponent: int
    bound_bits: int
    count: int
    elements: tuple[bytes, ...]

    @classmethod
    def of(cls, data: bytes) -> Vector:
        version, fingerprint, exponent, bound_bits, count = HEADER.unpack_from(data)
        width = (len(data) - HEADER.size) // count
        elements = tuple(data[at : at + width] for at in range(HEADER.size, len(data), width))
        return cls(version, fingerprint, exponent, bound_bits, count, elements)

    def to_bytes(self, **changed: int | bytes) -> bytes:
        """Return the wire form with some header fields changed."""
        names = ("version", "fingerprint", "exponent", "bound_bits", "count")
        head = HEADER.pack(*(changed.get(name, getattr(self, name)) for name in names))
        return head + b"".join(self.elements)

    def holding(self, elements: list[bytes]) -> bytes:
        """Return the wire form with other elements, counted as they are."""
        changed = Vector(self.version, self.fingerprint, self.exponent, self.bound_bits, len(elements), tuple(elements))
        return changed.to_bytes()


class Mutator:
    """Make one mutant after the other of an honest vector under ``key``."""

    def __init__(self, key: PrivateKey, other: PrivateKey, rng: random.Random) -> None:
        self.key, self.other, self.rng = key, other, rng
        self.honest = key.encrypt(np.arange(COUNT) - 1.5, Prg(bytes(32), "hostile")).rerandomised().to_bytes()
        self.foreign = other.encrypt(np.arange(COUNT) - 1.5, Prg(bytes(32), "hostile")).rerandomised().to_bytes()
        self.parts, self.width = Vector.of(self.honest), key.public.ciphertext_bytes
        self.kinds: dict[str, Callable[[], bytes]] = {
            "a header's bit": self._bit,
            "version": lambda: self.parts.to_bytes(version=self._not(1, 0, 255)),
            "fingerprint": self._fingerprint,
            "exponent": lambda: self.parts.to_bytes(exponent=self._not(self.parts.exponent, -(1 << 31), (1 << 31) - 1)),
            "bound": lambda: self.parts.to_bytes(bound_bits=self._not(self.parts.bound_bits, 0, 65535)),
            "count": lambda: self.parts.to_bytes(count=self._count()),
            "fewer or more, counted": self._counted,
            "truncated": lambda: self.honest[: self.rng.randrange(len(self.honest))],
            "extended": lambda: self.honest + self.rng.randbytes(self.rng.choice([1, 2, self.width - 1, self.width])),
            "shifted": self._shifted,
            "other widths": self._widths,
            "out of range": lambda: self._replaced(self._out_of_range()),
            "not a unit": lambda: self._replaced(self._non_unit()),
            "another key's": lambda: self.foreign,
            "noise": lambda: self.rng.randbytes(self.rng.randrange(len(self.honest) + 40)),
        }

    def next(self) -> tuple[str, bytes]:
        """Return a kind and a mutant of it."""
        name = self.rng.choice(list(self.kinds))
        return name, self.kinds[name]()

    def _not(self, honest: int, low: int, high: int) -> int:
        """Return another value than ``honest``: a neighbour, an extreme or any."""
        near = [n for n in (honest - 1, honest + 1, low, high) if low <= n <= high and n != honest]
        return self.rng.choice([*near, self._any(honest, low, high)])

    def _any(self, honest: int, low: int, high: int) -> int:
        drawn = self.rng.randrange(low, high)
        return drawn if drawn != honest else high

    def _bit(self) -> bytes:
        data = bytearray(self.honest)
        for bit in self.rng.sample(range(8 * HEADER.size), self.rng.randint(1, 3)):
            data[bit // 8] ^= 1 << (bit % 8)
        return bytes(data)

    def _fingerprint(self) -> bytes:
        return self.parts.to_bytes(
            fingerprint=self.rng.choice([self.rng.randbytes(8), bytes(8), self.other.public.fingerprint])
        )

    def _count(self) -> int:
        return self.rng.choice([MAX_COUNT, MAX_COUNT + 1, 2 * COUNT, self._not(COUNT, 0, (1 << 32) - 1)])

    def _counted(self) -> bytes:
        """Return a vector that is well-formed but has not as many elements as the protocol says."""
        elements = list(self.parts.elements)
        at = self.rng.randrange(COUNT)
        return self.parts.holding(
            self.rng.choice([elements[:at], elements[at + 1 :], elements + elements[at:], elements * 7])
        )

    def _shifted(self) -> bytes:
        """Insert or remove some bytes within the header or the elements."""
        at, size = self.rng.randrange(len(self.honest)), self.rng.randint(1, self.width - 1)
        if self.rng.random() < 0.5 and at + size < len(self.honest):
            return self.honest[:at] + self.honest[at + size :]
        return self.honest[:at] + self.rng.randbytes(size) + self.honest[at:]

    def _widths(self) -> bytes:
        """Write the same numbers, or their remainders, in another width than the key's."""
        width = self.rng.choice([self.width - 1, self.width // 2, self.width + 1, 2 * self.width])
        numbers = [int.from_bytes(element, "big") % (1 << 8 * width) for element in self.parts.elements]
        return self.parts.holding([number.to_bytes(width, "big") for number in numbers])

    def _replaced(self, number: int) -> bytes:
        """Put ``number`` in the place of one element, and sometimes noise in the place of another."""
        elements = list(self.parts.elements)
        if self.rng.random() < 0.3:
            elements[self.rng.randrange(COUNT)] = self.rng.randbytes(self.width)
        elements[self.rng.randrange(COUNT)] = number.to_bytes(self.width, "big")
        return self.parts.holding(elements)

    def _out_of_range(self) -> int:
        n2, top = int(self.key.public.n2), (1 << 8 * self.width) - 1
        return self.rng.choice([0, n2, n2 + 1, top, self.rng.randint(n2, top)])

    def _non_unit(self) -> int:
        """Return a number in range that shares a factor with n."""
        n, n2, p, q = int(self.key.public.n), int(self.key.public.n2), int(self.key.p), int(self.key.q)
        factor = self.rng.choice([p, q, n, p * p, q * q, p * p * q])
        return factor * self.rng.choice([1, (n2 - 1) // factor, self.rng.randint(1, (n2 - 1) // factor)])

    def attack(self, tally: Tally) -> None:
        """Offer one mutant: it must be refused by an error of the kind that receivers catch."""
        name, mutant = self.next()
        tally.tried += 1
        tally.kinds[name] += 1
        try:
            self.read(mutant)
        except (BadValue, CryptoError):
            return
        except Exception as error:
            tally.unhandled += 1
            tally.examples = [*tally.examples, f"{name}: {error!r} from {mutant.hex()[:400]}"][:EXAMPLES]
            return
        tally.accepted += 1
        tally.examples = [*tally.examples, f"{name}: accepted {mutant.hex()[:400]}"][:EXAMPLES]

    def conclude(self, tally: Tally) -> None:
        """Offer the honest vector: a receiver who refused everything would not do."""
        tally.lost += self.key.decrypt(self.read(self.honest)).tolist() != [-1.5, -0.5, 0.5, 1.5]

    def read(self, data: bytes) -> CipherVector:
        """Read a vector as a protocol does that knows what must come."""
        parts = self.parts
        return Ciphertexts.from_bytes(data).under(
            self.key.public, count=COUNT, exponent=parts.exponent, bound_bits=parts.bound_bits
        )


def run(key: PrivateKey, other: PrivateKey, count: int, rng: random.Random) -> Tally:
    """Offer ``count`` mutants and an honest vector."""
    tally, mutator = Tally(), Mutator(key, other, rng)
    for _ in range(count):
        mutator.attack(tally)
    mutator.conclude(tally)
    return tally
