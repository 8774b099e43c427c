"""The Paillier key of an arbiter that decrypts for the others: made, sent with its proof, checked, kept ready.

A trainer with an arbiter takes ``ArbiterKey`` and `DISCLOSURES` into its declaration. The arbiter makes the key in its
first round (`new_key`) and sends it in the next (`send_key`), when its state has been checkpointed; the others read it
with `receive_key`. Keys and their tables are made once a process, from what the states hold: a modulus, a `Secret`.
"""

from __future__ import annotations

from functools import lru_cache

from partyd.crypto import keycheck
from partyd.crypto.paillier import KEY_BITS, Obfuscation, PrivateKey, PublicKey, generate_keypair
from partyd.federation.algorithm import Disclosure
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import ARBITER, GUEST, HOST, Address
from partyd.wire.codec import Secret


class ArbiterKey(Message, sender=ARBITER, receiver=GUEST | HOST):
    """The key under which this training computes, and the proof that it is well formed (`partyd.crypto.keycheck`)."""

    key: bytes
    proof: bytes


DISCLOSURES = (
    Disclosure(GUEST, "the arbiter's public key", ArbiterKey),
    Disclosure(HOST, "the arbiter's public key", ArbiterKey),
)


def new_key(bits: int) -> Secret:
    """Return a new private key, to be kept in the arbiter's state; below the floor only in tests."""
    _, private = generate_keypair(bits, insecure_for_tests=bits < KEY_BITS)
    return Secret(keycheck.private_to_bytes(private))


async def send_key(party: Party, algorithm: str, private: PrivateKey) -> None:
    """Send the public half with the proof that it is well formed, bound to this attempt of this task."""
    public = keycheck.public_to_bytes(private.public)
    await party.send(ArbiterKey(key=public, proof=keycheck.prove(private, _context(party, algorithm, party.me))))


async def receive_key(party: Party, algorithm: str, bits: int) -> int:
    """Receive the arbiter's key and return its modulus; raises CryptoError unless key and proof hold."""
    message = await party.recv(ArbiterKey)
    public = keycheck.public_from_bytes(message.key, bits, insecure_for_tests=bits < KEY_BITS)
    keycheck.verify(public, message.proof, _context(party, algorithm, party.peers(ARBITER)[0]))
    return int(public.n)


@lru_cache(maxsize=4)
def public_key(n: int, obfuscation: Obfuscation = "djn448") -> PublicKey:
    """Return the key of modulus ``n``, with its tables made once a process."""
    return PublicKey(n, obfuscation)


@lru_cache(maxsize=4)
def private_key(key: Secret, bits: int, obfuscation: Obfuscation = "djn448") -> PrivateKey:
    """Return the private key, with its tables made once a process."""
    return keycheck.private_from_bytes(key.to_bytes(), bits, obfuscation=obfuscation)


def _context(party: Party, algorithm: str, arbiter: Address) -> bytes:
    """Return what the proof of the arbiter's key is for: this attempt of this task, and who made it."""
    return algorithm.encode() + b" " + party.context + str(arbiter).encode()
