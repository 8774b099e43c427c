"""A party that dies at any send or receive and starts again changes nothing, in any registered algorithm."""

from __future__ import annotations

from partyd.federation.simulate import Faults
from tests.conformance.running import each, outcome, run, shape, steps, undisturbed


@each
def test_a_death_at_any_send_or_receive_changes_nothing(name: str) -> None:
    tried = 0
    for crash in steps(name):
        done = run(name, Faults(duplicate=0.3, reorder=True, crash=crash, seed=crash[1]))
        assert outcome(done) == outcome(undisturbed(name)), f"after a crash at {crash}"
        assert shape(done) == shape(undisturbed(name))
        tried += 1
    assert tried > 0
