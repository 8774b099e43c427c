"""How long arithmetic under a key takes, roughly: what decides between this process and several.

Seconds on one core of a server of 2020, measured at 2048 bits with gmpy2 and scaled from there. A factor of two is of
no matter to those who ask, and nothing that is computed depends on it.
"""

from __future__ import annotations

from partyd.crypto.paillier import PrivateKey, PublicKey

PRODUCT_S = 6e-6
"""A product modulo n^2."""
GROWTH = 1.7
"""How a product grows with the length of the key, as a power."""
POWER_FACTOR = 0.8
"""A step of a long power, which is mostly squarings, in products."""
TABLE_STEPS = 500
"""What the table of powers of h takes for a byte of the exponent, in products."""
CRT_GAIN = 3.5
"""How much less a power takes modulo p^2 and q^2 apart."""


def product_s(key: PublicKey) -> float:
    """Return the time of a product of two ciphertexts."""
    return float(PRODUCT_S * (key.bits / 2048) ** GROWTH)


def power_s(key: PublicKey, bits: float) -> float:
    """Return the time of a ciphertext to the power of a number of so many bits."""
    return product_s(key) * POWER_FACTOR * bits


def obfuscator_s(key: PublicKey | PrivateKey) -> float:
    """Return the time of an encryption of zero, tables being there."""
    public, gain = (key.public, CRT_GAIN) if isinstance(key, PrivateKey) else (key, 1.0)
    if public.obfuscation == "full":
        return power_s(public, public.bits) / gain
    return product_s(public) * public.exponent_bytes


def table_s(key: PublicKey | PrivateKey) -> float:
    """Return the time of the table that obfuscators under a key are made from."""
    public = key.public if isinstance(key, PrivateKey) else key
    return 0.0 if public.obfuscation == "full" else product_s(public) * TABLE_STEPS * public.exponent_bytes


def decryption_s(key: PrivateKey) -> float:
    """Return the time of a decryption."""
    return power_s(key.public, key.public.bits) / CRT_GAIN
