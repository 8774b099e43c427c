"""What every registered algorithm must keep, whoever wrote it: a new one needs an entry in ``examples`` alone."""

from __future__ import annotations

import pytest

from partyd.federation.algorithm import Algorithm, Params
from partyd.federation.simulate import Faults
from partyd.types import GUEST, Role
from tests.conformance.examples import EXAMPLES
from tests.conformance.running import BY_NAME, NAMES, each, outcome, run, shape, undisturbed


def test_every_algorithm_has_an_example_and_a_name_of_its_own() -> None:
    assert sorted(EXAMPLES) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


@each
def test_default_parameters_round_trip(name: str) -> None:
    kind: type[Params] = BY_NAME[name].params
    assert kind.model_validate_json(kind().model_dump_json()) == kind()


@each
def test_messages_have_ends_and_disclosures(name: str) -> None:
    algorithm: Algorithm[Params] = BY_NAME[name]
    roles = Role(0)
    for role in algorithm.programs:
        roles |= role
    for kind in algorithm.messages:
        assert kind.sender & roles
        assert kind.receiver & roles
        told = Role(0)
        for disclosure in algorithm.disclosures:
            if disclosure.source is kind:
                told |= disclosure.role
        assert kind.receiver & roles & ~told == Role(0), f"{kind.__name__}: no disclosure for every receiver"


@each
def test_states_round_trip(name: str) -> None:
    for state in undisturbed(name).states.values():
        assert type(state).from_bytes(state.to_bytes()).to_bytes() == state.to_bytes()


@each
def test_only_declared_kinds_travel_and_in_the_declared_direction(name: str) -> None:
    declared = {kind.__name__: kind for kind in BY_NAME[name].messages}
    for sent in undisturbed(name).transcript.sent:
        kind = declared[sent.id.kind]
        assert sent.id.source.role & kind.sender
        assert sent.id.destination.role & kind.receiver
        assert kind.from_bytes(sent.body).to_bytes() == sent.body


@each
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_repeated_and_reordered_messages_change_nothing(name: str, seed: int) -> None:
    done = run(name, Faults(duplicate=0.5, reorder=True, seed=seed))
    assert outcome(done) == outcome(undisturbed(name))


@each
def test_the_same_seed_gives_the_same_conversation(name: str) -> None:
    again = run(name)
    assert shape(again) == shape(undisturbed(name))
    assert outcome(again) == outcome(undisturbed(name))


@each
def test_the_guest_reports_to_its_own_party_alone(name: str) -> None:
    reports = undisturbed(name).reports
    assert all(not report.metrics for address, report in reports.items() if address.role != GUEST)
