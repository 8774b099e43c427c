"""The password file, which mosquitto and the embedded broker share."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from broker.errors import SettingsError
from broker.passwords import PasswordHash, hash_password, new_password, read_password_file, write_password_file


@pytest.mark.parametrize("iterations", [1, 101, 5000])
def test_the_right_password_is_accepted_and_no_other(iterations: int) -> None:
    kept = PasswordHash.parse(str(hash_password("open sesame", iterations)))
    assert asyncio.run(kept.accepts("open sesame"))
    assert not asyncio.run(kept.accepts("open sesam"))
    assert not asyncio.run(kept.accepts(""))


def test_each_hash_has_its_own_salt_and_each_password_is_new() -> None:
    assert hash_password("same") != hash_password("same")
    assert len({new_password() for _ in range(20)}) == 20
    assert len(new_password()) >= 43


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    users = {"10000": hash_password("a"), "x_-Z": hash_password("b")}
    write_password_file(tmp_path / "passwords", users)
    assert read_password_file(tmp_path / "passwords") == users
    assert (tmp_path / "passwords").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("a/b:$7$101$AAAA$AAAA", "party id"),
        ("10000:plain", "hash of 10000"),
        ("10000:$6$AAAA$AAAA", "hash of 10000"),
        ("10000:$7$0$AAAA$AAAA", "7"),
        ("10000:$7$101$AAAA$AAAA", "64 bytes"),
        ("10000:$7$101$!!$AAAA", "hash of 10000"),
        ("10000:$7$x$AAAA$AAAA", "hash of 10000"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, word: str) -> None:
    path = tmp_path / "passwords"
    path.write_text(f"# users\n\n{line}\n")
    with pytest.raises(SettingsError, match=word) as caught:
        read_password_file(path)
    assert f"{path}:3" in str(caught.value)


def test_a_missing_file_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="init --passwords"):
        read_password_file(tmp_path / "passwords")


@pytest.mark.needs("mosquitto_passwd")
def test_lines_of_mosquittos_own_tool_are_read(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "10000", "secret"], check=True, capture_output=True)
    assert asyncio.run(read_password_file(path)["10000"].accepts("secret"))
