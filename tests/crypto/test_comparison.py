from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.crypto.comparison import (
    MAX_COUNT,
    Answer,
    choose,
    evaluate,
    finish,
    garble,
    ordered,
    request,
)
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

TOP = 2**64 - 1
SENDER = request(Prg(bytes(32), "request"))
words = st.one_of(st.sampled_from([0, 1, 2, TOP, TOP - 1, 2**63, 2**63 - 1, 2**32, 2**32 - 1]), st.integers(0, TOP))


def compare(ours, theirs):
    """Run all steps and return the garbler's and the evaluator's answer."""
    x, y = np.array(ours, np.uint64), np.array(theirs, np.uint64)
    labels, choice = choose(y, SENDER.request, Prg(bytes(32), "evaluator"))
    zeros, garbled = garble(SENDER, x, choice, Prg(bytes(32), "garbler"))
    seen, answer = evaluate(labels, garbled)
    return finish(SENDER, zeros, answer).tolist(), seen.tolist()


def plain(ours, theirs):
    return [(a > b) - (a < b) for a, b in zip(ours, theirs, strict=True)]


def test_all_pairs_of_small_numbers():
    pairs = [(a, b) for a in range(16) for b in range(16)]
    ours, theirs = zip(*pairs, strict=True)
    assert compare(ours, theirs) == (plain(ours, theirs),) * 2


def test_all_pairs_of_edges():
    edges = [0, 1, TOP, TOP - 1, 2**63, 2**63 - 1, 2**32, *(1 << i for i in range(0, 64, 7))]
    pairs = [(a, b) for a in edges for b in edges]
    ours, theirs = zip(*pairs, strict=True)
    assert compare(ours, theirs) == (plain(ours, theirs),) * 2


def test_every_single_bit_counts():
    base = 0x5A5A_F00F_1234_8765
    ours, theirs = [base] * 64, [base ^ (1 << i) for i in range(64)]
    assert compare(ours, theirs) == (plain(ours, theirs),) * 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(words, words), max_size=9))
def test_any_numbers(pairs):
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    assert compare(ours, theirs) == (plain(ours, theirs),) * 2


def test_thousands_at_once():
    rng = np.random.default_rng(4)
    ours = rng.integers(0, TOP, 3000, dtype=np.uint64, endpoint=True)
    theirs = np.where(rng.random(3000) < 0.3, ours, rng.integers(0, TOP, 3000, dtype=np.uint64, endpoint=True))
    both, seen = compare(ours, theirs)
    assert both == seen == (np.int8(ours > theirs) - np.int8(ours < theirs)).tolist()


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_keep_their_order(a, b):
    x, y = ordered(np.array([a, b], np.int64)).tolist()
    assert (x < y, x == y) == (a < b, a == b)


def test_messages_have_the_size_the_docstring_says():
    labels, choice = choose(np.zeros(16, np.uint64), SENDER.request, Prg(bytes(32)))
    _zeros, garbled = garble(SENDER, np.zeros(16, np.uint64), choice, Prg(bytes(32)))
    _, answer = evaluate(labels, garbled)
    assert len(SENDER.request.points) == 8192
    assert len(choice.point) + choice.columns.nbytes == 32 + 1024 * 16
    assert len(garbled.key) + len(garbled.seed) + garbled.tables.nbytes + garbled.colours.nbytes == 32 + 4066 * 16
    assert answer.labels.nbytes == 32 * 16


def test_what_the_evaluator_sees_depends_on_the_answer_alone():
    """Each party's view is of fixed size, and colours and tables are balanced whatever the garbler's numbers."""
    for value in (0, TOP):
        labels, choice = choose(np.full(500, 7, np.uint64), SENDER.request, Prg(bytes(32), "e"))
        _, garbled = garble(SENDER, np.full(500, value, np.uint64), choice, Prg(bytes(32), "g"))
        assert abs(np.unpackbits(garbled.tables.view(np.uint8)).mean() - 0.5) < 0.01
        assert abs(garbled.colours.mean() - 0.5) < 0.1
        assert abs((labels[..., 0] & np.uint64(1)).mean() - 0.5) < 0.05


def test_the_garbler_never_sends_both_labels():
    """No label of 0 of an output, nor its partner, stands anywhere in what the evaluator got."""
    labels, choice = choose(np.arange(8, dtype=np.uint64), SENDER.request, Prg(bytes(32), "e"))
    zeros, garbled = garble(SENDER, np.arange(8, dtype=np.uint64)[::-1].copy(), choice, Prg(bytes(32), "g"))
    sent = {tuple(b) for b in garbled.tables.reshape(-1, 2).tolist()} | {
        tuple(b) for b in labels.reshape(-1, 2).tolist()
    }
    assert not sent & {tuple(b) for b in zeros.reshape(-1, 2).tolist()}


def test_the_transcript_does_not_change_unnoticed():
    """A change of this digest is a change of the wire: both sides must be of the same release."""
    labels, choice = choose(np.arange(5, dtype=np.uint64), SENDER.request, Prg(bytes(32), "e"))
    _, garbled = garble(SENDER, np.full(5, 2, np.uint64), choice, Prg(bytes(32), "g"))
    _, answer = evaluate(labels, garbled)
    parts = [SENDER.request.points, choice.point, choice.columns.tobytes(), garbled.key, garbled.seed]
    parts += [garbled.tables.tobytes(), garbled.colours.tobytes(), answer.labels.tobytes()]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == TRANSCRIPT


def test_secrets_do_not_show():
    assert str(SENDER.offset) not in repr(SENDER)
    assert str(SENDER.scalars[0]) not in repr(SENDER)


def test_a_false_answer_is_noticed():
    labels, choice = choose(np.array([1, 2], np.uint64), SENDER.request, Prg(bytes(32)))
    zeros, garbled = garble(SENDER, np.array([2, 2], np.uint64), choice, Prg(bytes(32)))
    _, answer = evaluate(labels, garbled)
    bent = answer.labels.copy()
    bent[0, 0, 0] ^= np.uint64(1)
    for false in (Answer(bent), Answer(answer.labels[:1]), Answer(answer.labels.astype(np.int64))):
        with pytest.raises(CryptoError):
            finish(SENDER, zeros, false)


def test_bad_messages_are_refused():
    labels, choice = choose(np.array([1, 2], np.uint64), SENDER.request, Prg(bytes(32)))
    _, garbled = garble(SENDER, np.array([2, 2], np.uint64), choice, Prg(bytes(32)))
    for bad in (
        dataclasses.replace(garbled, tables=garbled.tables[:-1]),
        dataclasses.replace(garbled, tables=garbled.tables.astype(np.int64)),
        dataclasses.replace(garbled, colours=garbled.colours[:, :1]),
        dataclasses.replace(garbled, colours=garbled.colours + np.uint8(2)),
        dataclasses.replace(garbled, colours=garbled.colours.astype(np.int64)),
        dataclasses.replace(garbled, key=b""),
        dataclasses.replace(garbled, seed=b""),
    ):
        with pytest.raises(CryptoError):
            evaluate(labels, bad)
    with pytest.raises(CryptoError):
        garble(SENDER, np.zeros(20, np.uint64), choice, Prg(bytes(32)))


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2), np.uint64), np.zeros(MAX_COUNT + 1, np.uint64)])
def test_only_bounded_vectors_of_words_are_compared(values):
    with pytest.raises(CryptoError):
        choose(values, SENDER.request, Prg(bytes(32)))


TRANSCRIPT = "220a6d71f3d46ddac799ee27af32c47cfb8d231401d2bf770056b06dd80e1ea5"
