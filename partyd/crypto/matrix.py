"""A matrix of Paillier ciphertexts: a ``CipherVector`` in row-major order with a shape.

All entries stand under one key, at one exponent and below one bound, so a matrix is computed with, re-randomised and
sent as its vector is: the wire carries the flat ``Ciphertexts``, and the receiver, who knows the shape from the
protocol, writes ``CipherMatrix(ciphertexts.under(key, count=rows * columns), (rows, columns))``. Decrypt with
``private.decrypt(matrix.vector).reshape(matrix.shape)``.

Indexing is numpy's: what would give a number or a row there gives a ``CipherVector`` here, what would give a matrix
gives a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import phe
from numpy.typing import NDArray

from partyd.crypto.ciphers import Ciphertexts, CipherVector, Index, Plain, concatenate
from partyd.crypto.encoding import EXPONENT, MAGNITUDE, MATRIX_EXPONENT
from partyd.crypto.multiexp import product_of
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

if TYPE_CHECKING:
    from partyd.crypto.paillier import PublicKey


class CipherMatrix:
    """Ciphertexts in ``shape``, row by row in ``vector``; raises CryptoError when the vector does not fill it.

    Operations raise what the vector's raise: EncodingOverflow before a result could exceed the plaintext space,
    CryptoError for another key or shape. Plaintext arrays broadcast to the matrix's shape, ciphertexts do not.
    """

    __array_ufunc__ = None
    __slots__ = ("shape", "vector")

    def __init__(self, vector: CipherVector, shape: tuple[int, int]) -> None:
        if len(shape) != 2 or min(shape) < 0 or math.prod(shape) != len(vector):
            raise CryptoError(f"{len(vector)} ciphertexts do not fill a matrix of shape {shape}; refuse them")
        self.vector, self.shape = vector, (int(shape[0]), int(shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[CipherVector]:
        columns = self.shape[1]
        return (self.vector[i * columns : (i + 1) * columns] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<CipherMatrix {self.shape[0]} x {self.shape[1]}, {self.vector!r}>"

    @property
    def exponent(self) -> int:
        """The exponent of all entries."""
        return self.vector.exponent

    # -- choice ---------------------------------------------------------------------------

    @property
    def T(self) -> CipherMatrix:  # noqa: N802 - numpy's name
        """The transpose."""
        return CipherMatrix(self.vector[self._places().T.ravel()], self.shape[::-1])

    def __getitem__(self, index: Index | tuple[Index, Index]) -> CipherVector | CipherMatrix:
        """Return what numpy would choose, a single entry as a vector of one; raises IndexError as numpy does."""
        chosen = np.asarray(self._places()[index], dtype=np.intp)
        picked = self.vector[chosen.ravel()]
        if chosen.ndim > 2:
            raise CryptoError(f"the index gives {chosen.ndim} dimensions, a matrix has two; choose rows and columns")
        return CipherMatrix(picked, (len(chosen), chosen.shape[1])) if chosen.ndim == 2 else picked

    def row(self, i: int) -> CipherVector:
        """Return row ``i``."""
        return self.vector[self._places()[i]]

    def column(self, j: int) -> CipherVector:
        """Return column ``j``."""
        return self.vector[self._places()[:, j]]

    def take(self, rows: Index) -> CipherMatrix:
        """Return the chosen rows, in the order given, as a matrix."""
        places = np.atleast_2d(self._places()[rows])
        return CipherMatrix(self.vector[places.ravel()], (len(places), self.shape[1]))

    # -- sums -----------------------------------------------------------------------------

    def __add__(self, other: CipherMatrix | Plain | float) -> CipherMatrix:
        if isinstance(other, CipherMatrix):
            return self._like(self.vector + self._aligned(other))
        return self.plus(other)

    __radd__ = __add__

    def __sub__(self, other: CipherMatrix | Plain | float) -> CipherMatrix:
        if isinstance(other, CipherMatrix):
            return self._like(self.vector - self._aligned(other))
        return self._like(self.vector - self._flat(other))

    def __rsub__(self, other: Plain | float) -> CipherMatrix:
        return self._like(self._flat(other) - self.vector)

    def __neg__(self) -> CipherMatrix:
        return self._like(-self.vector)

    def plus(self, values: Plain | float, exponent: int = EXPONENT, magnitude: float = MAGNITUDE) -> CipherMatrix:
        """Add plaintext ``values`` as ``CipherVector.plus`` does."""
        return self._like(self.vector.plus(self._flat(values), exponent, magnitude))

    def add_integers(self, integers: Sequence[int], bits: int) -> CipherMatrix:
        """Add masks, row by row, as ``CipherVector.add_integers`` does."""
        return self._like(self.vector.add_integers(integers, bits))

    def sum(self, axis: int | None = None) -> CipherVector:
        """Return the sum of all entries (a vector of one), of each column (axis 0) or of each row (axis 1)."""
        if axis is None:
            return self.vector.sum()
        if axis not in (0, 1):
            raise CryptoError(f"a matrix has axes 0 and 1, not {axis}")
        key, (rows, columns) = self.vector.key, self.shape
        bound = self.vector.bound * max(self.shape[axis], 1)
        key.insist_on_room(bound)
        values = self.vector.raw()
        groups = (
            (values[j::columns] for j in range(columns))
            if axis == 0
            else (values[i * columns : (i + 1) * columns] for i in range(rows))
        )
        return CipherVector(key, [product_of(group, key.n2) for group in groups], self.exponent, bound)

    # -- products -------------------------------------------------------------------------

    def __mul__(self, other: Plain | float) -> CipherMatrix:
        return self.times(np.asarray(other)) if np.ndim(other) else self._like(self.vector * other)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> CipherMatrix:
        return self._like(self.vector / divisor)

    def times(self, values: Plain, exponent: int = MATRIX_EXPONENT, magnitude: float = MAGNITUDE) -> CipherMatrix:
        """Multiply entry by entry with plaintext ``values``, as ``CipherVector.times`` does."""
        return self._like(self.vector.times(self._flat(values), exponent, magnitude))

    def __rmatmul__(self, matrix: Plain) -> CipherVector | CipherMatrix:
        """Return ``matrix @ self``; a plaintext vector gives a CipherVector."""
        product = self.premultiplied(matrix.reshape(1, -1) if matrix.ndim == 1 else matrix)
        return product.vector if matrix.ndim == 1 else product

    def __matmul__(self, matrix: Plain) -> CipherVector | CipherMatrix:
        """Return ``self @ matrix``; a plaintext vector gives a CipherVector."""
        product = self.postmultiplied(matrix.reshape(-1, 1) if matrix.ndim == 1 else matrix)
        return product.vector if matrix.ndim == 1 else product

    def premultiplied(
        self, matrix: Plain, exponent: int = MATRIX_EXPONENT, magnitude: float = MAGNITUDE
    ) -> CipherMatrix:
        """Return ``matrix @ self`` with the matrix rounded to ``exponent`` (integers: exact)."""
        return self.T.postmultiplied(matrix.T, exponent, magnitude).T

    def postmultiplied(
        self, matrix: Plain, exponent: int = MATRIX_EXPONENT, magnitude: float = MAGNITUDE
    ) -> CipherMatrix:
        """Return ``self @ matrix`` with the matrix rounded to ``exponent`` (integers: exact)."""
        if matrix.ndim != 2 or len(matrix) != self.shape[1]:
            raise CryptoError(f"matrices of shapes {self.shape} and {matrix.shape} cannot be multiplied; align them")
        rows = [row.premultiplied(matrix.T, exponent, magnitude) for row in self]
        return CipherMatrix(concatenate(rows) if rows else self.vector, (len(self), matrix.shape[1]))

    # -- leaving --------------------------------------------------------------------------

    def rerandomised(self, rng: Prg | None = None) -> Ciphertexts:
        """Return what may be sent, row by row; the shape does not travel."""
        return self.vector.rerandomised(rng)

    def to_phe(self) -> list[list[phe.EncryptedNumber]]:
        """Return the rows as lists of `phe` objects."""
        return [row.to_phe() for row in self]

    @classmethod
    def from_phe(cls, key: PublicKey, rows: Sequence[Sequence[phe.EncryptedNumber]], magnitude: float) -> CipherMatrix:
        """Return rows of `phe` numbers, all within ``magnitude``, at their finest exponent."""
        widths = {len(row) for row in rows}
        if len(widths) > 1:
            raise CryptoError(f"rows of {sorted(widths)} numbers are no matrix; make them equally long")
        vector = CipherVector.from_phe(key, [number for row in rows for number in row], magnitude)
        return cls(vector, (len(rows), max(widths, default=0)))

    # -- inside ---------------------------------------------------------------------------

    def _like(self, vector: CipherVector) -> CipherMatrix:
        return CipherMatrix(vector, self.shape)

    def _places(self) -> NDArray[np.intp]:
        return np.arange(len(self.vector), dtype=np.intp).reshape(self.shape)

    def _aligned(self, other: CipherMatrix) -> CipherVector:
        if other.shape != self.shape:
            raise CryptoError(f"matrices of shapes {self.shape} and {other.shape} cannot be added; align them")
        return other.vector

    def _flat(self, values: Plain | float) -> Plain:
        """Return plaintext values broadcast to the shape, row by row."""
        try:
            return np.broadcast_to(np.asarray(values), self.shape).ravel()
        except ValueError as error:
            raise CryptoError(f"values of shape {np.shape(values)} do not fit a matrix of {self.shape}") from error


def join(matrices: Iterable[CipherMatrix], axis: int = 0) -> CipherMatrix:
    """Return matrices below each other (axis 0) or side by side (axis 1), at the finest of their exponents."""
    parts = list(matrices)
    if axis == 1:
        return join([part.T for part in parts]).T
    if axis != 0 or not parts or any(part.shape[1] != parts[0].shape[1] for part in parts):
        raise CryptoError("join takes one or more matrices of the same width, and axis 0 or 1")
    vector = concatenate(part.vector for part in parts)
    return CipherMatrix(vector, (sum(len(part) for part in parts), parts[0].shape[1]))
