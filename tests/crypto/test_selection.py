"""Oblivious selection: the chosen bits come out, others stay hidden, odd messages are refused."""

from __future__ import annotations

import numpy as np
import pytest

from partyd.crypto.prg import Prg
from partyd.crypto.selection import Choice, Question, choose, hide, request, reveal, transfers, transfers_of
from partyd.errors import CryptoError

OWNER, CHOOSER = Prg(b"o" * 32), Prg(b"c" * 32)
ROWS = 37


def asked(sizes: list[int]) -> list[Question]:
    random = np.random.default_rng(1)
    return [Question(size, random.integers(0, size + 1, ROWS)) for size in sizes]


def run(sizes: list[int]) -> tuple[list[np.ndarray], list[Question], np.ndarray, Choice]:
    random = np.random.default_rng(2)
    tables, questions = [random.integers(0, 2, (ROWS, size), dtype=np.uint8) for size in sizes], asked(sizes)
    owner = request(OWNER.child("request"))
    choice, extension = choose(questions, owner.request, CHOOSER.child("choose"))
    return tables, questions, hide(owner, extension, tables), choice


@pytest.mark.parametrize("sizes", [[1], [2], [3], [1, 4, 7, 32], [64]])
def test_each_row_gets_the_bit_it_asks_for(sizes: list[int]) -> None:
    tables, questions, hidden, choice = run(sizes)
    for table, question, bits in zip(tables, questions, reveal(choice, hidden), strict=True):
        inside = question.wanted < question.size
        expected = table[np.arange(ROWS), np.minimum(question.wanted, question.size - 1)]
        assert bits.tolist() == np.where(inside, expected, 0).tolist()


def test_the_bits_are_hidden_and_their_masks_differ_by_row_and_index() -> None:
    sizes = [16]
    owner = request(OWNER.child("request"))
    questions = [Question(16, np.zeros(2000, dtype=np.int64))]
    choice, extension = choose(questions, owner.request, CHOOSER.child("choose"))
    sent = np.unpackbits(hide(owner, extension, [np.zeros((2000, 16), np.uint8)])).reshape(2000, 16)
    assert abs(sent.mean() - 0.5) < 0.02
    assert abs(sent.mean(axis=0) - 0.5).max() < 0.06
    assert reveal(choice, np.packbits(sent.ravel()))[0].tolist() == [0] * 2000
    correlated = np.corrcoef(sent.T.astype(float)) - np.eye(16)
    assert abs(correlated).max() < 0.12
    assert transfers(sizes, 10) == 10 * transfers_of(16) == 50


def test_the_choosers_message_hides_its_choices() -> None:
    owner = request(OWNER.child("request"))
    sent = [
        choose([Question(3, np.full(ROWS, wanted))], owner.request, CHOOSER.child(f"choose {wanted}"))[1].columns
        for wanted in (0, 1)
    ]
    ones = np.unpackbits(sent[0] ^ sent[1])
    assert abs(ones.mean() - 0.5) < 0.05


def test_odd_messages_are_refused() -> None:
    _, _, hidden, choice = run([3, 5])
    with pytest.raises(CryptoError, match="refuse"):
        reveal(choice, hidden[:-1])
    owner = request(OWNER.child("request"))
    _, extension = choose(asked([3]), owner.request, CHOOSER.child("choose"))
    with pytest.raises(CryptoError, match="refuse"):
        hide(owner, extension, [np.zeros((ROWS, 9), np.uint8)])
    with pytest.raises(CryptoError, match="fewer rows"):
        choose([Question(3, np.zeros(1 << 22, dtype=np.int64))], owner.request, CHOOSER.child("many"))
