"""The worked example of docs/wire-format.md: rebuilt from fixed keys, compared with its file and with the text."""

from __future__ import annotations

import json
import os
from pathlib import Path

from partyd.crypto.identity import LocalIdentity
from partyd.wire.card import Card
from partyd.wire.channel import Channel
from partyd.wire.events import Opened
from partyd.wire.hello import Hello
from tests.wire.channel_pair import GUEST, HOST, card_of, insecure_identity, key_stream, stream

ROOT = Path(__file__).parents[2]
VECTOR = ROOT / "tests" / "vectors" / "e2e_session.json"
DOCUMENT = ROOT / "docs" / "wire-format.md"
RECORD = b"hello, host"


def side(identity: LocalIdentity, card: Card, peer: Card, letter: bytes) -> Channel:
    return Channel(
        identity,
        card,
        peer,
        hello=Hello(letter * 16, letter.upper() * 16, 4096, 1 << 19),
        next_epoch=lambda: 1_800_000_000_000_000_000,
        last_seen_epoch=0,
        token_bytes=stream("vector", letter),
        generate_kx=key_stream("vector", letter),
    )


def example() -> dict[str, str]:
    """Return every byte string of one session."""
    guest, host = insecure_identity(GUEST), insecure_identity(HOST)
    guest_card, host_card = card_of(guest), card_of(host)
    left, right = side(guest, guest_card, host_card, b"g"), side(host, host_card, guest_card, b"h")
    left.initiate(0.0)
    (init,) = left.frames_to_send()
    right.receive(init, 0.0)
    (response,) = right.frames_to_send()
    left.receive(response, 0.0)
    (keep_alive,) = left.frames_to_send()
    data = left.seal(RECORD)
    right.receive(keep_alive, 0.0)
    assert right.receive(data, 0.0) == [Opened(RECORD)]
    found: dict[str, str] = {
        "guest_fingerprint": str(guest.fingerprint),
        "host_fingerprint": str(host.fingerprint),
        "psk": bytes(32).hex(),
        "record": RECORD.hex(),
    }
    for name, identity, card, letter in (("guest", guest, guest_card, b"g"), ("host", host, host_card, b"h")):
        found[f"{name}_id_private"] = identity.id_key.private_bytes_raw().hex()
        found[f"{name}_kx_private"] = identity.kx_key.private_bytes_raw().hex()
        found[f"{name}_ephemeral_private"] = key_stream("vector", letter)().private_bytes_raw().hex()
        found[f"{name}_card"] = card.encode().hex()
        found[f"{name}_card_digest"] = card.digest.hex()
    for name, frame in (("init", init), ("response", response), ("keep_alive", keep_alive), ("data", data)):
        found[f"{name}_frame"] = frame.hex()
    return found


def test_the_example_is_what_the_code_makes() -> None:
    made = example()
    if os.environ.get("PARTYD_REWRITE_VECTORS") == "1":
        VECTOR.write_text(json.dumps(made, indent=2) + "\n")
    assert json.loads(VECTOR.read_text()) == made


def test_the_document_shows_the_example() -> None:
    shown = "".join(DOCUMENT.read_text().split())
    made = example()
    for name in ("guest_card", "guest_card_digest", "init_frame", "response_frame", "keep_alive_frame", "data_frame"):
        assert made[name] in shown, f"{name} of docs/wire-format.md is not what the code makes"
    assert made["guest_fingerprint"] in shown
