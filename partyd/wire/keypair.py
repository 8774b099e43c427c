"""Seal and open data frames with one handshake's two keys.

    frame     = header (16 B, clear) || ChaCha20-Poly1305(key of the direction, nonce, inner, AD)
    nonce     = 32 zero bits || counter u64 little-endian      (as Noise's ChaChaPoly, §12.3)
    AD        = header || lp(destination mailbox) || lp(source mailbox)
    inner     = record length u32 big-endian || record || zeros up to Padmé's length

The header's counter starts at 0 with every handshake and never repeats under a key; keys live in RAM only, so neither
does it after a restart. The receiver checks, in this order: age, AEAD, replay window, padding.
"""

from __future__ import annotations

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from partyd.errors import BadFrame, LocalProtocolError
from partyd.types import Address
from partyd.wire.events import Reason
from partyd.wire.frame import HEADER_BYTES, MAX_FRAME, FrameType, Header, ReplayWindow, mailboxes, pack_header
from partyd.wire.hello import Hello
from partyd.wire.noise import TAG, TransportKeys
from partyd.wire.padding import padme, padme_floor

REKEY_AFTER_S: Final = 600.0
REKEY_AFTER_FRAMES: Final = 2**20
REKEY_AFTER_BYTES: Final = 64 * 2**30
REJECT_AFTER_S: Final = 1200.0
REJECT_AFTER_FRAMES: Final = 2**24
RESPONDER_SLACK: Final = 1.1
"""The responder waits 10 % longer with rekeying, so that one side does it."""

_LENGTH: Final = struct.Struct(">I")
_NONCE: Final = struct.Struct("<4xQ")
_ZEROS: Final = bytes(MAX_FRAME // 8)
"""Padmé adds at most 12 %."""


def longest_record(max_frame: int) -> int:
    """Return the length of the longest record whose frame fits in ``max_frame`` bytes."""
    return padme_floor(max_frame - HEADER_BYTES - TAG) - _LENGTH.size


class KeyPair:
    """One session's keys, counters and window, from the handshake until its end."""

    def __init__(
        self,
        keys: TransportKeys,
        *,
        initiator: bool,
        local: Address,
        peer: Address,
        indexes: tuple[int, int],
        hello: Hello,
        max_frame: int,
        now: float,
    ) -> None:
        """``indexes`` are the local and the remote one; ``hello`` is the peer's."""
        outward, inward = keys.initiator_to_responder, keys.responder_to_initiator
        if not initiator:
            outward, inward = inward, outward
        self._seal = ChaCha20Poly1305(outward).encrypt
        self._open = ChaCha20Poly1305(inward).decrypt
        self._seal_ad = mailboxes(peer, local)
        self._open_ad = mailboxes(local, peer)
        self._window = ReplayWindow(REJECT_AFTER_FRAMES)
        self.initiator = initiator
        self.local_index, self.remote_index = indexes
        self.hello = hello
        self.max_record = longest_record(max_frame)
        self.created = now
        self.counter = 0
        self.sealed_bytes = 0

    def seal(self, record: bytes) -> bytes:
        """Return the data frame that carries ``record``; raises LocalProtocolError past a limit."""
        length = len(record)
        if length > self.max_record:
            raise LocalProtocolError(f"a record of {length} bytes; the frames agreed on carry {self.max_record}")
        if self.exhausted:
            raise LocalProtocolError("this session has sealed 2^24 frames; rekey first")
        padding = padme(_LENGTH.size + length) - _LENGTH.size - length
        header = pack_header(FrameType.DATA, self.remote_index, self.counter)
        inner = b"".join((_LENGTH.pack(length), record, _ZEROS[:padding]))
        frame = header + self._seal(_NONCE.pack(self.counter), inner, header + self._seal_ad)
        self.counter += 1
        self.sealed_bytes += len(frame)
        return frame

    def open(self, header: Header, frame: bytes, now: float) -> bytes:
        """Return the record in ``frame``; raises BadFrame with a ``Reason``, and then nothing has changed."""
        if now >= self.created + REJECT_AFTER_S or header.counter >= REJECT_AFTER_FRAMES:
            raise BadFrame(Reason.EXPIRED)
        try:
            inner = self._open(
                _NONCE.pack(header.counter), memoryview(frame)[HEADER_BYTES:], frame[:HEADER_BYTES] + self._open_ad
            )
        except InvalidTag as error:
            raise BadFrame(Reason.FORGED) from error
        if not self._window.accept(header.counter):
            raise BadFrame(Reason.REPLAYED)
        return _unpadded(inner)

    @property
    def exhausted(self) -> bool:
        """Say whether every counter is used."""
        return self.counter >= REJECT_AFTER_FRAMES

    def wants_rekey(self, now: float) -> bool:
        """Say whether this side should begin a new handshake."""
        slack = 1.0 if self.initiator else RESPONDER_SLACK
        used = self.counter >= REKEY_AFTER_FRAMES * slack or self.sealed_bytes >= REKEY_AFTER_BYTES * slack
        return used or now >= self.rekey_at

    @property
    def rekey_at(self) -> float:
        return self.created + REKEY_AFTER_S * (1.0 if self.initiator else RESPONDER_SLACK)

    @property
    def expires_at(self) -> float:
        return self.created + REJECT_AFTER_S


def _unpadded(inner: bytes) -> bytes:
    """Take the record out; an authentic peer that pads otherwise is refused too, so that nothing hides there."""
    if len(inner) < _LENGTH.size:
        raise BadFrame(Reason.CONTENT)
    end = _LENGTH.size + _LENGTH.unpack_from(inner)[0]
    if len(inner) != padme(end) or not inner.endswith(_ZEROS[: len(inner) - end]):
        raise BadFrame(Reason.CONTENT)
    return inner[_LENGTH.size : end]
