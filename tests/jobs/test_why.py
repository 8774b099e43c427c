from __future__ import annotations

import ast
from pathlib import Path

import pytest

from partyd import errors
from partyd.jobs.record import JobStatus, Reason, Waiting
from partyd.jobs.why import MENDS, why_of
from tests.jobs.worlds import MACHINE, G, H, record, spec

JOBS = Path(errors.__file__).parent / "jobs"


def test_a_waiting_job_says_whom_it_waits_for_and_what_to_do() -> None:
    waiting = Waiting(party=H, code="cores", cause="4 of 8 cores asked, 2 free")
    why = why_of(record(G, spec(G, H)).change(waiting=waiting))
    assert (why.status, why.party, why.code, why.cause) == ("waiting", str(H), "cores", waiting.cause)
    assert "jobs.cores at 9999/host" in why.mend


def test_a_failed_job_names_party_task_code_and_the_command_that_goes_on() -> None:
    reason = Reason(party=H, task="toy_0", code="data", cause="no table")
    why = why_of(record(G, spec(G, H)).change(status=JobStatus.FAILED, reason=reason))
    assert (why.party, why.task, why.code, why.cause) == (str(H), "toy_0", "data", "no table")
    assert "flow job rerun j" in why.mend


def test_a_silent_party_goes_before_other_reasons_while_the_job_is_open() -> None:
    running = MACHINE.begin(record(G, spec(G, H)), 2.0).record
    assert why_of(running, [H]).code == "peer_silent"
    assert why_of(running).cause == "task toy_0 runs"
    assert why_of(running.change(status=JobStatus.SUCCESS), [H]).code == "success"


def test_an_unknown_code_of_a_peer_has_a_way_on_too() -> None:
    reason = Reason(party=H, task="toy_0", code="{nonsense}", cause="y")
    assert "9999/host" in why_of(record(G, spec(G, H)).change(status=JobStatus.FAILED, reason=reason)).mend


def test_every_code_that_we_give_has_a_sentence_on_what_to_do() -> None:
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    for module in ("ending", "running", "agreement", "asking", "intake", "inherit", "supervisor", "conductor"):
        for node in ast.walk(ast.parse((JOBS / f"{module}.py").read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                codes.add(node.value.value)
    protocol = {"local_protocol", "protocol", "bad_frame", "bad_value", "crypto", "config", "job", ""}
    assert {code for code in codes if isinstance(code, str)} - protocol - MENDS.keys() == set()


@pytest.mark.parametrize("code", sorted(MENDS))
def test_every_sentence_can_be_said(code: str) -> None:
    assert MENDS[code].format(party=H)
