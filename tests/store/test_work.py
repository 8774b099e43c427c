"""Attempts are fenced and pinned, the newest checkpoint is kept, secrets can be erased."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import apsw
import pytest

from partyd.errors import StoreError
from partyd.store import BlobRef, Transaction
from tests.store.samples import JOB, TASK, begin, finish_round, incoming, opened, outgoing, rounds_in, sha256


def test_an_attempt_is_found_again_with_its_first_seed(tmp_path: Path) -> None:
    with opened(tmp_path, clock=lambda: 2.0) as store:
        first = store.write_now(lambda t: t.begin_attempt(JOB, TASK, 1, b"seed", b"pin"))
        again = store.write_now(lambda t: t.begin_attempt(JOB, TASK, 1, b"other seed", b"pin"))
        assert store.read_now(lambda r: r.attempt(JOB, TASK)) == first == again
        assert store.read_now(lambda r: r.attempt(JOB, "other")) is None
    assert (first.seed, first.pin, first.attempt, first.started_at) == (b"seed", b"pin", 1, 2.0)


def test_another_pin_needs_another_attempt(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
        with pytest.raises(StoreError, match="start attempt 2"):
            store.write_now(lambda t: t.begin_attempt(JOB, TASK, 1, b"seed", b"other pin"))


def test_lower_attempts_are_fenced_off(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
        store.write_now(lambda t: t.begin_attempt(JOB, TASK, 3, b"seed", b"pin"))
        with pytest.raises(StoreError, match="attempt 3 has begun"):
            store.write_now(lambda t: t.begin_attempt(JOB, TASK, 2, b"seed", b"pin"))
        with pytest.raises(StoreError, match="attempt 3 has begun"):
            store.write_now(lambda t: t.checkpoint(JOB, TASK, 1, 1, "iteration/1", b"state", []))
        assert store.read_now(lambda r: r.latest_checkpoint(JOB, TASK, 1)) is None


def test_a_checkpoint_needs_its_attempt_and_does_not_go_back(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        with pytest.raises(StoreError, match="has not begun"):
            store.write_now(lambda t: t.checkpoint(JOB, TASK, 1, 1, "s", b"state"))
        store.write_now(begin)
        store.write_now(lambda t: t.checkpoint(JOB, TASK, 1, 2, "iteration/2", b"two"))
        with pytest.raises(StoreError, match="after round 1"):
            store.write_now(lambda t: t.checkpoint(JOB, TASK, 1, 1, "iteration/1", b"one"))
        saved = store.read_now(lambda r: r.latest_checkpoint(JOB, TASK, 1))
    assert saved is not None
    assert (saved.round, saved.scope, saved.state) == (2, "iteration/2", b"two")


def test_a_round_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(begin)
        with pytest.raises(StoreError, match="never arrived"):
            store.write_now(finish_round(1))
        assert store.read_now(rounds_in) == 0
        assert store.read_now(lambda r: r.counter(f"seq:{outgoing(1).destination}")) == 0


def test_a_checkpoint_consumes(tmp_path: Path) -> None:
    state = b"s" * 100_000
    with opened(tmp_path) as store:
        store.write_now(begin)
        store.write_now(lambda t: t.accept(incoming(1), sha256(b"a"), b"a"))
        store.write_now(lambda t: t.checkpoint(JOB, TASK, 1, 1, "iteration/1", state, [incoming(1)]))
        saved = store.read_now(lambda r: r.latest_checkpoint(JOB, TASK, 1))
        assert store.read_now(lambda r: r.take(incoming(1))) is None
    assert saved is not None
    assert saved.state == BlobRef(sha256(state).hex(), len(state))


def test_forgotten_secrets_are_gone_from_the_files(tmp_path: Path) -> None:
    seed, state = b"the attempt's seed 0123456789", b"the private key 0123456789"
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.begin_attempt(JOB, TASK, 1, seed, b"pin"))
        store.write_now(lambda t: t.checkpoint(JOB, TASK, 1, 1, "s", state))
        store.write_now(lambda t: t.forget_secrets(JOB))
        with pytest.raises(StoreError, match="erased"):
            store.write_now(lambda t: t.begin_attempt(JOB, TASK, 1, seed, b"pin"))
        assert store.read_now(lambda r: r.latest_checkpoint(JOB, TASK, 1)) is None
        files = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("partyd.db*")))
    assert seed not in files
    assert state not in files


def test_erasing_never_waits_for_a_reader_and_is_made_up_for(tmp_path: Path) -> None:
    seed = b"the attempt's seed 0123456789"
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.begin_attempt(JOB, TASK, 1, seed, b"pin"))
        slow = apsw.Connection(str(tmp_path / "partyd.db"), flags=apsw.SQLITE_OPEN_READONLY)
        slow.execute("BEGIN")
        assert slow.execute("SELECT count(*) FROM attempts").fetchall() == [(1,)]
        store.write_now(lambda t: t.forget_secrets(JOB))
        store.write_now(lambda t: t.save_job(JOB, "success", b""))
        assert seed in (tmp_path / "partyd.db-wal").read_bytes()
        slow.close()
        store.write_now(lambda t: t.save_job(JOB, "success", b""))
        assert store.write_now(lambda t: t.counter("commits")) > 0
        assert all(seed not in path.read_bytes() for path in tmp_path.glob("partyd.db*"))


def test_jobs_newest_first_by_status(tmp_path: Path) -> None:
    times = iter(float(number) for number in range(100))
    with opened(tmp_path, clock=lambda: next(times)) as store:
        for name in ("a", "b", "c"):
            store.write_now(partial(Transaction.save_job, job=name, status="running", document=b"1"))
        store.write_now(lambda t: t.save_job("a", "success", b"2"))
        every = store.read_now(lambda r: r.jobs())
        running = store.read_now(lambda r: r.jobs(["running"]))
        page = store.read_now(lambda r: r.jobs(limit=1, offset=1))
        done = store.read_now(lambda r: r.job("a"))
        assert store.read_now(lambda r: (r.jobs([]), r.job("x"))) == ([], None)
    assert [job.job for job in every] == ["c", "b", "a"]
    assert [job.job for job in running] == ["c", "b"]
    assert [job.job for job in page] == ["b"]
    assert done is not None
    assert (done.status, done.document) == ("success", b"2")
    assert done.created_at < done.updated_at


def test_tasks_belong_to_saved_jobs(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        with pytest.raises(StoreError, match="not saved"):
            store.write_now(lambda t: t.save_task(JOB, "psi", "waiting", b""))
        store.write_now(begin)
        for name in ("reader", "psi"):
            store.write_now(partial(Transaction.save_task, job=JOB, task=name, status="waiting", document=b"1"))
        store.write_now(lambda t: t.save_task(JOB, "reader", "success", b"2"))
        tasks = store.read_now(lambda r: r.tasks(JOB))
        one = store.read_now(lambda r: r.task(JOB, "reader"))
        assert store.read_now(lambda r: r.task(JOB, "none")) is None
    assert [(task.task, task.status, task.document) for task in tasks] == [
        ("reader", "success", b"2"),
        ("psi", "waiting", b"1"),
    ]
    assert one == tasks[0]
