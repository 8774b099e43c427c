from __future__ import annotations

import asyncio

import pytest

from partyd.algorithms.arbiter_key import (
    DISCLOSURES,
    ArbiterKey,
    new_key,
    private_key,
    public_key,
    receive_key,
    send_key,
)
from partyd.crypto import keycheck
from partyd.crypto.paillier import Obfuscation
from partyd.errors import CryptoError
from partyd.federation.party import Party
from partyd.federation.simulate import Faults, MemoryNetwork, MemoryPost, MemoryReporter
from partyd.types import ARBITER, GUEST, HOST, Address

G, H, A = Address("1", GUEST), Address("2", HOST), Address("3", ARBITER)
INSECURE_BITS = 512
KEY = new_key(INSECURE_BITS)


def party(me: Address, network: MemoryNetwork, job: str = "j") -> Party:
    made = Party(me, [G, H, A], MemoryPost(network), MemoryReporter(), job=job, task="t", attempt=0, seed=b"0" * 32)
    made.enter("r/0")
    return made


async def exchange(algorithm: str = "lr", bits: int = INSECURE_BITS, job: str = "j") -> list[int]:
    """Send a key in job ``j`` and show it to guest and host in ``job``."""
    network, found = MemoryNetwork(Faults()), []
    await send_key(party(A, network), "lr", private_key(KEY, INSECURE_BITS))
    for message, body in list(network.sent.items()):
        network.publish(message._replace(job=job), body)
    for me in (G, H):
        found.append(await receive_key(party(me, network, job), algorithm, bits))
    return found


def test_guest_and_host_take_a_key_whose_proof_holds() -> None:
    assert asyncio.run(exchange()) == [int(private_key(KEY, INSECURE_BITS).public.n)] * 2
    assert {d.role for d in DISCLOSURES} == {GUEST, HOST}
    assert {d.source for d in DISCLOSURES} == {ArbiterKey}


def test_a_proof_is_for_one_job_and_one_algorithm() -> None:
    with pytest.raises(CryptoError, match="does not hold"):
        asyncio.run(exchange(algorithm="poisson"))
    with pytest.raises(CryptoError, match="does not hold"):
        asyncio.run(exchange(job="k"))
    with pytest.raises(CryptoError, match="no Paillier key of 1024 bits"):
        asyncio.run(exchange(bits=1024))


def test_keys_are_made_once_a_process_and_obfuscate_as_the_job_says() -> None:
    n = int(private_key(KEY, INSECURE_BITS).public.n)
    ways: tuple[Obfuscation, ...] = ("djn448", "djn256", "djn_half", "full")
    for way in ways:
        assert public_key(n, way) is public_key(n, way)
        assert private_key(KEY, INSECURE_BITS, way) is private_key(KEY, INSECURE_BITS, way)
        assert public_key(n, way).obfuscation == private_key(KEY, INSECURE_BITS, way).public.obfuscation == way


def test_every_key_is_new_and_below_the_floor_only_in_tests() -> None:
    assert new_key(INSECURE_BITS) != KEY
    with pytest.raises(CryptoError):
        keycheck.private_from_bytes(KEY.to_bytes(), 2048)
