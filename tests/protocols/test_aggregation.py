"""The exchange around the core: silence at any moment, returns, deaths of the arbiter, and peers that lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from partyd.errors import BadValue, DataError, TaskFailed
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import Faults, Run
from partyd.protocols.aggregation import (
    MEMBERS,
    Enrolment,
    MaskedVector,
    MemberKey,
    Opened,
    Participants,
    Survivors,
    Witness,
)
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.protocols.silence import Silence, Stuck, run_with_silence
from tests.protocols.sums import ODD_LENGTH, ODD_SUBJECT, ROUNDS, OddRules, SumParams, Total, digest, of_round, sums

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)
PATIENCE_S = 10.0


DATA: dict[Address, Any] = {G: 1, H1: 10, H2: 100, A: None}


def run(silences: dict[Address, Silence] | None = None, **more: Any) -> tuple[Run, dict[Address, int]]:
    given = {"patience_s": PATIENCE_S} | {k: more.pop(k) for k in ("patience_s", "threshold") if k in more}
    params = SumParams.model_validate(given)
    return run_with_silence(sums, params, more.pop("data", DATA), silences, **more)


def insist_on_true_sums(done: Run) -> list[set[str]]:
    """Check every round's sum at every party that ended, and return who was in which."""
    numbers = {str(party): value for party, value in DATA.items()}
    announced = [m for m in done.transcript.messages(Total, to=G) if isinstance(m, Total)]
    for round_, message in enumerate(announced):
        want = sum(of_round(numbers[name], round_) for name in message.names)
        np.testing.assert_array_equal(message.total, want)
        for party, state in done.states.items():
            if party != A:
                assert state.totals[round_] == digest(message.total)
    assert len(announced) == ROUNDS
    return [set(message.names) for message in announced]


def test_with_everybody_there_every_sum_is_of_all() -> None:
    told: set[type[Message]] = {Survivors, Witness}
    always: set[type[Message]] = {MemberKey, Participants, Total}
    for patience_s, more in ((None, told - told), (PATIENCE_S, told)):
        done, _ = run(patience_s=patience_s)
        assert insist_on_true_sums(done) == [{str(G), str(H1), str(H2)}] * ROUNDS
        transcript = done.transcript
        assert transcript.kinds(to=A) == {Enrolment, MaskedVector, Opened}
        assert transcript.kinds(to=H1) - more == always
        assert transcript.kinds(to=H1) >= more
        assert transcript.kinds(to=H1, by=H2) - {MemberKey} == more - {Survivors}


def moments() -> list[int]:
    """Every send and receive of a host."""
    return list(range(run()[1][H2]))


MET = 4
"""Sends and receives of a host while the parties meet: two keys out, two in, the offer last."""


@pytest.mark.parametrize("after", moments())
def test_a_party_that_falls_silent_for_ever_costs_its_own_vectors_alone(after: int) -> None:
    if after <= MET:
        with pytest.raises(Stuck):
            run({H2: Silence(after)})
        return
    done, _ = run({H2: Silence(after)})
    rounds = insist_on_true_sums(done)
    assert all({str(G), str(H1)} <= names for names in rounds)
    assert [str(H2) in names for names in rounds] == sorted((str(H2) in names for names in rounds), reverse=True)
    assert after > MET + 2 or str(H2) not in rounds[0]


@pytest.mark.parametrize(
    ("after", "lasts_s"),
    [(after, 15.0) for after in moments()] + [(after, lasts) for after in moments()[::4] for lasts in (1.0, 1000.0)],
)
def test_a_party_that_comes_back_has_every_sum_in_the_end(after: int, lasts_s: float) -> None:
    done, _ = run({H2: Silence(after, lasts_s)})
    rounds = insist_on_true_sums(done)
    assert len(done.states) == len(DATA)
    if lasts_s < PATIENCE_S or after <= MET:
        assert all(str(H2) in names for names in rounds)


def test_who_comes_back_in_time_takes_part_again() -> None:
    done, _ = run({H2: Silence(MET + 2, 15.0)})
    taken = [str(H2) in names for names in insist_on_true_sums(done)]
    assert taken == [False, True, True]
    assert f"{H2} was silent; it is not in the sum" in done.reports[A].lines
    assert f"{H2} was silent; it is not in the sum" in done.reports[G].lines


@pytest.mark.parametrize("crash", range(0, 42, 2))
def test_a_death_of_the_arbiter_changes_no_decision(crash: int) -> None:
    """It decides, dies and starts again while a host is silent: nobody ever hears two stories."""
    silent = {H2: Silence(MET + 2, 15.0)}
    done, _ = run(silent, faults=Faults(duplicate=0.3, reorder=True, crash=(A, crash), seed=crash))
    insist_on_true_sums(done)
    for round_ in range(ROUNDS):
        scope = f"stage/iteration/{2 * round_ + 1}"
        told = {s.body for s in done.transcript.select(by=A) if s.id.scope == scope and s.id.kind == "Survivors"}
        assert len(told) == 1


@pytest.mark.parametrize("crash", range(1, 30, 4))
@pytest.mark.parametrize("who", [G, H1])
def test_a_death_of_a_member_changes_nothing(who: Address, crash: int) -> None:
    silent = {H2: Silence(MET + 2, 15.0)}
    done, _ = run(silent, faults=Faults(duplicate=0.3, reorder=True, crash=(who, crash), seed=crash))
    assert [str(H2) in names for names in insist_on_true_sums(done)] == [False, True, True]


def test_below_the_threshold_the_arbiter_waits_and_goes_on_when_there_are_enough() -> None:
    both = {H1: Silence(MET + 2), H2: Silence(MET + 2)}
    with pytest.raises(Stuck):
        run(both)
    with pytest.raises(Stuck):
        run({H2: Silence(MET + 2)}, threshold=3)
    done, _ = run(both | {H1: Silence(MET + 2, 1000.0)})
    rounds = insist_on_true_sums(done)
    assert rounds[0] == {str(G), str(H1)}


def test_without_patience_everybody_is_waited_for() -> None:
    with pytest.raises(Stuck):
        run({H2: Silence(MET + 2)}, patience_s=None)
    done, _ = run({H2: Silence(MET + 2, 1e6)}, patience_s=None)
    assert insist_on_true_sums(done) == [{str(G), str(H1), str(H2)}] * ROUNDS


def test_two_parties_survive_no_drop_out() -> None:
    data = {p: v for p, v in DATA.items() if p != H2}
    done, _ = run(data=data)
    assert insist_on_true_sums(done) == [{str(G), str(H1)}] * ROUNDS
    with pytest.raises(Stuck):
        run({H1: Silence(8)}, data=data)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(DataError, match="9998/host has other feature columns"):
        run(data=DATA | {H2: ODD_SUBJECT})
    with pytest.raises(BadValue, match=r"vectors have \[2, 3\] words"):
        run(data=DATA | {H2: ODD_LENGTH})
    for odd in ({"patience_s": None}, {"threshold": 3}):
        with pytest.raises(DataError, match="9998/host has another threshold"):
            run(data=DATA | {H2: OddRules(100, SumParams.model_validate({"patience_s": PATIENCE_S} | odd))})
    with pytest.raises(TaskFailed, match="take 2 to 3"):
        run(threshold=1)
    with pytest.raises(TaskFailed, match="2 to 256 parties"):
        run(data={G: 1, A: None})


def test_where_nobody_may_drop_out_an_arbiter_that_leaves_one_out_opens_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_one(message: Participants) -> Participants:
        kept = {name: promise for name, promise in message.promises.items() if name != str(H2)}
        return Participants(promises=kept, sealed={n: s for n, s in message.sealed.items() if n != str(H2)})

    Liar(monkeypatch, A, Participants, without_one)
    with pytest.raises(BadValue, match="goes on without 9998/host, which this job does not allow"):
        run(patience_s=None, data=DATA)


class Liar:
    """Changes what one party says of one kind before it is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, who: Address, kind: type[Message], change: Any) -> None:
        send = Party.send

        async def lying(party: Party, message: Message, to: Address | None = None) -> None:
            if party.me == who and type(message) is kind:
                message = change(message)
            await send(party, message, to)

        monkeypatch.setattr(Party, "send", lying)


LIES: list[tuple[Address, type[Message], Any, str]] = [
    (H2, MaskedVector, lambda m: MaskedVector(y=np.zeros(3, dtype=np.uint64)), "has not the 2 words"),
    (H2, MaskedVector, lambda m: MaskedVector(y=np.zeros((1, 2), dtype=np.uint64)), "has not the 2 words"),
    (H2, Enrolment, lambda m: m.model_copy(update={"words": 0}), "not one number"),
    (
        H2,
        Enrolment,
        lambda m: m.model_copy(update={"offer": m.offer.model_copy(update={"sealed": {}})}),
        "did not seal one share",
    ),
    (
        H2,
        Opened,
        lambda m: m.model_copy(update={"offer": m.offer.model_copy(update={"sealed": {str(G): b""}})}),
        "did not seal one share",
    ),
    (
        G,
        Opened,
        lambda m: m.model_copy(update={"opening": m.opening.model_copy(update={"seeds": {}})}),
        "10000/guest gave no share",
    ),
    (H2, Witness, lambda m: Witness(told=b"otherwise"), "told other survivors or keys"),
    (A, Survivors, lambda m: Survivors(names=m.names[:1]), "do not go on with this arbiter"),
    (A, Survivors, lambda m: Survivors(names=["x/host", *m.names]), "do not go on with this arbiter"),
    (A, Participants, lambda m: m.model_copy(update={"sealed": {}}), "what each participant offered"),
    (
        A,
        Participants,
        lambda m: m.model_copy(update={"sealed": dict(zip(m.sealed, reversed(m.sealed.values()), strict=True))}),
        "changed on their way",
    ),
    (H2, MemberKey, lambda m: m.model_copy(update={"public": bytes(32)}), "low order"),
]


@pytest.mark.parametrize(("who", "kind", "change", "match"), LIES, ids=lambda v: getattr(v, "__name__", None))
def test_a_lie_ends_the_task_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, who: Address, kind: type[Message], change: Any, match: str
) -> None:
    Liar(monkeypatch, who, kind, change)
    with pytest.raises(BadValue, match=match):
        run()


def test_two_stories_about_the_survivors_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arbiter tells the guest that one host is gone and the hosts that the guest is."""
    send, opened = Party.send, list[Message]()

    async def lying(party: Party, message: Message, to: Address | None = None) -> None:
        if isinstance(message, Survivors):
            for peer in party.peers(MEMBERS):
                names = [str(G), str(H1)] if peer == G else [str(H1), str(H2)]
                await send(party, Survivors(names=names), peer)
            return
        opened.extend([message] if isinstance(message, Opened) and message.opening.seeds else [])
        await send(party, message, to)

    monkeypatch.setattr(Party, "send", lying)
    with pytest.raises(BadValue, match="told other survivors"):
        run()
    assert not opened
