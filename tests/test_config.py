"""Settings: precedence, refusals that say where and what, and the example that names every key."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.config import MIB, Settings, instance_name, parse_instance
from partyd.config_example import render
from partyd.config_sources import expand_files, find_files, known_keys, load_settings, overrides_of, parse_toml
from partyd.errors import ConfigError
from partyd.types import ARBITER, GUEST, HOST, Address

NAMED = {"party_id": "10000", "roles": ("guest",), "state_dir": "/s"}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(
    environ: dict[str, str] | None = None, overrides: dict[str, object] | None = None, files: tuple[Path, ...] = ()
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(files, environ or {}, {**NAMED, **(overrides or {})})
    return str(caught.value)


def test_defaults_need_only_a_party_and_a_role() -> None:
    chosen = load_settings([], {"XDG_STATE_HOME": "/x"}, {"party_id": "10000", "roles": ("guest",)})
    assert chosen.addresses == (Address("10000", GUEST),)
    assert chosen.state_dir == Path("/x/partyd/guest-10000")
    assert (chosen.http.host, chosen.http.port) == ("127.0.0.1", 9380)
    assert chosen.delivery.window_bytes == 16 * MIB
    assert chosen.store.backups_kept == 3


def test_later_sources_win(tmp_path: Path) -> None:
    first = write(tmp_path / "a.toml", 'org = "a"\n[http]\nport = 1\n[log]\nlevel = "debug"\n')
    second = write(tmp_path / "b.toml", "[http]\nport = 2\n[store]\nbackups_kept = 2\n")
    environ = {"PARTYD_HTTP__PORT": "3", "PARTYD_STORE__BACKUPS_KEPT": "3"}
    chosen = load_settings([first, second], environ, {**NAMED, "http.port": "4"})
    assert (chosen.http.port, chosen.store.backups_kept, chosen.log.level, chosen.org) == (4, 3, "debug", "a")


def test_variables_write_lists_and_sizes_as_people_do() -> None:
    environ = {"PARTYD_PARTY_ID": "7", "PARTYD_ROLES": "guest, host", "PARTYD_DELIVERY__WINDOW_BYTES": "2 MiB"}
    chosen = load_settings([], environ, {"state_dir": "/s"})
    assert chosen.roles == (GUEST, HOST)
    assert chosen.delivery.window_bytes == 2 * MIB


def test_relative_paths_count_from_their_file(tmp_path: Path) -> None:
    file = write(tmp_path / "conf" / "a.toml", '[broker]\nurl = "mqtts://b"\nca_file = "ca.crt"\n')
    assert load_settings([file], {}, NAMED).broker.ca_file == tmp_path / "conf" / "ca.crt"
    assert load_settings([], {"PARTYD_BROKER__CA_FILE": "/x/ca"}, NAMED).broker.ca_file == Path("/x/ca")
    assert load_settings([], {}, {**NAMED, "broker.ca_file": "ca"}).broker.ca_file == Path.cwd() / "ca"


def test_systemd_hands_over_directory_settings_and_secrets(tmp_path: Path) -> None:
    write(tmp_path / "config", '[broker]\nurl = "mqtts://b"\nusername = "10000"\n')
    write(tmp_path / "broker.pass", "secret")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "STATE_DIRECTORY": "/var/lib/partyd/guest-10000"}
    overrides = overrides_of("guest-10000", (), None)
    files = find_files(environ, overrides)
    chosen = load_settings(files, environ, overrides)
    assert files == (tmp_path / "config",)
    assert chosen.broker.password_file == tmp_path / "broker.pass"
    assert chosen.state_dir == Path("/var/lib/partyd/guest-10000")


def test_files_are_found_in_the_state_directory_in_the_order_of_their_names(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    names = [write(conf / name, "").name for name in ("b.toml", "a.toml", "c.txt")]
    assert len(names) == 3
    assert [path.name for path in find_files({}, {"state_dir": str(tmp_path)})] == ["a.toml", "b.toml"]
    assert find_files({"PARTYD_CONFIG": f"{conf}:/x.toml"}, {})[-1] == Path("/x.toml")
    assert find_files({}, {"state_dir": str(tmp_path / "none")}) == ()
    assert expand_files([Path("/no/such.toml")]) == (Path("/no/such.toml"),)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("http.prt", "http.port"), ("prot", "http.port"), ("htpp.port", "http.port"), ("party", "party_id"), ("Z", "'")],
)
def test_an_unknown_key_is_refused_with_the_nearest_one_and_its_place(key: str, nearest: str) -> None:
    sentence = refusal(overrides={key: "1"})
    assert f"unknown key {key!r}" in sentence
    assert nearest in sentence
    assert sentence.startswith(f"command line, {key}")


def test_places_are_files_and_variables_too(tmp_path: Path) -> None:
    file = write(tmp_path / "a.toml", "[http]\nprot = 1\n")
    assert refusal(files=(file,)).startswith(f"{file}, http.prot")
    assert refusal({"PARTYD_HTTP__PROT": "1"}).startswith("variable PARTYD_HTTP__PROT")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"http.port": "x"}, "command line, http.port: Input should be a valid integer"),
        ({"http.port": "70000"}, "less than or equal to 65535"),
        ({"delivery.window_bytes": "16 MB"}, 'a text such as "16 MiB"'),
        ({"roles": "guest,client"}, "roles are guest, host, arbiter"),
        ({"roles": "guest,guest"}, "names a role twice"),
        ({"roles": ""}, "roles are guest, host, arbiter"),
        ({"party_id": "a/b"}, "1 to 64 of 0-9 A-Z a-z _ -"),
        ({"store.backups_kept": "0"}, "greater than or equal to 1"),
        ({"log.level": "loud"}, "'debug', 'info', 'warning' or 'error'"),
        ({"broker.url": "http://b"}, "url must be mqtts://HOST:PORT"),
        ({"broker.url": "mqtts://b:99999"}, "out of range"),
        ({"broker.url": "mqtts://u:p@b"}, "set username and password_file"),
        ({"broker.cert_file": "c"}, "cert_file and key_file go together"),
        ({"broker.cert_file": "c", "broker.key_file": "k"}, "over TLS only"),
        ({"broker.password_file": "p"}, "needs username"),
        ({"broker.url": "mqtt://b", "broker.username": "u", "broker.password_file": "p"}, "travel in clear"),
        ({"http.host": "0.0.0.0"}, "set tls_cert, tls_key and token_file"),
        ({"http.tls_cert": "c"}, "tls_cert and tls_key go together"),
        ({"http": "5"}, "'http' is a section; set its keys, such as 'http.host'"),
        ({"state_dir": "a\0b"}, "NUL"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected(overrides: dict[str, object], expected: str) -> None:
    assert expected in refusal(overrides=overrides)


def test_a_password_in_an_url_is_not_repeated() -> None:
    assert "hunter2" not in refusal(overrides={"broker.url": "mqtts://u:hunter2@b"})


def test_a_missing_party_says_how_to_name_it() -> None:
    with pytest.raises(ConfigError, match="--party-id 10000"):
        load_settings([], {}, {"roles": ("guest",)})


def test_other_addresses_are_fine_with_tls_and_a_token() -> None:
    given = {"http.host": "0.0.0.0", "http.tls_cert": "/c", "http.tls_key": "/k", "http.token_file": "/t"}
    assert load_settings([], {}, {**NAMED, **given}).http.host == "0.0.0.0"


def test_broker_parts() -> None:
    broker = load_settings([], {}, {**NAMED, "broker.url": "mqtts://broker.example"}).broker
    assert (broker.host, broker.port, broker.tls, broker.scheme) == ("broker.example", 8883, True, "mqtts")


def test_standalone_is_no_setting_for_files_or_variables() -> None:
    assert load_settings([], {}, {**NAMED, "standalone": True}).standalone
    assert "unknown key 'standalone'" in refusal({"PARTYD_STANDALONE": "1"})


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(files=(tmp_path / "none.toml",))
    assert "no valid TOML" in refusal(files=(write(tmp_path / "a.toml", "x = = 1"),))
    assert "larger than" in refusal(files=(write(tmp_path / "big.toml", "#" * 300_000),))
    assert "no valid TOML" in refusal(files=(write(tmp_path / "deep.toml", "x = " + "[" * 50_000),))


def test_instances_name_roles_and_party() -> None:
    assert instance_name((HOST, GUEST), "a-b") == "guest.host-a-b"
    assert parse_instance("guest.host-a-b") == ((GUEST, HOST), "a-b")
    assert parse_instance("arbiter-1") == ((ARBITER,), "1")
    for wrong in ("guest", "guest-", "client-1", "guest-a b"):
        with pytest.raises(ConfigError, match="--instance"):
            overrides_of(wrong, (), None)


def test_the_example_names_every_key_and_holds_the_defaults() -> None:
    text = (Path(__file__).parents[1] / "conf" / "partyd.toml").read_text(encoding="utf-8")
    assert text == render(), (
        "write it again: python -c 'from partyd.config_example import render; print(render(), end=\"\")'"
    )
    shown = tomllib.loads(
        "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines()[3:])
    )
    keys = {f"{name}.{key}" for name, part in shown.items() if isinstance(part, dict) for key in part}
    keys |= {name for name, part in shown.items() if not isinstance(part, dict)}
    assert keys == set(known_keys()) - {"standalone"}
    shown["broker"] = {"url": shown["broker"]["url"]}
    shown["http"] = {"host": shown["http"]["host"], "port": shown["http"]["port"]}
    del shown["data"]["sources_dir"]
    assert Settings.model_validate(shown) == Settings(
        party_id="10000", roles=(GUEST,), state_dir=Path(shown["state_dir"])
    )


def test_the_example_as_it_stands_is_a_valid_file() -> None:
    file = Path(__file__).parents[1] / "conf" / "partyd.toml"
    assert load_settings([file], {}, {"state_dir": "/s"}).party_id == "10000"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(known_keys())) | st.text(max_size=12), VALUES, max_size=4))
def test_no_value_crashes_the_loader(overrides: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(load_settings([], {}, {**NAMED, **overrides}), Settings)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="[]=\"'.\n{},#a1-", max_size=60).map(str.encode))
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_toml(raw, Path("x.toml")), dict)
