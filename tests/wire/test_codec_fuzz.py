"""A short run of the fuzz campaign; the long one is tests/campaigns/fuzz_decoders.py."""

from __future__ import annotations

import random

import pytest

from tests.campaigns.fuzz_decoders import targets
from tests.wire.fuzz import Decoder, run

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_crashes_a_decoder(name: str) -> None:
    decoder: Decoder = TARGETS[name]
    valid, _ = run(decoder, 500, random.Random(3))
    assert valid < 500
