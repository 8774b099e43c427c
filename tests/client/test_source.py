"""What can be uploaded, and as which bytes."""

from __future__ import annotations

import io
import os
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import pytest

from partyd import signing
from partyd.client import ClientError
from partyd.client.credentials import Credentials, digest
from partyd.client.source import Joined, as_form, opened


def test_the_size_of_what_is_left_is_known_where_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"12345")
    with opened(path) as stream:
        assert (stream.size, stream.is_gzip, stream.suffix) == (5, False, ".parquet")
    zipped = tmp_path / "t.csv.gz"
    zipped.write_bytes(b"")
    with opened(str(zipped)) as stream:
        assert (stream.size, stream.is_gzip, stream.suffix) == (0, True, ".csv")
    half_read = io.BytesIO(b"12345")
    half_read.read(2)
    with opened(half_read) as stream:
        assert stream.size == 3
        assert stream.file.read() == b"345"
    with path.open("rb") as file:
        file.read(1)
        with opened(file) as stream:
            assert stream.size == 4
        assert not file.closed


def test_a_pipe_has_no_size() -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe, opened(pipe) as stream:
        assert stream.size == -1


def test_a_directory_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="name a file that you may read"), opened(tmp_path):
        pass


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_a_form_is_read_in_blocks_of_any_size(block: int) -> None:
    with opened(b"id,x\r\n--a,1\r\n") as stream:
        content_type, form = as_form(stream, {"meta": '{"delimiter": ","}', "name": "größe"}, 'a"b\r\nc.csv')
        blocks = list(iter(lambda: form.file.read(block), b""))
    body = b"".join(blocks)
    assert form.size == len(body)
    parts = list(message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=HTTP).iter_parts())
    assert [part.get_param("name", header="content-disposition") for part in parts] == ["meta", "name", "file"]
    assert [part.get_payload(decode=True) for part in parts] == [
        b'{"delimiter": ","}', "größe".encode(), b"id,x\r\n--a,1\r\n",
    ]  # fmt: skip
    assert parts[2].get_filename() == "a_b__c.csv"


def test_what_cannot_be_read_twice_is_not_signed() -> None:
    assert digest(Joined(io.BytesIO(b"a"))) == signing.UNSIGNED  # type: ignore[arg-type]
    assert digest(None) == signing.UNSIGNED
    file = io.BytesIO(b"xa")
    file.read(1)
    assert digest(file) == digest(b"a")
    assert file.read() == b"a"
    assert digest(b"") == signing.EMPTY_BODY


def test_an_app_goes_before_a_token_and_nobody_says_nothing() -> None:
    assert Credentials().headers("GET", "/", b"") == {}
    assert Credentials(token="T").headers("GET", "/", b"") == {"Authorization": "Bearer T"}
    both = Credentials("T", "A1", "secret", now=lambda: 17.9, nonce=lambda: "n" * 16)
    said = signing.parse(both.headers("POST", "/x?y=1", b"body")["Authorization"])
    assert said is not None
    assert (said.app_id, said.ts, said.nonce) == ("A1", 17, "n" * 16)
