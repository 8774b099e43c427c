"""Pad lengths with Padmé, so that a frame's size tells little about what is in it.

Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019,
§4) rounds a length L up so that its binary form ends in zeros: with E = floor(log2 L) and S = floor(log2 E) + 1, the
last E - S bits are zero. The overhead is at most 11.1 % and falls as L grows; a length up to M leaks
O(log log M) bits.
"""

from __future__ import annotations


def _mask(length: int) -> int:
    exponent = length.bit_length() - 1
    return (1 << (exponent - exponent.bit_length())) - 1


def padme(length: int) -> int:
    """Return the padded length of ``length`` bytes: at least ``length``, at most 12 % more."""
    if length < 2:
        return length
    mask = _mask(length)
    return (length + mask) & ~mask


def padme_floor(limit: int) -> int:
    """Return the greatest length that pads to itself and does not exceed ``limit``."""
    return limit if limit < 2 else limit & ~_mask(limit)
