"""Paths that cannot leave the state directory, and private files that are whole or not there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.layout import Layout, encoded, make_private_dir, write_private
from partyd.types import GUEST, HOST, Address

LAYOUT = Layout(Path("/s"))


def test_every_path_is_where_the_docstring_says() -> None:
    peer = Address("9999", HOST)
    assert LAYOUT.conf_dir == Path("/s/conf")
    assert LAYOUT.key_file(GUEST) == Path("/s/identity/guest.key")
    assert LAYOUT.card_file(GUEST) == Path("/s/identity/guest.card")
    assert LAYOUT.previous_card_file(GUEST) == Path("/s/identity/guest.previous.card")
    assert LAYOUT.peer_file(peer) == Path("/s/peers/9999-host.card")
    assert LAYOUT.previous_peer_file(peer) == Path("/s/peers/9999-host.previous.card")
    assert LAYOUT.revoked_file(peer) == Path("/s/peers/revoked/9999-host.card")
    assert LAYOUT.store_dir(GUEST) == Path("/s/store/guest")
    assert LAYOUT.tables_dir("ns", "a b") == Path("/s/tables/ns/a%20b")
    assert LAYOUT.task_dir("j", "t") == LAYOUT.job_dir("j") / "t" == Path("/s/jobs/j/t")
    assert (LAYOUT.pid_file, LAYOUT.token) == (Path("/s/partyd.pid"), Path("/s/token"))


@pytest.mark.parametrize(
    "name", ["..", ".", "../../etc", "/etc", "a/b", "a\0b", "~", "-rf", "\ud800", "ä" * 200, "x" * 999]
)
def test_no_name_leaves_its_directory(name: str) -> None:
    path = LAYOUT.tables_dir(name, name)
    assert path.parent.parent == Path("/s/tables")
    assert path.name not in (".", "..")
    assert len(path.name.encode()) <= 200
    assert path.name.isascii()


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_are_different_files(left: str, right: str) -> None:
    assert (encoded(left) == encoded(right)) == (left == right)


def test_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        encoded("")


def test_private_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "key"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["key"]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "d" / "key"
    target.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_private(target, b"x")
    assert [one.name for one in target.parent.iterdir()] == ["key"]


def test_an_open_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    make_private_dir(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"theirs")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "key").symlink_to(elsewhere)
    write_private(tmp_path / "d" / "key", b"ours")
    assert elsewhere.read_bytes() == b"theirs"
    assert not (tmp_path / "d" / "key").is_symlink()
