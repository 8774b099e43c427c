"""``partyd audit``: the log checked, read and compared, with and without a running daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from partyd import trust
from partyd.governance import audit
from partyd.governance.audit import AuditReceipt
from partyd.layout import Layout
from partyd.store import Store
from partyd.types import Address
from tests.cli.owner import Answer, Partyd
from tests.store.samples import open_store

GUEST, HOST = Address.parse("9999/guest"), Address.parse("10000/host")


class Pair(NamedTuple):
    """Two parties that know each other, and what runs ``partyd audit`` for each."""

    guest: Callable[..., Answer]
    host: Callable[..., Answer]
    layouts: dict[Address, Layout]


@pytest.fixture
def pair(partyd: Partyd, tmp_path: Path) -> Pair:
    layouts = {who: Layout(tmp_path / who.role.label) for who in (GUEST, HOST)}
    for who, layout in layouts.items():
        about = ("--role", who.role.label, "--party-id", who.party_id, "--state-dir", layout.state_dir)
        assert partyd("init", *about).status == 0
    for who, other in ((GUEST, HOST), (HOST, GUEST)):
        own = trust.read_own(layouts[other], other)
        trust.pin(layouts[who], own.card, own.identity.fingerprint, trust.now_s())

    def runner(who: Address) -> Callable[..., Answer]:
        layout = layouts[who]
        config = layout.conf_dir / "partyd.toml"
        return lambda *arguments: partyd("--config", config, "--state-dir", layout.state_dir, "audit", *arguments)

    return Pair(runner(GUEST), runner(HOST), layouts)


def store_of(pair: Pair, who: Address) -> Store:
    directory = pair.layouts[who].store_dir(who.role)
    directory.mkdir(parents=True, exist_ok=True)
    return open_store(directory)


def work(pair: Pair) -> None:
    """Let both work together: the host's log has three events and a countersignature under the third."""
    keys = {who: trust.read_identity(pair.layouts[who], who) for who in (GUEST, HOST)}
    here, there = store_of(pair, HOST), store_of(pair, GUEST)
    for number in range(3):
        here.write_now(lambda t, number=number: t.append_event("job_accepted", "j1", b'{"n": %d}' % number))
    head = here.write_now(lambda t: audit.head(t, HOST, keys[HOST].sign))
    receipt = there.write_now(lambda t: audit.take_head(t, "j1", HOST, head, lambda *_: True, keys[GUEST].sign))
    assert isinstance(receipt, AuditReceipt)
    here.write_now(lambda t: audit.keep_receipt(t, "j1", HOST, GUEST, receipt, lambda *_: True))
    here.close_now()
    there.close_now()


def tamper(pair: Pair, *statements: str) -> None:
    connection = apsw.Connection(str(pair.layouts[HOST].store_dir(HOST.role) / "partyd.db"))
    for (name,) in list(connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")):
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_sound_log_says_who_countersigned_it(pair: Pair) -> None:
    work(pair)
    answer = pair.host("verify")
    assert answer.status == 0, answer.out
    assert answer.out.startswith("10000/host: 4 events, head ")
    assert "countersigned by 9999/guest up to event 3" in answer.out
    assert "the log is whole" in answer.out
    theirs = pair.guest("verify")
    assert theirs.status == 0, theirs.out
    assert "no peer has countersigned it yet" in theirs.out


def test_it_works_while_a_daemon_has_the_store_open(pair: Pair) -> None:
    work(pair)
    store = store_of(pair, HOST)
    store.write_now(lambda t: t.append_event("job_ended", "j1", b"{}"))
    answer = pair.host("verify")
    store.close_now()
    assert "10000/host: 5 events" in answer.out
    assert answer.status == 0


def test_a_changed_log_is_named_with_its_place_and_a_status(pair: Pair) -> None:
    work(pair)
    tamper(pair, "UPDATE events SET detail = x'00' WHERE seq = 2")
    answer = pair.host("verify")
    assert answer.status == 1
    assert "BROKEN: event 2 of the audit log is damaged" in answer.out
    assert "NOT what it was" in answer.out


def test_a_receipt_under_a_foreign_key_shows(pair: Pair) -> None:
    work(pair)
    store = store_of(pair, HOST)
    row = store.read_now(lambda r: r.documents(audit.RECEIPTS))[0]
    forged = json.loads(row.document) | {"signature": "ab" * 64}
    store.write_now(lambda t: t.put_document(audit.RECEIPTS, row.key, json.dumps(forged).encode()))
    store.close_now()
    answer = pair.host("verify")
    assert answer.status == 1
    assert "the receipt of 9999/guest for event 3 is not signed by 9999/guest" in answer.out


def test_heads_that_a_peer_kept_show_a_cut_that_took_the_receipts_along(pair: Pair, tmp_path: Path) -> None:
    work(pair)
    handed = pair.guest("heads", "10000/host")
    assert [one["seq"] for one in json.loads(handed.out)] == [3]
    file = tmp_path / "heads.json"
    file.write_text(handed.out)
    assert pair.host("verify", "--heads", file).status == 0
    directory = pair.layouts[HOST].store_dir(HOST.role)
    for name in ("partyd.db", "partyd.db-wal", "partyd.db-shm", "commits", "clean"):
        (directory / name).unlink(missing_ok=True)
    store = store_of(pair, HOST)
    for number in (1, 2, 3, 4):
        store.write_now(lambda t, number=number: t.append_event("job_accepted", "j1", b"other %d" % number))
    store.close_now()
    assert pair.host("verify").status == 0
    answer = pair.host("verify", "--heads", file)
    assert answer.status == 1
    assert "the head 3 that was handed in has another event 3: the log was rewritten there or before" in answer.out


@pytest.mark.parametrize(("content", "said"), [("[]x", "holds no heads"), (None, "cannot be read")])
def test_a_file_without_heads_is_told(pair: Pair, tmp_path: Path, content: str | None, said: str) -> None:
    work(pair)
    if content is not None:
        (tmp_path / "heads.json").write_text(content)
    answer = pair.host("verify", "--heads", tmp_path / "heads.json")
    assert answer.status == 78
    assert said in answer.err


def test_receipts_of_a_revoked_peer_still_count_and_of_a_forgotten_one_are_noted(pair: Pair) -> None:
    work(pair)
    trust.revoke(pair.layouts[HOST], GUEST)
    assert "countersigned by 9999/guest up to event 3" in pair.host("verify").out
    pair.layouts[HOST].revoked_file(GUEST).unlink()
    answer = pair.host("verify")
    assert answer.status == 0
    assert "note: the receipt of 9999/guest for event 3 cannot be checked" in answer.out


def test_show(pair: Pair) -> None:
    work(pair)
    store = store_of(pair, HOST)
    store.write_now(lambda t: t.append_event("note", "j2", b"\x1b[2J not json"))
    store.close_now()
    lines = pair.host("show").out.splitlines()
    assert len(lines) == 5
    assert '{"n": 0}' in lines[0]
    assert "\x1b" not in lines[4]
    assert len(pair.host("show", "--job", "j2").out.splitlines()) == 1
    assert len(pair.host("show", "--last", "2").out.splitlines()) == 2
    assert [json.loads(line)["seq"] for line in pair.host("show", "--after", "3", "--json").out.splitlines()] == [4, 5]
    newest = json.loads(pair.host("show", "--job", "j1", "--last", "1", "--json").out)
    assert (newest["kind"], newest["detail"]["peer"]) == ("head_countersigned", "9999/guest")
    assert json.loads(pair.host("show", "--last", "1", "--json").out)["detail"] == "\ufffd[2J not json"


def test_without_a_store_it_says_so(pair: Pair) -> None:
    answer = pair.host("verify")
    assert answer.status == 78
    assert "the daemon makes it at its first start" in answer.err
    assert pair.host("heads", "nonsense").status == 78


def test_every_help_has_an_example(pair: Pair) -> None:
    for command in ("show", "verify", "heads"):
        assert "Example" in pair.host(command, "--help").out
