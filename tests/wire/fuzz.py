"""Feed the wire's decoders mutated honest inputs: each must give a value or its one error, quickly."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from partyd.crypto.identity import Fingerprint, LocalIdentity
from partyd.errors import BadFrame, BadValue, ConfigError, PartydError
from partyd.wire.card import Card
from partyd.wire.frame import FrameType, pack_header, parse_header
from partyd.wire.hello import Hello, InitPayload, ResponsePayload, Status
from partyd.wire.strict import pack, unpack
from tests.wire.channel_pair import GUEST, card_of, insecure_identity

_IDENTITY = insecure_identity(GUEST).rotate_kx(1).rotate_id()
_HELLO = Hello(b"b" * 16, b"s" * 16, 4096, 1 << 19, features=("psi", "he"))
_DANGEROUS = [bytes([first]) + b"\xff" * 8 for first in (*range(0xC0, 0xE0), 0x8F, 0x9F, 0xBF)] + [b"\x91" * 40]


@dataclass(frozen=True)
class Decoder:
    name: str
    decode: Callable[[bytes], object]
    refusal: type[PartydError]
    honest: list[bytes]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


DECODERS = [
    Decoder("frame", parse_header, BadFrame, [pack_header(FrameType.DATA, 7, 9) + bytes(40)]),
    Decoder("strict", unpack, BadValue, [pack([1, -1, 1.5, None, True, "text", b"bytes", [[1], {"a": {"b": 2}}]])]),
    Decoder("init", InitPayload.decode, BadValue, [InitPayload(2**60, 5, _HELLO).encode()]),
    Decoder("response", ResponsePayload.decode, BadValue, [ResponsePayload(Status.OK, 5, 1, 6, _HELLO).encode()]),
    Decoder("card", Card.decode, BadValue, [card_of(insecure_identity(GUEST)).encode()]),
    Decoder("card text", lambda data: Card.from_text(_text(data)), BadValue, [card_of(_IDENTITY).to_text().encode()]),
    Decoder("identity", lambda data: LocalIdentity.from_text(_text(data)), ConfigError, [_IDENTITY.to_text().encode()]),
    Decoder(
        "fingerprint", lambda data: Fingerprint.parse(_text(data)), ConfigError, [str(_IDENTITY.fingerprint).encode()]
    ),
]


def mutated(honest: bytes, rng: random.Random) -> bytes:
    """Return ``honest`` with one to four edits, now and then pure noise or something very long."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(200))
    data = bytearray(honest)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                data[at : at + 1] = rng.choice(_DANGEROUS)
            case 2:
                del data[at : at + rng.randrange(1, 20)]
            case 3:
                data[at:at] = data[: rng.randrange(len(data) + 1)]
            case 4:
                data[at:at] = bytes([rng.randrange(256)]) * rng.choice([1, 16, 300, 5000])
            case _:
                del data[at:]
    return bytes(data)


def run(decoder: Decoder, inputs: int, rng: random.Random) -> tuple[int, float]:
    """Return how many inputs were taken as valid, and the slowest one's seconds; anything but a refusal raises."""
    valid, slowest = 0, 0.0
    for _ in range(inputs):
        data = mutated(rng.choice(decoder.honest), rng)
        begun = time.perf_counter()
        try:
            decoder.decode(data)
            valid += 1
        except decoder.refusal:
            continue
        finally:
            slowest = max(slowest, time.perf_counter() - begun)
    return valid, slowest
