"""The Paillier key of a guest that lets hosts compute on its numbers: sent with its proof, checked.

The guest draws the key from its attempt's randomness, so that a repeated round makes the same one and an algorithm of
a single round needs no checkpoint between making the key and sending it.
"""

from __future__ import annotations

from partyd.crypto import keycheck
from partyd.crypto.paillier import KEY_BITS, Obfuscation, PrivateKey, PublicKey, generate_keypair
from partyd.federation.algorithm import Disclosure
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address


class GuestKey(Message, sender=GUEST, receiver=HOST):
    """The key under which the guest encrypts, and the proof that it is well formed (`partyd.crypto.keycheck`)."""

    key: bytes
    proof: bytes


DISCLOSURES = (Disclosure(HOST, "the guest's public key", GuestKey),)


async def send_guest_key(party: Party, algorithm: str, bits: int, obfuscation: Obfuscation) -> PrivateKey:
    """Make the key, send its public half with the proof, and return it; below the floor only in tests."""
    insecure = bits < KEY_BITS
    _, private = generate_keypair(bits, party.rng("key"), obfuscation=obfuscation, insecure_for_tests=insecure)
    proof = keycheck.prove(private, _context(party, algorithm, party.me))
    await party.send(GuestKey(key=keycheck.public_to_bytes(private.public), proof=proof))
    return private


async def receive_guest_key(party: Party, algorithm: str, bits: int, obfuscation: Obfuscation) -> PublicKey:
    """Receive the guest's key; raises CryptoError unless key and proof hold."""
    message, insecure = await party.recv(GuestKey), bits < KEY_BITS
    public = keycheck.public_from_bytes(message.key, bits, obfuscation=obfuscation, insecure_for_tests=insecure)
    keycheck.verify(public, message.proof, _context(party, algorithm, party.peers(GUEST)[0]))
    return public


def _context(party: Party, algorithm: str, guest: Address) -> bytes:
    """Return what the proof is for: this attempt of this task, and who made the key."""
    return algorithm.encode() + b" " + party.context + str(guest).encode()
