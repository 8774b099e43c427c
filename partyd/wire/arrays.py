"""The array types that a record's fields may have: one declared dtype, little-endian, at most four dimensions."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from partyd.errors import BadValue
from partyd.wire.codec import MAX_RECORD_BYTES, Coder

MAX_DIMENSIONS = 4


@dataclass(frozen=True)
class Dtype:
    """Names the one dtype an array field may have, as numpy's little-endian code."""

    code: str

    def array_coder(self) -> Coder:
        """Return how such a field is written and read."""
        return _coder(np.dtype(self.code))


def _coder(dtype: np.dtype[Any]) -> Coder:
    def encode(value: NDArray[Any]) -> bytes:
        if not isinstance(value, np.ndarray) or value.dtype != dtype or not 1 <= value.ndim <= MAX_DIMENSIONS:
            raise TypeError(f"expected an array of {dtype}, got {getattr(value, 'dtype', type(value).__name__)}")
        return struct.pack(f">B{value.ndim}Q", value.ndim, *value.shape) + np.ascontiguousarray(value).tobytes()

    def decode(value: Any) -> NDArray[Any]:
        if type(value) is not bytes or not value or not 1 <= value[0] <= MAX_DIMENSIONS:
            raise BadValue(f"expected an array of {dtype}")
        offset = 1 + 8 * value[0]
        if len(value) < offset:
            raise BadValue("an array's shape is cut off")
        shape = struct.unpack(f">{value[0]}Q", value[1:offset])
        if math.prod(max(side, 1) for side in shape) > MAX_RECORD_BYTES:
            raise BadValue("an array's shape is larger than any array")
        if math.prod(shape) * dtype.itemsize != len(value) - offset:
            raise BadValue("an array's bytes do not match its shape")
        return np.frombuffer(value, dtype=dtype, offset=offset).reshape(shape)

    return Coder(encode, decode)


Floats = Annotated[NDArray[np.float64], Dtype("<f8")]
Ints = Annotated[NDArray[np.int64], Dtype("<i8")]
Words = Annotated[NDArray[np.uint64], Dtype("<u8")]
Octets = Annotated[NDArray[np.uint8], Dtype("|u1")]
