from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.crypto import oblivious
from partyd.crypto.oblivious import Extension, Request, extend, offset_block, receive, request
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

SENDER = request(Prg(bytes(32), "sender"))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(0, 20), st.binary(min_size=16, max_size=16))
def test_blocks_differ_by_the_offset_where_the_choice_is_one(rows, width, seed):
    choices = (Prg(seed, "choices").uint64((rows, width)) & np.uint64(1)).astype(np.uint8)
    kept, extension = extend(choices, SENDER.request, Prg(seed))
    made = receive(SENDER, extension, (rows, width))
    assert np.array_equal(kept, made ^ (choices[..., None] * offset_block(SENDER)))


def test_the_offset_has_the_colour_bit():
    for i in range(5):
        assert int(offset_block(request(Prg(bytes([i] * 32))))[0]) & 1


def test_blocks_are_distinct_and_the_receiver_lacks_the_other_one():
    kept, extension = extend(np.zeros((2, 50), np.uint8), SENDER.request, Prg(bytes(32)))
    made = receive(SENDER, extension, (2, 50))
    assert len({tuple(b) for b in made.reshape(-1, 2).tolist()}) == 100
    assert np.array_equal(kept, made)


def test_columns_look_random_whatever_the_choices():
    for choices in (np.zeros((4, 500), np.uint8), np.ones((4, 500), np.uint8)):
        _, extension = extend(choices, SENDER.request, Prg(bytes(32), "r"))
        share = np.unpackbits(extension.columns).mean()
        assert abs(share - 0.5) < 0.01


def test_repeating_a_step_gives_the_same_message():
    again = request(Prg(bytes(32), "sender"))
    assert again == SENDER
    first = extend(np.ones((1, 3), np.uint8), SENDER.request, Prg(bytes(32), "r"))[1]
    second = extend(np.ones((1, 3), np.uint8), SENDER.request, Prg(bytes(32), "r"))[1]
    assert first.point == second.point
    assert np.array_equal(first.columns, second.columns)


def test_bad_messages_are_refused():
    choices = np.ones((1, 3), np.uint8)
    points = SENDER.request.points
    for bad in (b"", points[:-1], points[:-32] + b"\x01" + bytes(31), b"\xff" * len(points)):
        with pytest.raises(CryptoError):
            extend(choices, Request(bad), Prg(bytes(32)))
    _, good = extend(choices, SENDER.request, Prg(bytes(32)))
    for bad in (
        dataclasses.replace(good, point=bytes(32)),
        dataclasses.replace(good, point=b"\x01" + bytes(31)),
        dataclasses.replace(good, columns=good.columns[:-1]),
        dataclasses.replace(good, columns=good.columns.astype(np.uint16)),
        Extension(good.point, np.zeros((oblivious.WIDTH, 2), np.uint8)),
    ):
        with pytest.raises(CryptoError):
            receive(SENDER, bad, (1, 3))
