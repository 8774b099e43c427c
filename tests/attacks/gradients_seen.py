"""What a host of `coordinated_lr` really holds: its own gradients, read out of a simulation's transcript."""

from __future__ import annotations

import hashlib

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.algorithms.coordinated_lr import LOGISTIC
from partyd.algorithms.coordinated_messages import DecryptedGradient
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.crypto.encoding import MAGNITUDE, bound_of, decode
from partyd.crypto.packing import MASK_BITS, pack, slot_bits, slots, unpack
from partyd.crypto.paillier import CipherVector, PublicKey
from partyd.crypto.prg import Prg
from partyd.federation.simulate import Run
from partyd.types import Address

Vector = NDArray[np.float64]


def gradients_seen(run: Run, host: Address, params: CoordinatedLrParams, rows: int, seed: bytes = b"s") -> list[Vector]:
    """Return X_b^T d of every batch of ``rows`` rows as this host opens it, with the masks that it drew itself."""
    state, columns = run.states[host], len(run.states[host].w)
    exponent, bits = LOGISTIC.residual_form(1, weighted=False)
    bound = ((1 << bits) - 1) * bound_of(MAGNITUDE, -params.floating_point_precision) * rows
    exponent -= params.floating_point_precision
    hidden = CipherVector(PublicKey(state.n), [mpz(1)] * columns, exponent, bound)
    packed, own_seed, found = pack(hidden), hashlib.sha256(seed + str(host).encode()).digest(), []
    for number, message in enumerate(run.transcript.messages(DecryptedGradient, to=host), start=1):
        assert isinstance(message, DecryptedGradient)
        path = ("job", "task", "0", f"stage/iteration/{number}", str(host), "mask")
        masks = Prg(own_seed, *path).integers(packed.bound_bits + MASK_BITS, len(packed))
        opened = [value - mask for value, mask in zip(message.g, masks, strict=True)]
        found.append(decode(unpack(opened, slots(hidden), slot_bits(hidden), columns), exponent))
    return found
