"""Grants and the memory of a policy, on a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partyd.components import NAMES
from partyd.dag.dag import JobSpec
from partyd.errors import DataError
from partyd.governance import grants
from partyd.governance.grants import GRANTS, USES, Grant, read_grant
from partyd.governance.policy import DatasetName
from partyd.jobs.history import StoredHistory
from partyd.jobs.record import MODEL_JOBS, JobRecord, ModelJob
from partyd.types import Address
from tests.store.samples import opened

GUEST, HOST = Address.parse("9999/guest"), Address.parse("10000/host")
A = DatasetName("ns", "a/b")
DAY = 86_400.0
TOY = {
    "dag": {
        "parties": [{"role": "guest", "party_id": ["9999"]}, {"role": "host", "party_id": ["10000"]}],
        "tasks": {"toy_0": {"component_ref": "toy_example"}},
    }
}


def test_grants_add_up_and_are_taken_away(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        first = read_grant("9999", ["psi"], [{"namespace": "ns", "name": "a/b"}], NAMES)
        assert store.write_now(lambda t: grants.grant(t, first)) == first
        more = read_grant("9999", ["union"], ["ns/c", "*"], NAMES)
        both = store.write_now(lambda t: grants.grant(t, more))
        assert both.components == {"psi", "union"}
        assert both.datasets == {A, DatasetName("ns", "c"), "*"}
        store.write_now(lambda t: grants.grant(t, read_grant("4711", ["*"], [], NAMES)))
        assert [one.party_id for one in store.read_now(grants.list_grants)] == ["4711", "9999"]
        assert store.read_now(lambda r: grants.granted_to(r, "9999")) == both
        assert store.read_now(lambda r: grants.granted_to(r, "1")) == Grant(party_id="1")
        left = store.write_now(lambda t: grants.revoke(t, read_grant("9999", ["psi"], [A], NAMES)))
        assert (left.components, left.datasets) == ({"union"}, {DatasetName("ns", "c"), "*"})
        nothing = store.write_now(lambda t: grants.revoke(t, read_grant("9999", ["*"], ["*"], NAMES)))
        assert nothing == Grant(party_id="9999")
        assert [row.key for row in store.read_now(lambda r: r.documents(GRANTS))] == ["4711"]
        events = store.read_now(lambda r: r.events())
    assert [event.kind for event in events] == ["permission_granted"] * 3 + ["permission_revoked"] * 2
    assert json.loads(events[0].detail) == {"party_id": "9999", "components": ["psi"], "datasets": [["ns", "a/b"]]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("9999", ["pzi"], []), "there is no component 'pzi'"),
        (("a b", [], []), "party_id"),
        (("9999\n", [], []), "party_id"),
        (("9999", [], ["x"]), "datasets"),
        (("9999", [], [{"namespace": "n"}]), "datasets"),
        (("9999", [], [{"namespace": "n", "name": "x" * 300}]), "1 to 256 characters"),
        (("9999", [], [3]), "datasets"),
    ],
)
def test_wrong_grants_are_named(arguments: tuple[str, list[str], list[object]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_grant(*arguments, NAMES)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"datasets": [1]}', b'{"party_id": "9999", "components": 3, "datasets": []}']
)
def test_a_grant_that_cannot_be_read_says_what_to_do(tmp_path: Path, raw: bytes) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.put_document(GRANTS, "9999", raw))
        with pytest.raises(DataError, match="grant it again"):
            store.read_now(grants.list_grants)


def test_uses_are_counted_by_peer_data_set_and_time_and_survive_a_restart(tmp_path: Path) -> None:
    now = 1_000_000.0
    with opened(tmp_path) as store:
        for job, at in (("j1", now - DAY - 1), ("j2", now - DAY), ("j3", now), ("j3", now + 1), ("j3#1", now + 2)):
            store.write_now(lambda t, job=job, at=at: grants.note_use(t, job, GUEST, [A], at))
        store.write_now(lambda t: grants.note_use(t, "j4", GUEST, [], now))
        store.write_now(lambda t: grants.note_use(t, "j5", Address.parse("4711/guest"), [A], now))
    with opened(tmp_path) as store:

        def count(peer: Address, dataset: str) -> int:
            return store.read_now(lambda r: StoredHistory(r, HOST).jobs_of(peer, dataset, now - DAY))

        assert count(GUEST, str(A)) == 3
        assert count(GUEST, "") == 4
        assert count(GUEST, "ns/other") == 0
        assert count(Address.parse("4711/guest"), str(A)) == 1
        store.write_now(lambda t: grants.note_use(t, "late", GUEST, [A], now + 3 * DAY))
        mine = [row.key for row in store.read_now(lambda r: r.documents(USES, f"{GUEST}|"))]
    assert sum(key.endswith("|late") for key in mine) == 2
    assert not any("|j1" in key or "|j2" in key for key in mine)


def test_earlier_jobs_and_models_are_found(tmp_path: Path) -> None:
    spec = JobSpec.model_validate(TOY)
    record = JobRecord(job="j1", me=HOST, initiator=GUEST, spec=spec, tasks={}, created_at=1.0)
    model = ModelJob(
        model_id="m", model_version="0", role="host", party_id="10000", job_id="j1", created_at=1.0, spec=TOY
    )
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.save_job("j1", "success", record.model_dump_json().encode()))
        store.write_now(lambda t: t.save_job("j2", "success", b"not a record"))
        store.write_now(lambda t: t.put_document(MODEL_JOBS, "m/0/host/10000", model.model_dump_json().encode()))
        store.write_now(lambda t: t.put_document(MODEL_JOBS, "m/1/host/10000", b"{}"))

        def asked(work: str, *what: str) -> JobSpec | None:
            found: JobSpec | None = store.read_now(lambda r: getattr(StoredHistory(r, HOST), work)(*what))
            return found

        assert asked("spec_of", "j1") == spec
        assert asked("spec_of", "j2") is None
        assert asked("spec_of", "j3") is None
        assert asked("model_spec", "m", "0") == spec
        assert asked("model_spec", "m", "1") is None
        assert asked("model_spec", "other", "0") is None
        assert asked("model_spec", "", "") is None
