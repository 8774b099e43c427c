"""The parameters of an encryption that several components share: FATE's names, and how encryptions are obfuscated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from partyd.algorithms.parameters import Settings, lower
from partyd.crypto.paillier import KEY_BITS, Obfuscation

HIDING: dict[Obfuscation, Obfuscation] = {
    "djn256": "djn_half",
    "djn448": "djn_half",
    "djn_half": "full",
    "full": "full",
}
"""How who answers the key's owner hides what it computed, by how the owner's numbers were encrypted.

The owner knows the factors of n, and with them logarithms are within reach (`partyd.crypto.paillier`). So an answer's
obfuscator comes from a range that is longer by far than whatever the computation made of the owner's own.
"""


class HeParam(Settings):
    """The encryption; a key below the floor of 2048 bits is lifted to it.

    ``obfuscation`` says how every ciphertext of the job is randomised (`partyd.crypto.paillier`): with powers of 448
    (``djn448``) or 256 bits (``djn256``), of half the key's length (``djn_half``), or as Paillier has it (``full``).
    """

    kind: Annotated[Literal["paillier"], BeforeValidator(lower)] = "paillier"
    key_length: int = Field(default=KEY_BITS, ge=512, le=8192, multiple_of=16)
    obfuscation: Annotated[Obfuscation, BeforeValidator(lower)] = "djn448"

    @property
    def hiding(self) -> Obfuscation:
        """How ciphertexts are re-randomised that go back to who can decrypt them."""
        return HIDING[self.obfuscation]

    @property
    def key_bits(self) -> int:
        """Bits of the key that is used: what was asked for, never below the floor."""
        return max(self.key_length, KEY_BITS)
