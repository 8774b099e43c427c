from __future__ import annotations

import hashlib
import socket

from hypothesis import given
from hypothesis import strategies as st

from partyd.crypto import parts
from partyd.crypto.paillier import generate_keypair
from partyd.crypto.prg import Prg
from partyd.engine import child
from partyd.engine.child import ANSWER, NOTHING, REQUEST, SHELF_BYTES, SHELF_ITEMS, Shelf


def talk(*requests: bytes) -> bytes:
    """Return everything that a child answers until its owner has closed its side of the pipe."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b"".join(requests))
        ours.shutdown(socket.SHUT_WR)
        with theirs:
            child.serve(theirs)
        return b"".join(iter(lambda: ours.recv(1 << 16), b""))


def request(name: str, partition: bytes, digest: bytes = NOTHING, shared: bytes = b"") -> bytes:
    return REQUEST.pack(len(name), digest, len(shared), len(partition)) + name.encode() + shared + partition


def answers(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        failed, length = ANSWER.unpack_from(data)
        found.append((failed, data[ANSWER.size : ANSWER.size + length]))
        data = data[ANSWER.size + length :]
    return found


def test_it_serves_until_its_owner_closes_the_pipe() -> None:
    name = "partyd.algorithms.psi_points:reblind_part"
    ((failed, said), (again, _)) = answers(talk(request(name, bytes(33)), request(name, bytes(33))))
    assert (failed, again) == (1, 1)
    assert said.startswith(b"CryptoError: ")


def test_it_says_what_is_wrong_with_a_name_and_goes_on() -> None:
    said = answers(talk(request("os:system", b"true"), request("partyd.types:Nothing", b"")))
    assert [failed for failed, _ in said] == [1, 1]
    assert all(text.startswith(b"LocalProtocolError: ") for _, text in said)


def test_shared_bytes_are_sent_once() -> None:
    public, _ = generate_keypair(256, Prg(bytes(32), "insecure"), insecure_for_tests=True)
    key, base = parts.key_to_bytes(public), (5).to_bytes(public.ciphertext_bytes, "big")
    digest = hashlib.sha256(key).digest()[:16]
    asked = parts.asked(parts.HIDE, 1, 0, base, Prg(bytes(32), "draws").take(public.exponent_bytes))
    name = "partyd.crypto.parts:hide_part"
    first, second = answers(talk(request(name, asked, digest, key), request(name, asked, digest)))
    assert first == second == (0, parts.hide_part(key, asked))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, SHELF_BYTES // 3)), max_size=60))
def test_owner_and_child_forget_the_same(uses: list[tuple[int, int]]) -> None:
    owner, there, size = Shelf(), Shelf(), dict[bytes, int]()
    for number, length in uses:
        digest = bytes([number])
        length = size.setdefault(digest, length)
        assert (digest in owner) == (digest in there)
        if digest not in owner:
            owner.put(digest, length)
            there.put(digest, length, b"data")
        owner.use(digest)
        assert there.use(digest) == b"data"
        assert len(owner._kept) <= SHELF_ITEMS
        assert owner._bytes() <= SHELF_BYTES or len(owner._kept) == 1
