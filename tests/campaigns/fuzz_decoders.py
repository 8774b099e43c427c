"""Fuzz the decoders of what parties exchange; exit 1 when one raises anything but its refusal, is slow, or grows.

python tests/campaigns/fuzz_decoders.py --inputs 100000 [--seed N] [--target NAME]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from partyd.components import COMPONENTS
from partyd.crypto.paillier import Ciphertexts, PublicKey, generate_keypair
from partyd.crypto.prg import Prg
from partyd.dag.spec import parse_dag_text, read_dag
from partyd.errors import BadValue, CryptoError, JobRejected, PartydError
from partyd.federation.driver import Checkpoint, StageState
from partyd.federation.header import decode_header, encode_header
from partyd.types import GUEST, HOST, Address, MessageId
from partyd.wire.arrays import Floats, Words
from partyd.wire.codec import BigInt, Record
from partyd.wire.records import Ack, First, More, Ping, Progress
from partyd.wire.records import Record as DeliveryRecord
from partyd.wire.records import decode as decode_record
from partyd.wire.records import encode as encode_record
from tests.e2e.federation import toy
from tests.e2e.vertical import dag
from tests.wire.fuzz import DECODERS, Decoder, run

SLOWEST_S = 0.5
GROWTH_MIB = 64
MESSAGE = MessageId("job", "task_0", 0, "train/iteration/7", "Forward", Address("9999", HOST), Address("10000", GUEST))


class Tensor(Record):
    """Arrays of two dtypes."""

    floats: Floats
    words: Words


class BigInts(Record):
    """A vector of integers of any size."""

    values: list[BigInt]


class Sealed(Record):
    """A vector of ciphertexts."""

    c: Ciphertexts


class Nested(Record):
    """Every shape of a record."""

    name: str
    table: dict[str, list[float]]
    maybe: Tensor | None
    many: list[BigInts]


def _key() -> PublicKey:
    return generate_keypair(512, Prg(bytes(32), "insecure"), insecure_for_tests=True)[0]


def _target(name: str, kind: type[Record], *honest: Record) -> Decoder:
    return Decoder(name, kind.from_bytes, BadValue, [record.to_bytes() for record in honest])


def _under(key: PublicKey) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        try:
            return Ciphertexts.from_bytes(data).under(key)
        except CryptoError as error:
            raise BadValue(str(error)) from error

    return decode


def _records() -> list[DeliveryRecord]:
    return [
        First(7, 1, 5, 1, bytes(32), encode_header(MESSAGE), b"hello"),
        More(7, 1, 1, b"world"),
        Ping(3),
        Ack(5, 1 << 20, 3, (), (Progress(7, 1, 1, False),)),
    ]


def _header(data: bytes) -> object:
    return decode_header(data, MESSAGE.source, MESSAGE.destination)


def _job(data: bytes) -> object:
    return read_dag(parse_dag_text(data.decode("utf-8", "replace"), "the job"), COMPONENTS)


def targets() -> dict[str, Decoder]:
    """Return every target by name; a new decoder gets a line here."""
    tensor = Tensor(floats=np.arange(12.0).reshape(3, 4), words=np.zeros((2, 0), dtype=np.uint64))
    bigs = BigInts(values=[0, 1, -1, 1 << 2048, -(1 << 4096)])
    nested = Nested(name="n", table={"a": [1.0], "b": []}, maybe=tensor, many=[bigs])
    sealed = _key().encrypt(np.arange(3.0)).rerandomised()
    checkpoint = Checkpoint(stages=[StageState(stage="train", round=3, state=tensor.to_bytes())])
    found = [
        _target("record", Nested, nested, Nested(name="", table={}, maybe=None, many=[])),
        _target("tensor", Tensor, tensor),
        _target("big integers", BigInts, bigs),
        _target("ciphertexts", Sealed, Sealed(c=sealed)),
        Decoder("ciphertexts under a key", _under(_key()), BadValue, [sealed.to_bytes()]),
        _target("checkpoint", Checkpoint, checkpoint),
        Decoder("delivery record", decode_record, BadValue, [encode_record(bytes(8), record) for record in _records()]),
        Decoder("message header", _header, BadValue, [encode_header(MESSAGE)]),
        Decoder("job", _job, JobRejected, [json.dumps({"dag": document}).encode() for document in (dag(), toy())]),
        *DECODERS,
    ]
    return {decoder.name: decoder for decoder in found}


def main() -> int:
    """Fuzz, print a line a target, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", help="only this target (may be repeated)")
    arguments = parser.parse_args()
    failed, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, decoder in targets().items():
        if not arguments.target or name in arguments.target:
            failed += not _survives(decoder, arguments.inputs, arguments.seed)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"memory grew by {growth:.0f} MiB (at most {GROWTH_MIB})")
    return 1 if failed or growth > GROWTH_MIB else 0


def _survives(decoder: Decoder, inputs: int, seed: int) -> bool:
    try:
        valid, slowest = run(decoder, inputs, random.Random(seed))
    except Exception as error:
        traceback.print_exc()
        expected = "a PartydError that is not its refusal" if isinstance(error, PartydError) else "an exception"
        print(f"{decoder.name:24} CRASHED with {expected}")
        return False
    print(f"{decoder.name:24} 0 crashes of {inputs}; {valid} valid, slowest {slowest * 1e3:.1f} ms")
    return slowest <= SLOWEST_S


if __name__ == "__main__":
    raise SystemExit(main())
