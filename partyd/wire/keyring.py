"""Which static keys and cards the two ends of a channel may use, and the handshake over each pair of them.

During a rotation two cards of a side may be valid. A responder tries each pair until one opens message 1; an
initiator uses the newest pair, and after attempts that stay unanswered also the others.

    prologue = "partyd-e2e/1" || lp(initiator) || lp(responder) || SHA-256(card_i) || SHA-256(card_r)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from partyd.crypto.identity import LocalIdentity
from partyd.errors import BadFrame, LocalProtocolError
from partyd.wire.card import Card
from partyd.wire.events import Reason
from partyd.wire.frame import length_prefixed
from partyd.wire.noise import Initiator, Responder

PSK_BYTES: Final = 32
_PROLOGUE: Final = b"partyd-e2e/1"


def prologue(initiator: Card, responder: Card) -> bytes:
    """Return what both sides must agree on before the first byte."""
    names = length_prefixed(str(initiator.address)) + length_prefixed(str(responder.address))
    return _PROLOGUE + names + initiator.digest + responder.digest


@dataclass(frozen=True, repr=False)
class _Pair:
    static: X25519PrivateKey
    card: Card
    peer: Card


class Keyring:
    """The pairs (own card, peer's card) of one channel, the newest first, and the pre-shared key."""

    def __init__(self, identity: LocalIdentity, own: list[Card], peers: list[Card], psk: bytes) -> None:
        """``own`` and ``peers`` are the current card and, while it is valid, the previous one."""
        if len(psk) != PSK_BYTES:
            raise LocalProtocolError(f"the pre-shared key has {len(psk)} bytes, not {PSK_BYTES}")
        if any(card.address != identity.address for card in own) or len({card.address for card in peers}) != 1:
            raise LocalProtocolError(f"{identity.address}: a card belongs to another address")
        if peers[0].address == identity.address:
            raise LocalProtocolError(f"{identity.address} cannot open a channel to itself")
        self.local, self.peer = identity.address, peers[0].address
        self._psk = psk
        self._pairs: list[_Pair] = []
        for card in own:
            static = identity.kx_for(card.kx_pub)
            if static is None:
                raise LocalProtocolError(f"{identity.address}: no private key for the card with serial {card.serial}")
            self._pairs += [_Pair(static, card, peer) for peer in peers]

    @property
    def local_wins(self) -> bool:
        """Say whether we prevail when both sides begin at once: the lower address does, bytewise."""
        return str(self.local).encode() < str(self.peer).encode()

    def begin(self, attempt: int, ephemeral: X25519PrivateKey) -> Initiator:
        """Return the initiator's side of attempt number ``attempt``."""
        pair = self._pairs[attempt % len(self._pairs)]
        return Initiator(pair.static, pair.peer.kx_pub, ephemeral, prologue(pair.card, pair.peer), self._psk)

    def answer(self, message: bytes) -> tuple[Responder, bytes]:
        """Return the responder's side and payload 1; raises BadFrame when no pair opens the message."""
        for pair in self._pairs:
            responder = Responder(pair.static, pair.peer.kx_pub, prologue(pair.peer, pair.card), self._psk)
            try:
                return responder, responder.read_first(message)
            except BadFrame:
                continue
        raise BadFrame(Reason.HANDSHAKE)
