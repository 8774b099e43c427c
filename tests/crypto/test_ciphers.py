"""Every operation against `phe`, which computes the same sums on the same ciphertexts one number at a time."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import phe
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partyd.crypto import ciphers
from partyd.crypto.ciphers import HEADER, Ciphertexts, CipherVector, concatenate
from partyd.crypto.encoding import encode
from partyd.crypto.paillier import PrivateKey
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, CryptoError, EncodingOverflow
from tests.crypto.hostile_vectors import run

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
edges = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**32, -(2.0**32), 2.0**-40, -(2.0**-40), 2.0**-41, 0.1])
reals = st.one_of(edges, st.floats(-(2.0**32), 2.0**32))
vectors = st.lists(reals, min_size=1, max_size=5).map(lambda v: np.array(v, np.float64))
RNG = Prg(bytes(32), "ciphers")


def rounded(values: np.ndarray, exponent: int = -40) -> list[Fraction]:
    return [m * Fraction(2) ** exponent for m in encode(values, exponent).integers]


def hidden(key: PrivateKey, vector: CipherVector) -> list[Fraction]:
    """What a vector holds, exactly, decrypted by phe and not by us."""
    numbers = [key.phe.decrypt_encoded(number) for number in vector.to_phe()]
    n, top = key.phe.public_key.n, key.phe.public_key.max_int
    signed = [e.encoding if e.encoding <= top else e.encoding - n for e in numbers]
    return [m * Fraction(16) ** e.exponent for m, e in zip(signed, numbers, strict=True)]


@quick
@given(vectors)
def test_phe_decrypts_our_encryptions(insecure_key, values):
    for vector in (insecure_key.public.encrypt(values, RNG), insecure_key.encrypt(values, RNG)):
        assert hidden(insecure_key, vector) == rounded(values)
        assert insecure_key.decrypt(vector).tolist() == [float(v) for v in rounded(values)]


@quick
@given(vectors)
def test_we_decrypt_phe(insecure_key, values):
    for step in (2.0**-40, 2.0**-13):
        numbers = [insecure_key.phe.public_key.encrypt(v, precision=step) for v in values.tolist()]
        vector = CipherVector.from_phe(insecure_key.public, numbers, 2.0**32)
        assert insecure_key.decrypt(vector).tolist() == [insecure_key.phe.decrypt(number) for number in numbers]


def test_phe_numbers_of_too_many_scales_are_refused(insecure_key):
    numbers = [insecure_key.phe.public_key.encrypt(v) for v in (1.0, 1e-300)]
    with pytest.raises(EncodingOverflow):
        CipherVector.from_phe(insecure_key.public, numbers, 2.0**32)


@quick
@given(st.data(), vectors)
def test_sums_and_differences(insecure_key, data, left):
    right = np.array(data.draw(st.lists(reals, min_size=len(left), max_size=len(left))))
    a, b = insecure_key.public.encrypt(left, RNG), insecure_key.encrypt(right, RNG)
    x, y = rounded(left), rounded(right)
    plus, minus = [p + q for p, q in zip(x, y, strict=True)], [p - q for p, q in zip(x, y, strict=True)]
    assert hidden(insecure_key, a + b) == hidden(insecure_key, a + right) == hidden(insecure_key, right + a) == plus
    assert hidden(insecure_key, a - b) == hidden(insecure_key, a - right) == minus
    assert hidden(insecure_key, left - b) == minus
    assert hidden(insecure_key, -a) == [-p for p in x]
    assert hidden(insecure_key, a.sum()) == [sum(x)]


@quick
@given(vectors, st.one_of(st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda f: round(f, 6)), st.integers(-9, 9)))
def test_scalars_multiply_exactly(insecure_key, values, factor):
    vector = insecure_key.encrypt(values, RNG)
    expected = [v * Fraction(factor) for v in rounded(values)]
    assert hidden(insecure_key, vector * factor) == hidden(insecure_key, factor * vector) == expected


def test_numpy_scalars_step_aside(insecure_key):
    c = insecure_key.encrypt(np.array([3.0, -1.0]), RNG)
    for half in (np.float64(0.5), np.float32(0.5), np.array(0.5)):
        assert insecure_key.decrypt(half * c).tolist() == insecure_key.decrypt(c * half).tolist() == [1.5, -0.5]
        assert insecure_key.decrypt(half + c).tolist() == [3.5, -0.5]
        assert insecure_key.decrypt(half - c).tolist() == [-2.5, 1.5]
    assert insecure_key.decrypt(np.int64(-2) * c).tolist() == [-6.0, 2.0]
    assert insecure_key.decrypt(c * [1, 2]).tolist() == [3.0, -2.0]
    assert insecure_key.decrypt(sum([c, c])).tolist() == [6.0, -2.0]


@quick
@given(st.data(), vectors)
def test_arrays_multiply_at_their_exponent(insecure_key, data, values):
    factors = np.array(data.draw(st.lists(reals, min_size=len(values), max_size=len(values))))
    vector = insecure_key.encrypt(values, RNG)
    expected = [a * b for a, b in zip(rounded(values), rounded(factors, -24), strict=True)]
    assert hidden(insecure_key, vector * factors) == hidden(insecure_key, factors * vector) == expected


@quick
@given(st.data(), vectors, st.integers(1, 4))
def test_matrices_multiply_from_the_left(insecure_key, data, values, columns):
    entries = data.draw(st.lists(reals, min_size=len(values) * columns, max_size=len(values) * columns))
    X = np.array(entries).reshape(len(values), columns)
    vector = insecure_key.encrypt(values, RNG)
    x = rounded(values)
    expected = [sum(a * b for a, b in zip(x, rounded(X[:, j], -24), strict=True)) for j in range(columns)]
    assert hidden(insecure_key, X.T @ vector) == hidden(insecure_key, vector @ X) == expected
    assert hidden(insecure_key, np.ascontiguousarray(X.T) @ vector) == expected


def test_matmul_is_what_phe_computes(insecure_key):
    X, v = np.array([[1, -2], [0, 3], [-4, 0]]), np.array([0.5, -1.25, 8.0])
    numbers = [insecure_key.phe.public_key.encrypt(x) for x in v.tolist()]
    expected = [sum((n * int(k) for n, k in zip(numbers, X[:, j], strict=True)), start=0) for j in range(2)]
    got = X.T @ insecure_key.encrypt(v, RNG)
    assert [insecure_key.phe.decrypt(e) for e in expected] == insecure_key.decrypt(got).tolist()


def as_phe(key: PrivateKey, integers: list[int], exponent: int) -> list[phe.EncodedNumber]:
    """Return plaintexts for `phe` to compute with, as we encode them."""
    public = key.phe.public_key
    return [phe.EncodedNumber(public, m % public.n, exponent // 4) for m in integers]


def opened(key: PrivateKey, numbers: list[phe.EncryptedNumber | int]) -> list[Fraction]:
    return hidden(key, CipherVector.from_phe(key.public, [n for n in numbers if not isinstance(n, int)], 2.0**100))


@quick
@given(st.data(), vectors, st.integers(-(2**40), 2**40))
def test_phe_computes_the_same(insecure_key, data, left, scalar):
    """The same ciphertexts go through `phe`'s own operators and through ours."""
    right = np.array(data.draw(st.lists(reals, min_size=len(left), max_size=len(left))))
    a, b = insecure_key.encrypt(left, RNG), insecure_key.encrypt(right, RNG)
    x, y = a.to_phe(), b.to_phe()
    added = as_phe(insecure_key, encode(right).integers, -40)
    words = as_phe(insecure_key, encode(right, -24).integers, -24)
    for ours, theirs in (
        (a + b, [p + q for p, q in zip(x, y, strict=True)]),
        (a - b, [p - q for p, q in zip(x, y, strict=True)]),
        (a + right, [p + q for p, q in zip(x, added, strict=True)]),
        (a * right, [p * q for p, q in zip(x, words, strict=True)]),
        (a * scalar, [p * scalar for p in x]),
        (-a, [p * -1 for p in x]),
        (a.sum(), [sum(x[1:], x[0])]),
        (right.reshape(1, -1) @ a, [sum((p * q for p, q in zip(x, words, strict=True)), start=x[0] * 0)]),
        (concatenate([b, a])[::-1], [*reversed(x), *reversed(y)]),
    ):
        assert hidden(insecure_key, ours) == opened(insecure_key, theirs)


@quick
@given(st.data(), vectors)
def test_a_chain_of_operations_is_exact_or_refused(insecure_key, data, start):
    """Whatever is done in whatever order: the result is what fractions say, or EncodingOverflow and no result."""
    vector, exact = insecure_key.encrypt(start, RNG), rounded(start)
    size = len(start)
    scalars = st.one_of(st.integers(-(2**90), 2**90), st.floats(-1e9, 1e9), st.sampled_from([0, -1, 2.0**-60, 1e-9]))
    arrays = st.lists(reals, min_size=size, max_size=size).map(np.array)
    for _ in range(data.draw(st.integers(1, 8))):
        name = data.draw(st.sampled_from(["scale", "times", "add", "subtract", "double", "mix", "gather"]))
        scalar, array = data.draw(scalars), data.draw(arrays)
        try:
            match name:
                case "scale":
                    vector, exact = vector * scalar, [v * Fraction(scalar) for v in exact]
                case "times":
                    factors = rounded(array, -24)
                    vector, exact = vector * array, [v * f for v, f in zip(exact, factors, strict=True)]
                case "add":
                    terms = rounded(array, min(-40, vector.exponent))
                    vector, exact = vector + array, [v + t for v, t in zip(exact, terms, strict=True)]
                case "subtract":
                    terms = rounded(array, min(-40, vector.exponent))
                    vector, exact = array - vector, [t - v for v, t in zip(exact, terms, strict=True)]
                case "double":
                    vector, exact = vector + vector, [v + v for v in exact]
                case "mix":
                    vector, exact = np.ones((size, size)) @ vector, [sum(exact)] * size
                case "gather":
                    vector, exact = vector[::-1] - vector, [a - b for a, b in zip(exact[::-1], exact, strict=True)]
        except EncodingOverflow:
            break
    held = insecure_key.decrypt_integers(vector)
    assert [m * Fraction(2) ** vector.exponent for m in held] == exact
    assert all(abs(m) <= vector.bound <= insecure_key.public.capacity for m in held)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.int64, np.bool_, np.float32])
def test_every_dtype_is_subtracted_as_a_number(insecure_key, dtype):
    """-np.uint8(1) is 255 and -np.int8(-128) is -128: negation must not happen in the array's own dtype."""
    extremes = [0, 1] if dtype in (np.bool_, np.float32) else [0, 1, max(np.iinfo(dtype).min, -(2**32))]
    values = np.array(extremes, dtype)
    c = insecure_key.encrypt(np.zeros(len(values)), RNG)
    assert insecure_key.decrypt(c - values).tolist() == [-float(v) for v in values]
    assert insecure_key.decrypt(values - c).tolist() == [float(v) for v in values]
    assert insecure_key.decrypt((c + 1) * values).tolist() == [float(v) for v in values]


def test_empty_vectors_compute(insecure_key):
    c = insecure_key.encrypt(np.array([]), RNG)
    for empty in (c + c, c - c, -c, c * 3, c * np.array([]), c + np.array([]), c[[]], c / 2, concatenate([c, c])):
        assert insecure_key.decrypt(empty).tolist() == []
    assert insecure_key.decrypt(c.sum()).tolist() == [0.0]
    assert insecure_key.decrypt(np.ones((2, 0)) @ c).tolist() == [0.0, 0.0]
    assert insecure_key.decrypt(np.ones((0, 0)) @ c).tolist() == []


def test_the_algorithm_reads_as_in_the_sketch(insecure_key):
    X, y, w = np.array([[0.5, 1.0], [-1.5, 2.0], [0.25, -1.0]]), np.array([1.0, -1.0, 1.0]), np.array([0.5, -0.25])
    z = sum([insecure_key.encrypt(X @ w)], start=insecure_key.public.encrypt(X @ w))
    d = 0.25 * z - 0.5 * y
    got = insecure_key.decrypt(X.T @ d / len(d))
    assert np.allclose(got, X.T @ (0.5 * X @ w - 0.5 * y) / 3, atol=1e-9)


def test_choosing_elements(insecure_key):
    v = np.arange(6.0)
    c = insecure_key.encrypt(v, RNG)
    for index in (slice(1, 4), slice(None, None, -1), [4, 0, 0], np.array([2, 5]), v > 2, []):
        expected = v[index] if len(v[index]) else []
        assert insecure_key.decrypt(c[index]).tolist() == list(expected)
    assert insecure_key.decrypt(c[-1]).tolist() == [5.0]
    assert insecure_key.decrypt(c[np.int64(2)]).tolist() == [2.0]
    assert [insecure_key.decrypt(e)[0] for e in c] == v.tolist()
    with pytest.raises(IndexError):
        c[6]


def test_concatenating_aligns_exponents(insecure_key):
    a, b = insecure_key.encrypt(np.array([1.5]), RNG), insecure_key.encrypt(np.array([2, -3]), RNG, exponent=0)
    joined = concatenate([a, b, 0.5 * a])
    assert joined.exponent == -41
    assert insecure_key.decrypt(joined).tolist() == [1.5, 2.0, -3.0, 0.75]


def test_exponents_align_in_sums(insecure_key):
    a, b = insecure_key.encrypt(np.array([1.5]), RNG), insecure_key.encrypt(np.array([3]), RNG, exponent=0)
    assert insecure_key.decrypt(a + b).tolist() == insecure_key.decrypt(b + a).tolist() == [4.5]
    assert insecure_key.decrypt(b - a).tolist() == [1.5]
    assert insecure_key.decrypt(b + 0.25).tolist() == [3.25]
    assert (b + np.array([2])).exponent == 0


def test_masks_are_added_to_the_integers(insecure_key):
    c = insecure_key.encrypt(np.array([1.5, -2.0]), RNG)
    bits = c.bound_bits + 40
    masks = RNG.integers(bits, 2)
    masked = insecure_key.decrypt_integers(c.add_integers(masks, bits))
    unmasked = [m - mask for m, mask in zip(masked, masks, strict=True)]
    assert unmasked == encode(np.array([1.5, -2.0])).integers
    with pytest.raises(EncodingOverflow):
        c.add_integers([1 << bits, 0], bits)


def test_overflow_is_refused_before_it_happens(insecure_key):
    c = insecure_key.encrypt(np.array([1.0, 2.0]), RNG)
    wide = c
    while wide.bound << 60 < insecure_key.public.capacity:
        wide = wide * ((1 << 60) - 1)
    for call in (
        lambda: wide * (1 << 62),
        lambda: wide * 1e-9,
        lambda: wide.times(np.array([1.0, 1.0])) * (1 << 40),
        lambda: (np.ones((3, 2)) @ wide) * (1 << 40),
        lambda: wide.add_integers([0, 0], 511),
        lambda: insecure_key.public.encrypt(np.array([1.0]), exponent=-600),
        lambda: insecure_key.encrypt_integers([1], 511),
        lambda: wide._at(-3000),
        lambda: CipherVector(insecure_key.public, [], 0, insecure_key.public.capacity + 1),
        lambda: c.times(np.array([2.0**33, 0.0])),
        lambda: c + np.array([np.nan, 0.0]),
        lambda: c * float("inf"),
        lambda: c / 0,
        lambda: c / 5e-324,
        lambda: c * 2.0**-1000 * 2.0**-1000 * 2.0**-1000 * 2.0**-1000 * 2.0**-1000,
        lambda: c.plus(np.ones(2), exponent=-5000),
        lambda: c.plus(np.ones(2), magnitude=float("inf")),
        lambda: c.times(np.ones(2), magnitude=-1.0),
    ):
        with pytest.raises(EncodingOverflow):
            call()


def test_the_largest_plaintexts_survive(insecure_key):
    top = insecure_key.public.capacity
    bits = top.bit_length() - 1
    c = insecure_key.encrypt_integers([(1 << bits) - 1, 1 - (1 << bits), 0], bits, RNG)
    assert insecure_key.decrypt_integers(c) == [(1 << bits) - 1, 1 - (1 << bits), 0]
    with pytest.raises(EncodingOverflow):
        c + c


def test_bounds_do_not_depend_on_data(insecure_key):
    def bound(scale: float) -> tuple[int, int]:
        c = insecure_key.encrypt(np.full(3, scale), RNG)
        d = (np.full((2, 3), scale) @ (0.25 * c - np.full(3, scale))).times(np.full(2, scale)).sum()
        return d.bound, d.exponent

    assert bound(0.0) == bound(1e-9) == bound(12345.678)


def test_misfits_are_refused(insecure_key, other_insecure_key):
    c, foreign = insecure_key.encrypt(np.ones(2), RNG), other_insecure_key.encrypt(np.ones(2), RNG)
    number = other_insecure_key.phe.public_key.encrypt(1)
    for call in (
        lambda: c + foreign,
        lambda: c - foreign,
        lambda: concatenate([c, foreign]),
        lambda: concatenate([]),
        lambda: c + c[:1],
        lambda: c + np.ones(3),
        lambda: c * np.ones(1),
        lambda: np.ones((2, 3)) @ c,
        lambda: np.ones(2) @ c,
        lambda: c + np.ones((2, 1)),
        lambda: c * np.ones((2, 2)),
        lambda: c.add_integers([1], 3),
        lambda: insecure_key.decrypt(foreign),
        lambda: CipherVector.from_phe(insecure_key.public, [number], 1),
    ):
        with pytest.raises(CryptoError):
            call()


def test_only_rerandomised_vectors_have_bytes():
    assert not hasattr(CipherVector, "to_bytes")
    assert not hasattr(CipherVector, "__bytes__")


def test_rerandomising_hides_what_was_done(insecure_key):
    key = insecure_key.public
    fresh = key.encrypt(np.ones(3), RNG)
    assert [int(v) for v in fresh.rerandomised(RNG).values] == [int(v) for v in fresh.raw()]
    assert not {int(v) for v in fresh.rerandomised(RNG).values} & {int(v) for v in fresh.raw()}
    for derived in (fresh + np.ones(3), fresh[:2], -fresh, fresh * 1, fresh.rerandomised(RNG).under(key), fresh.sum()):
        sent = derived.rerandomised(RNG)
        ratios = [int(a * pow(b, -1, key.n2) % key.n) for a, b in zip(sent.values, derived.raw(), strict=True)]
        assert 1 not in ratios
        assert insecure_key.decrypt(sent.under(key)).tolist() == insecure_key.decrypt(derived).tolist()


def test_no_ciphertext_repeats_and_none_is_trivial(insecure_key):
    key = insecure_key.public
    c = key.encrypt(np.zeros(50), RNG)
    d = key.encrypt(np.zeros(50), RNG)
    assert len({int(v) for v in c.raw() + d.raw()}) == 100
    assert all(v % key.n != 1 for v in c.raw())


def test_the_wire_form_goes_and_comes(insecure_key):
    c = insecure_key.encrypt(np.array([1.5, -2.0]), RNG) * 0.5
    data = c.rerandomised(RNG).to_bytes()
    assert len(data) == HEADER.size + 2 * 128
    back = Ciphertexts.from_bytes(data)
    assert back.to_bytes() == data
    vector = back.under(insecure_key.public, count=2, exponent=-41, max_bound_bits=73)
    assert insecure_key.decrypt(vector).tolist() == [0.75, -1.0]


def test_an_empty_vector_travels(insecure_key):
    data = insecure_key.encrypt(np.array([]), RNG).rerandomised(RNG).to_bytes()
    assert len(insecure_key.decrypt(Ciphertexts.from_bytes(data).under(insecure_key.public))) == 0


def test_wrong_expectations_are_refused(insecure_key, other_insecure_key):
    data = insecure_key.encrypt(np.ones(2), RNG).rerandomised(RNG).to_bytes()
    for options in ({"count": 1}, {"count": 3}, {"exponent": -41}, {"max_bound_bits": 72}):
        with pytest.raises(CryptoError):
            Ciphertexts.from_bytes(data).under(insecure_key.public, **options)
    with pytest.raises(CryptoError, match="another key"):
        Ciphertexts.from_bytes(data).under(other_insecure_key.public)


def test_bad_numbers_are_refused(insecure_key):
    key, width = insecure_key.public, insecure_key.public.ciphertext_bytes
    data = bytearray(insecure_key.encrypt(np.ones(2), RNG).rerandomised(RNG).to_bytes())
    p = int(insecure_key.p)
    bad = [0, key.n, key.n2, key.n2 + 1, key.n2 - key.n, p, 7 * p, int(insecure_key.q), p * p, (1 << 8 * width) - 1]
    for number in bad:
        data[HEADER.size + width :] = int(number).to_bytes(width, "big")
        with pytest.raises(CryptoError):
            Ciphertexts.from_bytes(bytes(data)).under(key)


def test_mutated_vectors_are_refused(insecure_key, other_insecure_key):
    """A few of the 100,000 of tests/campaigns/mutate_vectors.py."""
    tally = run(insecure_key, other_insecure_key, 3000, random.Random(1))
    assert tally.clean, tally.examples
    assert min(tally.kinds.values()) > 100


def test_a_hostile_run_notices_what_gets_through(insecure_key, other_insecure_key, monkeypatch):
    """With the checks gone, the count of the accepted is no longer 0."""
    monkeypatch.setattr(ciphers, "_check_units", lambda values, key: None)
    tally = run(insecure_key, other_insecure_key, 300, random.Random(1))
    assert tally.accepted > 10
    assert not tally.clean


def test_a_vector_of_many_nothings_is_refused():
    empty = HEADER.pack(1, bytes(8), -40, 72, 1 << 26)
    with pytest.raises(BadValue):
        Ciphertexts.from_bytes(empty)


def test_a_peer_cannot_exceed_the_bound_it_declared(insecure_key):
    sent = insecure_key.encrypt_integers([1 << 40], 41, RNG).rerandomised(RNG)
    lie = Ciphertexts.of(insecure_key.public, sent.values, 0, 30)
    with pytest.raises(CryptoError, match="30 bits"):
        insecure_key.decrypt(Ciphertexts.from_bytes(lie.to_bytes()).under(insecure_key.public))


def test_vectors_show_sizes_only(insecure_key):
    c = insecure_key.encrypt(np.ones(2), RNG)
    assert repr(c).startswith("<CipherVector of 2 under <PublicKey 512 bits")
    assert isinstance(c.to_phe()[0], phe.EncryptedNumber)
