from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.crypto.identity import (
    KX_OVERLAP_S,
    Fingerprint,
    LocalIdentity,
    generate_identity,
    verify_signature,
)
from partyd.errors import BadValue, ConfigError
from partyd.types import Address

ADDRESS = Address.parse("10000/guest")


def test_a_fingerprint_is_the_labelled_hash_in_13_groups_of_4() -> None:
    fingerprint = Fingerprint.of(bytes(32))
    digest = hashlib.sha256(b"partyd-id/1" + bytes(32)).digest()
    text = str(fingerprint)
    assert text.replace("-", "").upper() == base64.b32encode(digest).decode().rstrip("=")
    assert [len(group) for group in text.split("-")] == [4] * 13
    assert fingerprint.matches(bytes(32))
    assert not fingerprint.matches(bytes(31) + b"\x01")


@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from(["lower", "upper", "title"]),
    st.sampled_from(["", " ", "-", " - ", "\n"]),
)
def test_fingerprints_are_read_however_people_write_them(digest: bytes, case: str, between: str) -> None:
    groups = str(Fingerprint(digest)).split("-")
    assert Fingerprint.parse(" " + getattr(between.join(groups), case)() + "\n").digest == digest


@pytest.mark.parametrize(
    ("mangle", "said"),
    [
        (lambda text: text[:-1], "has 51"),
        (lambda text: text + "a", "has 53"),
        (lambda text: "", "has 0"),
        (lambda text: "1" + text[1:], "no 0, 1, 8 or 9"),
        (lambda text: "ä" + text[1:], "A-Z"),
        (lambda text: text[:-1] + ("b" if text[-1] != "b" else "d"), "last character"),
    ],
)
def test_a_mistyped_fingerprint_says_what_is_wrong(mangle, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=said):
        Fingerprint.parse(mangle(str(Fingerprint.of(b"x" * 32))))


def test_keys_are_unrelated_and_never_shown() -> None:
    one, two = generate_identity(ADDRESS, 5), generate_identity(ADDRESS, 5)
    assert len({one.id_pub, one.kx_pub, two.id_pub, two.kx_pub}) == 4
    assert repr(one) == f"LocalIdentity(10000/guest, {one.fingerprint})"


def test_signatures_hold_for_their_message_only() -> None:
    identity = generate_identity(ADDRESS, 5)
    signature = identity.sign(b"label" + b"text")
    verify_signature(identity.id_pub, signature, b"labeltext")
    for id_pub, changed, message in (
        (identity.id_pub, signature, b"labeltexu"),
        (identity.id_pub, bytes(64), b"labeltext"),
        (generate_identity(ADDRESS, 5).id_pub, signature, b"labeltext"),
        (b"short", signature, b"labeltext"),
    ):
        with pytest.raises(BadValue):
            verify_signature(id_pub, changed, message)


def test_a_rotated_kx_key_is_answered_for_14_days() -> None:
    old = generate_identity(ADDRESS, 1000)
    new = old.rotate_kx(2000)
    assert new.id_pub == old.id_pub
    assert new.kx_pub != old.kx_pub
    assert new.kx_created == 2000
    assert new.kx_for(old.kx_pub) is old.kx_key
    assert new.kx_for(new.kx_pub) is new.kx_key
    assert new.kx_for(bytes(32)) is None
    assert new.without_expired(2000 + KX_OVERLAP_S - 1) is new
    assert new.without_expired(2000 + KX_OVERLAP_S).kx_for(old.kx_pub) is None


def same_keys(one: LocalIdentity, two: LocalIdentity) -> bool:
    return one.to_text() == two.to_text()


@pytest.mark.parametrize("rotations", ["", "k", "i", "ki", "kik"])
def test_text_form_keeps_everything(rotations: str) -> None:
    identity = generate_identity(ADDRESS, 1000)
    for step in rotations:
        identity = identity.rotate_kx(2000) if step == "k" else identity.rotate_id()
    read = LocalIdentity.from_text(identity.to_text())
    assert same_keys(read, identity)
    assert (read.address, read.fingerprint, read.kx_pub) == (ADDRESS, identity.fingerprint, identity.kx_pub)
    assert read.previous_kx_until == identity.previous_kx_until
    assert (read.previous_id is None) == ("i" not in rotations)


def replaced(name: str, value: str) -> str:
    lines = generate_identity(ADDRESS, 1000).to_text().splitlines()
    return "\n".join(f"{name}: {value}" if line.startswith(f"{name}: ") else line for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no identity file"),
        ("x" * 5000, "no identity file"),
        ("-----BEGIN PARTYD IDENTITY-----", "no identity file"),
        (replaced("version", "2"), "version"),
        (replaced("address", "10000/king"), "king"),
        (replaced("id", "!!!"), "no base64"),
        (replaced("kx", "AAAA"), "holds 3 bytes"),
        (replaced("kx-created", "-5"), "Unix seconds"),
        (replaced("kx-created", "9" * 13), "Unix seconds"),
        (replaced("id", base64.b64encode(bytes(32)).decode()), "fingerprint written beside"),
        (replaced("kx", "x\nsecret: y"), "unknown or written twice"),
        (replaced("kx", "x\nkx: y"), "unknown or written twice"),
        (replaced("kx-created", "5\nprevious-kx: " + base64.b64encode(bytes(32)).decode()), "previous-kx-until"),
        ("-----BEGIN PARTYD IDENTITY-----\n-----END PARTYD IDENTITY-----", "missing version, address"),
    ],
)
def test_a_damaged_identity_file_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LocalIdentity.from_text(text)


@given(st.text(max_size=300))
def test_any_text_is_an_identity_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        LocalIdentity.from_text("-----BEGIN PARTYD IDENTITY-----\n" + text + "\n-----END PARTYD IDENTITY-----")
