"""broker.toml: what is read, what is refused, and the commented example."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import SettingsError
from broker.settings import Settings, is_loopback, known_keys, load
from broker.toml import render

EXAMPLE = Path(__file__).resolve().parents[2] / "conf" / "broker.toml"


def test_the_example_has_every_key_with_its_default() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == render(Settings())
    assert load(EXAMPLE) == Settings()
    text = EXAMPLE.read_text(encoding="utf-8")
    assert [key for key in known_keys() if f"\n{key.split('.')[-1]} = " not in text] == []


def _load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "broker.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_left_out_keys_have_their_defaults(tmp_path: Path) -> None:
    assert _load(tmp_path, "[listen]\nport = 1\n").listen.port == 1
    assert _load(tmp_path, "") == Settings()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[listen]\nprot = 1", "did you mean 'listen.port'"),
        ("lisen = 1", "did you mean"),
        ("[listen]\nport = 70000", "listen.port"),
        ("identity = 'ldap'", "identity"),
        ("[listen]\ntls = false", "certificates are shown over TLS only"),
        ("identity = 'passwords'\n[listen]\ntls = false\nhost = '0.0.0.0'", "loopback"),
        ("[limits]\nmax_queued_messages = 0", "max_queued_messages"),
        ("= 1", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(tmp_path, text)
    assert word.lower() in str(caught.value).lower()
    assert caught.value.exit_code == 78


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="partyd-broker init"):
        load(tmp_path / "broker.toml")


def test_loopback_is_known_when_seen() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "broker.example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]
