"""Blind ids and multiply a peer's points, on all cores that this party may use."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
import numpy as np

from partyd.algorithms.psi_files import TAG_BYTES
from partyd.crypto import blinding
from partyd.errors import CryptoError
from partyd.federation.engine import Engine

DOMAIN = b"partyd psi 2"
MANY = 20_000
"""From so many ids of a chunk on, processes pay."""
PART_ROWS = 1 << 12


async def blind(engine: Engine, ids: Sequence[bytes], scalar: bytes) -> bytes:
    """Return the blinded element of each id, in order; many are computed on all cores."""
    if len(ids) < MANY:
        return blinding.blind(ids, scalar, DOMAIN)
    parts = (ids[at : at + PART_ROWS] for at in range(0, len(ids), PART_ROWS))
    return b"".join(await engine.map(blind_part, [msgpack.packb([scalar, *part]) for part in parts]))


async def reblind(engine: Engine, points: bytes, scalar: bytes, count: int) -> bytes:
    """Return a peer's ``count`` elements multiplied by ``scalar``; raises CryptoError or TaskFailed for bad ones."""
    if count < MANY:
        return blinding.reblind(points, scalar, count)
    width = blinding.ELEMENT_BYTES
    if len(points) != count * width or len({points[at : at + width] for at in range(0, len(points), width)}) != count:
        raise CryptoError(f"these are not {count} distinct elements of {width} bytes; refuse the sender's message")
    parts = (points[at : at + PART_ROWS * width] for at in range(0, len(points), PART_ROWS * width))
    return b"".join(await engine.map(reblind_part, [scalar + part for part in parts]))


async def tags_of(engine: Engine, points: bytes, scalar: bytes, count: int) -> bytes:
    """Return the tags of a peer's elements multiplied by ``scalar``: their first bytes, as random as the rest."""
    multiplied = np.frombuffer(await reblind(engine, points, scalar, count), np.uint8)
    return multiplied.reshape(-1, blinding.ELEMENT_BYTES)[:, :TAG_BYTES].tobytes()


def blind_part(partition: bytes) -> bytes:
    """Blind a partition: a list of the scalar and the ids."""
    scalar, *ids = msgpack.unpackb(partition)
    return blinding.blind(ids, scalar, DOMAIN)


def reblind_part(partition: bytes) -> bytes:
    """Multiply a partition: the scalar, then the elements."""
    return blinding.reblind(partition[blinding.SCALAR_BYTES :], partition[: blinding.SCALAR_BYTES])
