"""What the broker sees of a job: nothing."""

from __future__ import annotations

import random

import pytest

from tests.campaigns.capture import campaign
from tests.campaigns.needles import Needles, digests, encodings


def test_the_broker_sees_nothing_of_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    hits, needles, size = campaign(epochs=2, broker="embedded")
    assert (hits, needles > 100_000, size > 1 << 20) == (0, True, True)
    assert f"0 hits of {needles} needles" in capsys.readouterr().out


def test_the_search_finds_every_form_wherever_it_stands() -> None:
    chance = random.Random(1)
    for turn in range(40):
        value = chance.randbytes(chance.randrange(8, 40))
        needles = Needles()
        needles.add("value", value)
        needles.add("digest", *digests(value))
        form = chance.choice([form for v in (value, *digests(value)) for form in encodings(v)])
        stream = chance.randbytes(turn) + form + chance.randbytes(chance.randrange(20))
        assert [found for _, found, _ in needles.find(stream)].count(form) == 1
        assert needles.find(chance.randbytes(5000)) == []


def test_base64_is_found_in_the_middle_of_a_longer_text() -> None:
    import base64

    for lead in range(7):
        text = base64.b64encode(b"x" * lead + b"a canary token" + b"tail")
        needles = Needles()
        needles.add("token", b"a canary token")
        assert needles.find(text), lead
