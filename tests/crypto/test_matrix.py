"""Every operation against lists of rows of `phe` numbers, which compute the same one number at a time."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import phe
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partyd.crypto.ciphers import Ciphertexts, CipherVector
from partyd.crypto.encoding import encode, encode_factors
from partyd.crypto.matrix import CipherMatrix, join
from partyd.crypto.paillier import PrivateKey
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError, EncodingOverflow

quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
edges = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**32, -(2.0**32), 2.0**-40, -(2.0**-41), 0.1])
reals = st.one_of(edges, st.floats(-(2.0**32), 2.0**32))
sides = st.integers(0, 3)
RNG = Prg(bytes(32), "matrix")
Rows = list[list[phe.EncryptedNumber]]


@st.composite
def tables(draw: st.DrawFn, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    shape = (draw(sides) if rows is None else rows, draw(sides) if columns is None else columns)
    size = shape[0] * shape[1]
    return np.array(draw(st.lists(reals, min_size=size, max_size=size)), np.float64).reshape(shape)


def sealed(key: PrivateKey, table: np.ndarray) -> CipherMatrix:
    return CipherMatrix(key.encrypt(table.ravel(), RNG), table.shape)


def value(key: PrivateKey, number: phe.EncryptedNumber | int) -> Fraction:
    if isinstance(number, int):
        return Fraction(number)
    encoded, n = key.phe.decrypt_encoded(number), key.phe.public_key.n
    signed = encoded.encoding if encoded.encoding <= key.phe.public_key.max_int else encoded.encoding - n
    return signed * Fraction(16) ** encoded.exponent


def values(key: PrivateKey, rows: Rows) -> list[list[Fraction]]:
    return [[value(key, number) for number in row] for row in rows]


def found(key: PrivateKey, result: CipherMatrix | CipherVector) -> list[list[Fraction]]:
    return values(key, result.to_phe() if isinstance(result, CipherMatrix) else [result.to_phe()])


def addends(key: PrivateKey, table: np.ndarray) -> Rows:
    """Return plaintexts as they are added, for `phe` to compute with."""
    public = key.phe.public_key
    return [[phe.EncodedNumber(public, m % public.n, -10) for m in encode(row).integers] for row in table]


def factors(key: PrivateKey, table: np.ndarray) -> Rows:
    """Return plaintexts as they multiply, for `phe` to compute with."""
    public = key.phe.public_key
    return [[phe.EncodedNumber(public, m % public.n, -6) for m in row] for row in encode_factors(table).words.tolist()]


def each(combine: Callable[[phe.EncryptedNumber, object], phe.EncryptedNumber], left: Rows, right: Rows) -> Rows:
    return [[combine(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(left, right, strict=True)]


def total(numbers: list[phe.EncryptedNumber]) -> phe.EncryptedNumber | int:
    return sum(numbers[1:], numbers[0]) if numbers else 0


def transposed(rows: Rows, columns: int) -> Rows:
    return [[row[j] for row in rows] for j in range(columns)]


def product(left: Rows, right: Rows, inner: int, columns: int) -> Rows:
    """Return the product of plaintext factors and ciphertexts, either way around."""
    by_column = transposed(right, columns)
    return [[total([row[k] * column[k] for k in range(inner)]) for column in by_column] for row in left]


@quick
@given(st.data(), tables())
def test_sums_and_differences(insecure_key, data, left):
    right = data.draw(tables(*left.shape))
    a, b = sealed(insecure_key, left), sealed(insecure_key, right)
    plus = values(insecure_key, each(lambda x, y: x + y, a.to_phe(), b.to_phe()))
    assert found(insecure_key, a + b) == plus
    with_plain = values(insecure_key, each(lambda x, y: x + y, a.to_phe(), addends(insecure_key, right)))
    assert found(insecure_key, a + right) == found(insecure_key, right + a) == with_plain == plus
    minus = values(insecure_key, each(lambda x, y: x - y, a.to_phe(), b.to_phe()))
    assert found(insecure_key, a - b) == found(insecure_key, a - right) == minus
    assert found(insecure_key, right - a) == [[-x for x in row] for row in minus]
    assert found(insecure_key, -a) == values(insecure_key, [[x * -1 for x in row] for row in a.to_phe()])


@quick
@given(tables())
def test_phe_rows_come_back(insecure_key, table):
    c = sealed(insecure_key, table)
    back = CipherMatrix.from_phe(insecure_key.public, c.to_phe(), 2.0**32)
    assert found(insecure_key, back) == found(insecure_key, c)
    assert back.shape == (c.shape if len(table) else (0, 0))


@quick
@given(tables())
def test_sums_along_each_axis(insecure_key, table):
    c, (rows, columns) = sealed(insecure_key, table), table.shape
    numbers = c.to_phe()
    by_column = [total(column) for column in transposed(numbers, columns)]
    assert found(insecure_key, c.sum(0)) == values(insecure_key, [by_column])
    assert found(insecure_key, c.sum(axis=1)) == values(insecure_key, [[total(row) for row in numbers]])
    assert found(insecure_key, c.sum()) == values(insecure_key, [[total([x for row in numbers for x in row])]])
    assert len(c.sum(0)) == columns
    assert len(c.sum(1)) == rows


@quick
@given(st.data(), tables(), st.integers(-9, 9))
def test_products_entry_by_entry(insecure_key, data, table, scalar):
    other, c = data.draw(tables(*table.shape)), sealed(insecure_key, table)
    expected = values(insecure_key, each(lambda x, y: x * y, c.to_phe(), factors(insecure_key, other)))
    assert found(insecure_key, c * other) == found(insecure_key, other * c) == expected
    scaled = values(insecure_key, [[x * scalar for x in row] for row in c.to_phe()])
    assert found(insecure_key, c * scalar) == found(insecure_key, scalar * c) == scaled
    assert found(insecure_key, c / 4) == values(insecure_key, [[x * 0.25 for x in row] for row in c.to_phe()])


@quick
@given(st.data(), tables())
def test_matrices_multiply_from_both_sides(insecure_key, data, table):
    c, (rows, columns) = sealed(insecure_key, table), table.shape
    left, right = data.draw(tables(None, rows)), data.draw(tables(columns))
    numbers = c.to_phe()
    before = product(factors(insecure_key, left), numbers, rows, columns)
    after = product(numbers, factors(insecure_key, right), columns, right.shape[1])
    assert found(insecure_key, left @ c) == values(insecure_key, before)
    assert found(insecure_key, c @ right) == values(insecure_key, after)
    assert (left @ c).shape == (len(left), columns)
    assert (c @ right).shape == (rows, right.shape[1])
    if len(left) and right.shape[1]:
        assert found(insecure_key, left[0] @ c) == values(insecure_key, before[:1])
        assert found(insecure_key, c @ right[:, 0]) == values(insecure_key, [[row[0] for row in after]])


@quick
@given(tables())
def test_transposing_and_joining(insecure_key, table):
    c = sealed(insecure_key, table)
    numbers = c.to_phe()
    assert found(insecure_key, c.T) == values(insecure_key, transposed(numbers, table.shape[1]))
    assert c.T.T.vector.raw() == c.vector.raw()
    below, beside = join([c, c * 0.5]), join([c, -c], axis=1)
    assert found(insecure_key, below) == values(insecure_key, numbers + [[x * 0.5 for x in row] for row in numbers])
    assert found(insecure_key, beside) == values(insecure_key, [[*row, *[x * -1 for x in row]] for row in numbers])


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        np.int64(1),
        slice(1, None),
        slice(None, None, -1),
        slice(0, 0),
        [2, 0, 0],
        np.array([True, False, True]),
        (slice(None), 1),
        (1, slice(1, 3)),
        (slice(0, 2), slice(1, 3)),
        (slice(None), [3, 0]),
        (1, 2),
        ([0, 1], [2, 3]),
    ],
)
def test_choosing_is_numpys(insecure_key, index):
    table = np.arange(12.0).reshape(3, 4) - 5.5
    chosen, expected = sealed(insecure_key, table)[index], table[index]
    assert isinstance(chosen, CipherMatrix) == (expected.ndim == 2)
    vector = chosen.vector if isinstance(chosen, CipherMatrix) else chosen
    assert insecure_key.decrypt(vector).tolist() == expected.ravel().tolist()
    assert not isinstance(chosen, CipherMatrix) or chosen.shape == expected.shape


def test_rows_columns_and_gathers_have_their_type(insecure_key):
    table = np.arange(6.0).reshape(2, 3)
    c = sealed(insecure_key, table)
    assert insecure_key.decrypt(c.row(-1)).tolist() == [3.0, 4.0, 5.0]
    assert insecure_key.decrypt(c.column(0)).tolist() == [0.0, 3.0]
    assert [insecure_key.decrypt(row).tolist() for row in c] == table.tolist()
    assert c.take([1, 0, 1]).shape == (3, 3)
    assert c.take(1).shape == (1, 3)
    assert (len(c), c.exponent) == (2, -40)


def test_plaintexts_broadcast(insecure_key):
    table = np.array([[1.0, -2.0], [0.5, 4.0]])
    c = sealed(insecure_key, table)
    row, column = np.array([3.0, -1.0]), np.array([[2.0], [-2.0]])
    for got, expected in (
        (c + row, table + row),
        (c - column, table - column),
        (row - c, row - table),
        (c * row, table * row),
        (column * c, column * table),
        (c * np.array(2), table * 2),
        (c + 1, table + 1),
        (1.5 - c, 1.5 - table),
    ):
        assert insecure_key.decrypt(got.vector).reshape(got.shape).tolist() == expected.tolist()


def test_it_travels_flat_and_hidden(insecure_key):
    table = np.array([[1.5, -2.0, 0.0]])
    c = sealed(insecure_key, table) + table
    data = c.rerandomised(RNG).to_bytes()
    back = CipherMatrix(Ciphertexts.from_bytes(data).under(insecure_key.public, count=3), (1, 3))
    assert insecure_key.decrypt(back.vector).tolist() == [3.0, -4.0, 0.0]
    assert not {int(v) for v in back.vector.raw()} & {int(v) for v in c.vector.raw()}
    assert not hasattr(CipherMatrix, "to_bytes")


def test_masks_go_row_by_row(insecure_key):
    c = CipherMatrix(insecure_key.encrypt_integers([1, 2, 3, 4], 3, RNG), (2, 2))
    assert insecure_key.decrypt_integers(c.add_integers([10, 20, 30, 40], 6).vector) == [11, 22, 33, 44]


def test_misfits_are_refused(insecure_key, other_insecure_key):
    c, foreign = sealed(insecure_key, np.ones((2, 3))), sealed(other_insecure_key, np.ones((2, 3)))
    for call in (
        lambda: CipherMatrix(c.vector, (2, 2)),
        lambda: CipherMatrix(c.vector, (-2, -3)),
        lambda: CipherMatrix(c.vector, (1, 2, 3)),
        lambda: c + foreign,
        lambda: c + c.T,
        lambda: c - c[:1],
        lambda: c + np.ones((3, 2)),
        lambda: c * np.ones((1, 2, 3)),
        lambda: np.ones((2, 3)) @ c,
        lambda: c @ np.ones((2, 3)),
        lambda: c @ np.ones((3, 3, 1)),
        lambda: np.ones(3) @ c,
        lambda: c.sum(2),
        lambda: c[np.zeros((2, 2), int)],
        lambda: join([]),
        lambda: join([c, c.T]),
        lambda: join([c], axis=2),
        lambda: join([c, foreign]),
        lambda: CipherMatrix.from_phe(insecure_key.public, [[], c.row(0).to_phe()], 1.0),
    ):
        with pytest.raises(CryptoError):
            call()
    for index in (2, (0, 3), [5]):
        with pytest.raises(IndexError):
            c[index]


def test_overflow_is_refused_before_it_happens(insecure_key):
    c = sealed(insecure_key, np.ones((2, 2)))
    wide = c * (insecure_key.public.capacity // c.vector.bound)
    for call in (
        lambda: wide + wide,
        lambda: wide - wide,
        lambda: wide + np.ones((2, 2)),
        lambda: wide.sum(),
        lambda: wide.sum(0),
        lambda: wide.sum(1),
        lambda: wide * 2,
        lambda: wide * np.ones((2, 2)),
        lambda: np.ones((2, 2)) @ wide,
        lambda: wide @ np.ones((2, 2)),
        lambda: join([wide, wide * 0.5]),
        lambda: c + np.full((2, 2), np.nan),
        lambda: c * np.full((2, 2), 2.0**33),
    ):
        with pytest.raises(EncodingOverflow):
            call()
    largest = (insecure_key.public.capacity // c.vector.bound) << 40
    assert insecure_key.decrypt_integers(wide.row(0)) == [largest, largest]


def test_it_shows_sizes_only(insecure_key):
    assert repr(sealed(insecure_key, np.ones((2, 3)))).startswith("<CipherMatrix 2 x 3, <CipherVector of 6 under")
