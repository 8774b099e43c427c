"""A peer that sends what no honest one would: every algorithm ends with an error that says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from partyd.algorithms.class_count import ClassCount, class_count
from partyd.algorithms.coordinated_lr import coordinated_lr
from partyd.algorithms.coordinated_messages import Residual, Rounds
from partyd.algorithms.coordinated_poisson import HostScores, Means, coordinated_poisson
from partyd.algorithms.data_split import Split, data_split
from partyd.algorithms.linear_score import HostScore, linear_score
from partyd.algorithms.millionaires import millionaires
from partyd.algorithms.psi import CommonMarks, GuestPoints, HostPoints, OwnMarks, Reblinded, psi
from partyd.algorithms.psi_result import Cardinality, CommonRows, HostSize, Placed, Plan
from partyd.algorithms.quadratic_loss import Forward, HostLoss
from partyd.algorithms.row_repeats import Repeats, row_repeats
from partyd.algorithms.rsa_psi import Blinded, HostTags, Signed, SignerKey, rsa_psi
from partyd.algorithms.sample import Drawn, sample
from partyd.algorithms.secure_sum import GuestShare, HostShare, HostSum, secure_sum
from partyd.crypto.paillier import Ciphertexts
from partyd.errors import BadValue, CryptoError, DataError, PartydError
from partyd.federation.algorithm import Algorithm
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import simulate
from partyd.protocols.secure_compare import BitChoice, GarbledGates, OutputLabels
from partyd.types import Address
from tests.conformance.examples import EXAMPLES, H1, G, compared

Change = Callable[[Message], Message]
ORDER_EIGHT = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
"""The u of a point of order 8."""
PATIENCE_S = 60.0
"""A run that would wait for ever is a failure."""


@pytest.fixture
def forged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Let every message be changed by a function before it is sent."""
    honest = Party.send

    def install(change: Change) -> None:
        async def send(self: Party, message: Message, to: Address | None = None) -> None:
            await honest(self, change(message), to)

        monkeypatch.setattr(Party, "send", send)

    return install


def field(kind: type[Message], name: str, change: Callable[[Any], object]) -> Change:
    """Return the forgery that changes one field of one kind."""

    def forge(message: Message) -> Message:
        if not isinstance(message, kind):
            return message
        return message.model_copy(update={name: change(getattr(message, name))})

    return forge


def refused(algorithm: Algorithm[Any], error: type[PartydError], match: str, data: Any = None) -> None:
    """Run the conformance suite's example and insist on the error."""
    example = EXAMPLES[algorithm.name]()
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(asyncio.wait_for(simulate(algorithm, example.params, data or example.data), PATIENCE_S))
    assert caught.group_contains(error, match=match)


def with_bound(change: int) -> Callable[[Any], Ciphertexts]:
    """Declare a bound of ``change`` bits more than is true."""
    return lambda c: Ciphertexts.from_bytes(
        Ciphertexts(c.fingerprint, c.exponent, c.bound_bits + change, len(c), c.to_bytes()[19:]).to_bytes()
    )


@pytest.mark.parametrize(("kind", "name"), [(Forward, "z"), (Residual, "d"), (HostLoss, "loss")])
@pytest.mark.parametrize("change", [-40, 1])
def test_bounds_that_the_receivers_masks_follow_are_not_the_senders_choice(
    forged: Callable[[Change], None], kind: type[Message], name: str, change: int
) -> None:
    forged(field(kind, name, with_bound(change)))
    refused(coordinated_lr, CryptoError, "bound in bits")


@pytest.mark.parametrize(("kind", "name"), [(Means, "m"), (HostScores, "z"), (Residual, "d")])
@pytest.mark.parametrize("change", [-40, 1])
def test_nor_are_those_of_a_mean_its_factors_and_scores(
    forged: Callable[[Change], None], kind: type[Message], name: str, change: int
) -> None:
    forged(field(kind, name, with_bound(change)))
    refused(coordinated_poisson, CryptoError, "bound in bits")


@pytest.mark.parametrize("batches", [0, -1, 1 << 40])
def test_the_arbiter_does_not_wait_for_batches_that_cannot_be(forged: Callable[[Change], None], batches: int) -> None:
    forged(field(Rounds, "batches", lambda _: batches))
    refused(coordinated_lr, BadValue, "batches an epoch")


def test_a_proof_of_the_arbiters_key_does_not_serve_another_attempt(
    forged: Callable[[Change], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Party, "context", property(lambda self: bytes([self.me.role.value]) * 32))
    refused(coordinated_lr, CryptoError, "does not hold")


@pytest.mark.parametrize("rounds", [1, 1 << 50])
def test_psi_has_no_more_rounds_than_the_largest_set_takes(forged: Callable[[Change], None], rounds: int) -> None:
    forged(field(Plan, "rounds", lambda _: rounds))
    refused(psi, BadValue, "plans")


@pytest.mark.parametrize("count", [-1, 1 << 40])
def test_a_host_has_a_sensible_number_of_ids(forged: Callable[[Change], None], count: int) -> None:
    forged(field(HostSize, "count", lambda _: count))
    refused(psi, BadValue, "says that it has")


FOUR = ["a", "b", "c", "d"]


def repeat_the_first(kind: type[Message], name: str) -> Change:
    """Return the forgery that sends what was sent first again and again."""
    first: list[bytes] = []

    def repeated(data: bytes) -> bytes:
        first.append(data)
        return first[0][: len(data)]

    return field(kind, name, repeated)


@pytest.mark.parametrize("kind", [HostPoints, GuestPoints])
def test_one_point_in_two_chunks_is_noticed(forged: Callable[[Change], None], kind: type[Message]) -> None:
    forged(repeat_the_first(kind, "points"))
    refused(psi, BadValue, "two chunks", compared({G: FOUR, H1: FOUR}))


def test_one_tag_that_returns_twice_is_noticed(forged: Callable[[Change], None]) -> None:
    forged(field(Reblinded, "tags", lambda tags: tags[:16] * (len(tags) // 16)))
    refused(psi, BadValue, "two chunks", compared({G: FOUR, H1: FOUR}))


@pytest.mark.parametrize("kind", [HostPoints, GuestPoints])
@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (bytes(32), "canonical, or of small order"),
        ((1).to_bytes(32, "little"), "canonical, or of small order"),
        ((2**255 - 20).to_bytes(32, "little"), "canonical, or of small order"),
        ((2**255 - 19).to_bytes(32, "little"), "canonical"),
        (b"\xff" * 32, "canonical"),
        ((2).to_bytes(32, "little"), "not on the curve"),
        (ORDER_EIGHT, "small order"),
    ],
)
def test_points_that_are_none_of_the_curves_get_no_answer(
    forged: Callable[[Change], None], kind: type[Message], bad: bytes, match: str
) -> None:
    forged(field(kind, "points", lambda points: bad + points[32:]))
    refused(psi, CryptoError, match)


@pytest.mark.parametrize(("kind", "name"), [(HostPoints, "points"), (GuestPoints, "points"), (Reblinded, "tags")])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + bytes(32), lambda _: b""])
def test_as_many_points_as_were_announced(
    forged: Callable[[Change], None], kind: type[Message], name: str, change: Callable[[Any], object]
) -> None:
    forged(field(kind, name, change))
    refused(psi, BadValue, "refuse its")


@pytest.mark.parametrize(
    ("kind", "name", "value", "options", "match"),
    [
        (CommonRows, "bits", b"", {}, "not the marks of"),
        (CommonRows, "bits", b"\x01", {}, "beyond the last"),
        (CommonMarks, "bits", b"\xff\xff", {}, "not the marks of"),
        (CommonMarks, "bits", b"\xf8", {}, "asks after 5 ids"),
        (OwnMarks, "bits", b"\xf8", {}, "named 5 of the 2 common ids"),
        (Cardinality, "count", 4, {"cardinality_only": True, "sync_cardinality": True}, "more than a party has"),
        (Cardinality, "count", -1, {"cardinality_only": True, "sync_cardinality": True}, "more than a party has"),
        (Placed, "positions", np.array([0, 0, 1, -1, -1]), {"join_method": "left_join"}, "placed rows"),
        (Placed, "positions", np.array([0, 9, 1, -1, -1]), {"join_method": "left_join"}, "placed rows"),
        (Placed, "positions", np.array([0, 1]), {"join_method": "left_join"}, "placed rows"),
    ],
)
def test_results_of_an_intersection_that_cannot_be(
    forged: Callable[[Change], None],
    kind: type[Message],
    name: str,
    value: object,
    options: dict[str, object],
    match: str,
) -> None:
    forged(field(kind, name, lambda _: value))
    example = EXAMPLES["psi"]()
    params = example.params.model_copy(update=options)
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(asyncio.wait_for(simulate(psi, params, example.data), PATIENCE_S))
    assert caught.group_contains(BadValue, match=match)


@pytest.mark.parametrize(
    ("kind", "name", "change", "match"),
    [
        (SignerKey, "n", lambda n: n + 1, "odd number of 512 bits"),
        (SignerKey, "n", lambda n: n >> 8 | 1, "odd number of 512 bits"),
        (SignerKey, "n", lambda n: n - 2, "proof"),
        (SignerKey, "roots", lambda roots: roots[:-1], "proof"),
        (Blinded, "numbers", lambda data: bytes(len(data)), "not one that blinding makes"),
        (Blinded, "numbers", lambda data: b"\xff" * len(data), "not one that blinding makes"),
        (Blinded, "numbers", lambda data: data[:64] * (len(data) // 64), "stands twice"),
        (Signed, "numbers", lambda data: data[:-1], "are not"),
        (Signed, "numbers", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "not valid under"),
    ],
)
def test_hostile_signers_and_askers(
    forged: Callable[[Change], None], kind: type[Message], name: str, change: Callable[[Any], object], match: str
) -> None:
    forged(field(kind, name, change))
    refused(rsa_psi, CryptoError, match)


@pytest.mark.parametrize(("kind", "name"), [(HostTags, "tags"), (Blinded, "numbers")])
def test_as_many_numbers_as_were_announced(forged: Callable[[Change], None], kind: type[Message], name: str) -> None:
    forged(field(kind, name, lambda data: data[:-1]))
    refused(rsa_psi, BadValue, "refuse its message")


def test_a_signers_proof_does_not_serve_another_attempt(
    forged: Callable[[Change], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Party, "context", property(lambda self: bytes([self.me.role.value]) * 32))
    refused(rsa_psi, CryptoError, "proof")


@pytest.mark.parametrize("kind", [GuestShare, HostShare, HostSum])
@pytest.mark.parametrize("count", [0, 2, 7])
def test_shares_are_as_many_as_were_agreed(forged: Callable[[Change], None], kind: type[Message], count: int) -> None:
    name = {"GuestShare": "x2", "HostShare": "y1"}.get(kind.__name__, "total")
    forged(field(kind, name, lambda _: np.zeros(count, np.uint64)))
    refused(secure_sum, BadValue, "shape")


def test_a_part_of_a_split_is_a_list(forged: Callable[[Change], None]) -> None:
    forged(field(Split, "train", lambda rows: rows.reshape(1, -1)))
    refused(data_split, BadValue, "list of rows")


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        (BitChoice, "point", lambda point: point[:31]),
        (BitChoice, "columns", lambda columns: columns[:, :1]),
        (GarbledGates, "colours", lambda colours: colours + np.uint8(2)),
        (GarbledGates, "colours", lambda colours: colours ^ np.uint8(1)),
        (GarbledGates, "key", lambda key: key[:15]),
        (OutputLabels, "labels", lambda labels: labels ^ np.uint64(2)),
    ],
)
def test_what_is_no_step_of_a_comparison_is_refused(
    forged: Callable[[Change], None], kind: type[Message], name: str, change: Callable[[Any], object]
) -> None:
    forged(field(kind, name, change))
    refused(millionaires, CryptoError, "refuse")


@pytest.mark.parametrize(("ours", "theirs"), [(2, 4), (4, 2), (3, 2)])
def test_unequal_counts_are_noticed_before_anything_is_compared(ours: int, theirs: int) -> None:
    data = {G: np.arange(ours, dtype=np.uint64), H1: np.arange(theirs, dtype=np.uint64)}
    refused(millionaires, DataError, "bring equally many", data)


def test_a_score_for_every_row_or_none(forged: Callable[[Change], None]) -> None:
    forged(field(HostScore, "z", lambda z: z[:1]))
    refused(linear_score, BadValue, "another number of rows")


@pytest.mark.parametrize("counts", [[1, 1], [0, 1, 1], [-1, 1, 1], [1, 1, 1 << 40], [[1, 1, 1]]])
def test_a_guest_repeats_each_common_row_some_times(forged: Callable[[Change], None], counts: list[int]) -> None:
    forged(field(Repeats, "counts", lambda _: np.array(counts, dtype=np.int64)))
    refused(row_repeats, BadValue, "repeats rows")


@pytest.mark.parametrize("count", [0, 2, -3, 1 << 30])
def test_a_guest_trains_a_sensible_number_of_models(forged: Callable[[Change], None], count: int) -> None:
    forged(field(ClassCount, "count", lambda _: count))
    refused(class_count, BadValue, "models")


@pytest.mark.parametrize("positions", [[1, 0], [12], [-1], [[0]]])
def test_a_guest_draws_rows_that_are_there(forged: Callable[[Change], None], positions: list[int]) -> None:
    forged(field(Drawn, "positions", lambda _: np.array(positions, dtype=np.int64)))
    refused(sample, BadValue, "drew a row")


def test_a_guest_draws_from_as_many_rows_as_its_hosts_have(forged: Callable[[Change], None]) -> None:
    forged(field(Drawn, "rows", lambda rows: rows + 1))
    refused(sample, DataError, "align them")
