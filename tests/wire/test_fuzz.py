from __future__ import annotations

import random

import pytest

from tests.wire.fuzz import DECODERS, Decoder, run


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_a_decoder_gives_a_value_or_its_one_error(decoder: Decoder) -> None:
    """The full figure: ``python tests/campaigns/fuzz_wire.py --inputs 100000``."""
    for honest in decoder.honest:
        assert decoder.decode(honest) is not None
    valid, _ = run(decoder, 2000, random.Random(3))
    assert valid < 2000
