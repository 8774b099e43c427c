"""Oblivious selection: the chosen bits come out, others stay hidden, odd messages are refused."""

from __future__ import annotations

import numpy as np
import pytest

from partyd.crypto import selection
from partyd.crypto.prg import Prg
from partyd.crypto.selection import (
    Choice,
    Chooser,
    Owner,
    Question,
    Request,
    answer,
    begin,
    choose,
    hide,
    ready,
    reveal,
    transfers,
    transfers_of,
)
from partyd.errors import CryptoError

OWNER, CHOOSER = Prg(b"o" * 32), Prg(b"c" * 32)
ROWS = 37


def session() -> tuple[Owner, Chooser]:
    sender = begin(OWNER.child("request"))
    chooser, point = answer(sender.request, CHOOSER.child("answer"))
    return ready(sender, point), chooser


@pytest.fixture(scope="module", name="sides")
def _sides() -> tuple[Owner, Chooser]:
    return session()


Sides = tuple[Owner, Chooser]


def asked(sizes: list[int]) -> list[Question]:
    random = np.random.default_rng(1)
    return [Question(size, random.integers(0, size + 1, ROWS)) for size in sizes]


def run(
    sides: Sides, sizes: list[int], label: str = "1"
) -> tuple[list[np.ndarray], list[Question], np.ndarray, Choice]:
    random = np.random.default_rng(2)
    tables, questions = [random.integers(0, 2, (ROWS, size), dtype=np.uint8) for size in sizes], asked(sizes)
    choice, columns = choose(sides[1], questions, label)
    return tables, questions, hide(sides[0], columns, tables, label), choice


@pytest.mark.parametrize("sizes", [[1], [2], [3], [1, 4, 7, 32], [64]])
def test_each_row_gets_the_bit_it_asks_for(sides: Sides, sizes: list[int]) -> None:
    tables, questions, hidden, choice = run(sides, sizes)
    for table, question, bits in zip(tables, questions, reveal(choice, hidden), strict=True):
        inside = question.wanted < question.size
        expected = table[np.arange(ROWS), np.minimum(question.wanted, question.size - 1)]
        assert bits.tolist() == np.where(inside, expected, 0).tolist()


def test_a_selection_in_pieces_gives_the_same_bits(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "PIECE_TRANSFERS", 40)
    tables, questions, hidden, choice = run(sides, [1, 5, 9], "pieces")
    assert len(choice.blocks) > 9
    for table, question, bits in zip(tables, questions, reveal(choice, hidden), strict=True):
        inside = question.wanted < question.size
        expected = table[np.arange(ROWS), np.minimum(question.wanted, question.size - 1)]
        assert bits.tolist() == np.where(inside, expected, 0).tolist()


def test_the_bits_are_hidden_and_their_masks_differ_by_row_and_index(sides: Sides) -> None:
    questions = [Question(16, np.zeros(2000, dtype=np.int64))]
    choice, columns = choose(sides[1], questions, "many")
    sent = np.unpackbits(hide(sides[0], columns, [np.zeros((2000, 16), np.uint8)], "many"), bitorder="little")
    table = sent.reshape(2000, 16)
    assert abs(table.mean() - 0.5) < 0.02
    assert abs(table.mean(axis=0) - 0.5).max() < 0.06
    assert reveal(choice, np.packbits(sent, bitorder="little"))[0].tolist() == [0] * 2000
    correlated = np.corrcoef(table.T.astype(float)) - np.eye(16)
    assert abs(correlated).max() < 0.12
    assert transfers([16], 10) == 10 * transfers_of(16) == 50


def test_selections_of_one_session_share_no_masks(sides: Sides) -> None:
    zeros, questions = [np.zeros((4000, 1), np.uint8)], [Question(1, np.zeros(4000, dtype=np.int64))]
    sent = [hide(sides[0], choose(sides[1], questions, label)[1], zeros, label) for label in ("1", "2")]
    assert abs(np.unpackbits(sent[0] ^ sent[1]).mean() - 0.5) < 0.05


def test_the_choosers_message_hides_its_choices(sides: Sides) -> None:
    sent = [choose(sides[1], [Question(3, np.full(ROWS, wanted))], f"c{wanted}")[1] for wanted in (0, 1)]
    assert abs(np.unpackbits(sent[0] ^ sent[1]).mean() - 0.5) < 0.05


def test_a_session_survives_its_encoding(sides: Sides) -> None:
    owner, chooser = Owner.from_bytes(sides[0].to_bytes()), Chooser.from_bytes(sides[1].to_bytes())
    assert (owner, chooser) == sides
    for kind, data in ((Owner, sides[0].to_bytes()), (Chooser, sides[1].to_bytes())):
        with pytest.raises(CryptoError, match="keys"):
            kind.from_bytes(data[:-1])


def test_odd_messages_are_refused(sides: Sides) -> None:
    _, _, hidden, choice = run(sides, [3, 5])
    with pytest.raises(CryptoError, match="refuse"):
        reveal(choice, hidden[:-1])
    columns = choose(sides[1], asked([3]), "odd")[1]
    with pytest.raises(CryptoError, match="refuse"):
        hide(sides[0], columns, [np.zeros((ROWS, 9), np.uint8)], "odd")
    with pytest.raises(CryptoError, match="fewer rows"):
        choose(sides[1], [Question(3, np.zeros(1 << 24, dtype=np.int64))], "large")
    sender = begin(OWNER.child("request"))
    with pytest.raises(CryptoError, match="refuse"):
        ready(sender, b"1")
    with pytest.raises(CryptoError, match="request"):
        answer(Request(b"1"), CHOOSER.child("answer"))
