"""Search a capture for very many needles at once: each as it is, in hexadecimal, and in base64 at all alignments."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

PREFIX = 8
SHORTEST = 6
"""A shorter needle would be found in random bytes by chance."""
HASHES = tuple(
    name for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "sm3") if name in hashlib.algorithms_available
)


def encodings(needle: bytes) -> Iterator[bytes]:
    """Yield the forms under which ``needle`` may stand somewhere inside a longer text."""
    yield needle
    yield needle.hex().encode()
    yield needle.hex().upper().encode()
    for lead in range(3):
        whole = base64.b64encode(bytes(lead) + needle)
        start, end = -(-lead * 8 // 6), (lead + len(needle)) * 8 // 6
        yield whole[start:end]
        yield whole[start:end].replace(b"+", b"-").replace(b"/", b"_")


def digests(value: bytes) -> Iterator[bytes]:
    """Yield the digests of a value that somebody might think hides it."""
    for name in HASHES:
        yield hashlib.new(name, value).digest()


@dataclass
class Needles:
    """What must not be found, each with what it is."""

    known: dict[bytes, str] = field(default_factory=dict)
    too_short: int = 0

    def add(self, what: str, *values: bytes) -> None:
        """Search for ``values`` and their encodings."""
        for value in values:
            for form in encodings(value):
                if len(form) < SHORTEST:
                    self.too_short += 1
                else:
                    self.known.setdefault(form, what)

    def add_texts(self, what: str, texts: Iterable[str]) -> None:
        """Search for texts."""
        self.add(what, *(text.encode() for text in texts))

    def find(self, stream: bytes) -> list[tuple[str, bytes, int]]:
        """Return every needle that stands in ``stream``: what it is, its bytes, and where."""
        long = {needle: what for needle, what in self.known.items() if len(needle) >= PREFIX}
        found = [
            (what, needle, stream.find(needle))
            for needle, what in self.known.items()
            if len(needle) < PREFIX and needle in stream
        ]
        by_prefix: dict[int, list[bytes]] = {}
        for needle in long:
            by_prefix.setdefault(int.from_bytes(needle[:PREFIX], "little"), []).append(needle)
        prefixes = np.sort(np.array(list(by_prefix), dtype=np.uint64))
        for place in _places(stream, prefixes):
            head = int.from_bytes(stream[place : place + PREFIX], "little")
            found += [(long[n], n, place) for n in by_prefix[head] if stream.startswith(n, place)]
        return found


def _places(stream: bytes, prefixes: np.ndarray) -> Iterator[int]:  # type: ignore[type-arg]
    """Yield the places of ``stream`` at which eight bytes stand that begin a needle."""
    if not len(prefixes):
        return
    for offset in range(min(PREFIX, max(0, len(stream) - PREFIX + 1))):
        count = (len(stream) - offset) // PREFIX
        windows = np.frombuffer(stream, "<u8", count=count, offset=offset)
        at = np.minimum(np.searchsorted(prefixes, windows), len(prefixes) - 1)
        for index in np.flatnonzero(prefixes[at] == windows):
            yield int(index) * PREFIX + offset
