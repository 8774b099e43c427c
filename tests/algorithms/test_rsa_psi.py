from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from partyd.algorithms.psi_files import Compared
from partyd.algorithms.psi_result import CommonRows, HostSize, Placed, Plan
from partyd.algorithms.rsa_psi import Blinded, HostTags, Signed, SignerKey, rsa_psi
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address
from tests.conformance.examples import InsecurePsiParams

G, H1, H2 = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)


def run(*sets: Sequence[str], seed: bytes = b"s", **parameters: object) -> tuple[Run, list[list[bytes]]]:
    """Return the run and the ids that each party was told to be common."""
    params = InsecurePsiParams.model_validate({"protocol": "rsa_psi", "chunk_rows": 3, **parameters})
    with tempfile.TemporaryDirectory() as folder:
        data = {
            party: Compared.of(np.array([i.encode() for i in ids], "S9"), Path(folder) / party.party_id)
            for party, ids in zip((G, H1, H2), sets, strict=False)
        }
        done = asyncio.run(simulate(rsa_psi, params, data, seed=seed))
        return done, [own.take(done.states[party].positions(own)) for party, own in data.items()]


TEN, TWELVE = [f"u{i}" for i in range(10)], [f"u{i}" for i in range(4, 16)]
SIX = sorted(f"u{i}".encode() for i in range(4, 10))


@pytest.mark.parametrize(
    ("sets", "common"),
    [
        ([TEN, TWELVE], SIX),
        ([TWELVE, TEN], SIX),
        ([TEN, TWELVE, ["u5", "u9", "x"]], [b"u5", b"u9"]),
        ([TEN, ["x"]], []),
        ([[], TEN], []),
        ([TEN, []], []),
    ],
)
def test_equals_the_other_protocol(sets: list[list[str]], common: list[bytes]) -> None:
    assert run(*sets)[1] == [common] * len(sets)


def test_each_side_receives_what_the_file_declares() -> None:
    done, _ = run(["a", "b", "c", "d"], ["c", "d", "e"])
    assert done.transcript.kinds(to=HOST) == {Plan, Blinded, CommonRows}
    assert done.transcript.kinds(to=GUEST) == {HostSize, SignerKey, HostTags, Signed}


def test_a_result_for_the_guest_alone_and_a_left_join() -> None:
    done, common = run(TEN, TWELVE, sync_intersect_ids=False)
    assert common == [SIX, []]
    assert done.transcript.kinds(to=HOST) == {Plan, Blinded}
    done, _ = run(["a", "b"], ["b"], join_method="left_join")
    assert done.transcript.kinds(to=HOST) == {Plan, Blinded, Placed}
    assert sorted(done.states[H1].placed.tolist()) == [-1, 0]


def test_every_attempt_has_keys_and_numbers_of_its_own() -> None:
    keys, numbers = set(), set()
    for seed in (b"a", b"b"):
        done, _ = run(TEN, TWELVE, TEN, seed=seed)
        keys |= {m.n for m in done.transcript.messages(SignerKey) if isinstance(m, SignerKey)}
        sent = [m.numbers for m in done.transcript.messages(Blinded) if isinstance(m, Blinded)]
        numbers |= {n[i : i + 64] for n in sent for i in range(0, len(n), 64)}
    assert len(keys) == 4
    assert len(numbers) == 2 * 2 * 10


def test_the_prime_factors_stay_at_home() -> None:
    done, _ = run(TEN, TWELVE)
    primes = done.states[H1].primes.to_bytes()
    assert len(primes) == 64
    wire = b"".join(sent.body for sent in done.transcript.sent)
    assert primes[:32] not in wire
    assert primes[32:] not in wire
