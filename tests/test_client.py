"""The synchronous client against replies over real HTTP, and against what is no daemon at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from partyd import signing
from partyd.client import Client, ClientError, CsvColumns, Party, Refused, StrangeReply, Unreachable, calls
from partyd.errors import JobError
from tests.cli.fake_daemon import REASON, TABLE, FakeDaemon, Raw, Wrapped, job

EVENTS = "text/event-stream"


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_job_is_read_with_all_its_parts() -> None:
    told = job("failed", {"reader_0": "failed"}, component="reader", reason=REASON, stalled_by=["9999/host"])
    with FakeDaemon({"/v2/job/query": [[told]]}) as daemon, Client(daemon.url) as client:
        found = client.job("J1", Party("guest", "10000"))
    assert (found.job_id, found.status, found.is_ended, found.me) == ("J1", "failed", True, "10000/guest")
    assert found.parties == ("10000/guest", "9999/host")
    assert found.reason is not None
    assert (found.reason.party, found.reason.code) == ("9999/host", "data")
    assert (found.tasks[0].component, found.tasks[0].done, found.tasks[0].total) == ("reader", 1, 4)
    assert (found.remote, found.stalled_by) == ({"9999/host": {"reader_0": "failed"}}, ("9999/host",))
    assert daemon.asked[0].query == {"job_id": "J1", "role": "guest", "party_id": "10000"}


def test_waiting_tells_what_was_seen_and_never_more_than_the_daemon_allows() -> None:
    with FakeDaemon({"/v2/job/query": [[job("running")]]}) as daemon, Client(daemon.url) as client:
        client.job("J1", seen="running-tag", wait_s=500)
        client.job("J1", wait_s=5)
    assert daemon.asked[0].query == {"job_id": "J1", "seen": "running-tag", "wait": "30"}
    assert daemon.asked[1].query == {"job_id": "J1"}


def test_submitting_sends_text_as_it_is_and_objects_as_json() -> None:
    with FakeDaemon({"/v2/job/submit": [Wrapped({}, {"job_id": "J7"})]}) as daemon, Client(daemon.url) as client:
        assert client.submit("dag: {}") == "J7"
        assert client.submit({"dag": {}}) == "J7"
    assert [asked.body for asked in daemon.asked] == [b"dag: {}", b'{"dag": {}}']


def test_what_a_task_gave() -> None:
    answers: dict[str, list[object]] = {
        "/v2/log/query": [[{"ts": 1.5, "level": "INFO", "message": "hello"}]],
        "/v2/output/metric/query": [[{"name": "auc", "data": [{"step": 0, "val": 0.5}, {"step": 1, "val": 0.75}]}]],
        "/v2/output/model/query": [{"metric": {"auc": 0.75}}],
        "/v2/output/data/display": [{"count": 9, "header": ["id", "x"], "rows": [["a", 1.0]]}],
    }
    with FakeDaemon(answers) as daemon, Client(daemon.url) as client:
        assert client.log("J1", "t", begin=3)[0].message == "hello"
        assert client.metrics("J1", "t")["auc"].last == 0.75
        assert client.documents("J1", "t") == {"metric": {"auc": 0.75}}
        rows = client.rows("J1", "t", port="out", begin=100, limit=7)
    assert (rows.count, rows.header, rows.rows) == (9, ("id", "x"), (("a", 1.0),))
    assert daemon.asked[-1].query == {
        "job_id": "J1", "task_name": "t", "limit": "7", "output_key": "out", "begin": "100",
    }  # fmt: skip


def test_an_upload_is_streamed_and_watched(tmp_path: Path) -> None:
    file = tmp_path / "guest.csv.gz"
    content = bytes(range(256)) * 4096
    file.write_bytes(content)
    sent: list[int] = []
    with FakeDaemon({"/v2/data/component/upload/file": [TABLE]}) as daemon, Client(daemon.url) as client:
        stored = client.upload(file, "demo", "guest", CsvColumns(label="y"), Party("guest"), sent.append)
    assert sum(sent) == len(content) == len(daemon.asked[0].body)
    assert daemon.asked[0].query == {"namespace": "demo", "name": "guest", "label": "y", "role": "guest", "gzip": "1"}
    assert (stored.count, stored.label, stored.match_id, stored.features) == (3, "y", "", ("x0", "x1"))


def test_what_can_be_uploaded(tmp_path: Path) -> None:
    class Frame:
        def to_csv(self, path_or_buf: None = None, *, index: bool = True) -> str:
            assert not index
            return "id,x\na,1\n"

    file = tmp_path / "t.csv"
    file.write_bytes(b"id,x\na,2\n")
    read_end, write_end = os.pipe()
    os.write(write_end, b"id,x\na,3\n")
    os.close(write_end)
    with FakeDaemon({"/v2/data/component/upload/file": [TABLE]}) as daemon, Client(daemon.url) as client:
        client.upload(Frame(), "demo", "guest")
        client.upload(str(file), "demo", "guest")
        client.upload(io.BytesIO(b"id,x\na,4\n"), "demo", "guest")
        with os.fdopen(read_end, "rb") as pipe:
            client.upload(pipe, "demo", "guest")
        with pytest.raises(ClientError, match="name a file that you may read"):
            client.upload(tmp_path / "none.csv", "demo", "guest")
    bodies = [asked.body.splitlines()[1] for asked in daemon.asked]
    assert bodies == [b"a,1", b"a,2", b"a,4", b"a,3"]
    assert "chunked" in daemon.asked[3].headers["Transfer-Encoding"]


def test_an_app_signs_path_query_and_body(tmp_path: Path) -> None:
    answers: dict[str, list[object]] = {"/v2/job/stop": [{}], "/v2/data/component/upload/file": [TABLE]}
    content = b"id,x\na,1\n"
    with FakeDaemon(answers) as daemon, Client(daemon.url, app_id="A1", app_token="secret") as client:
        client.stop("J1")
        client.upload(content, "demo", "guest")
    stop, upload = (signing.parse(asked.headers["Authorization"]) for asked in daemon.asked)
    assert stop is not None
    assert upload is not None
    assert stop.body == hashlib.sha256(daemon.asked[0].body).hexdigest()
    assert stop.nonce != upload.nonce
    assert upload.body == hashlib.sha256(content).hexdigest()
    target = "/v2/data/component/upload/file?namespace=demo&name=guest"
    assert upload.signature == signing.signature("secret", "POST", target, upload.ts, upload.nonce, upload.body)


def test_files_are_fetched_and_unpacked_inside_one_folder(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("guest/10000/INFO", "../outside"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"hello"))
    answers: dict[str, list[object]] = {
        "/v2/job/log/download": [Raw(packed.getvalue(), "application/gzip")],
        "/v2/output/model/download": [Raw(b"{}", "application/octet-stream")],
        "/v2/output/data/download": [JobError("task psi_0 has given out no table")],
    }
    with FakeDaemon(answers) as daemon, Client(daemon.url) as client:
        with pytest.raises(StrangeReply, match="lies outside"):
            client.fetch(calls.job_logs("J1"), tmp_path / "logs", "J1.log")
        assert (tmp_path / "logs" / "guest" / "10000" / "INFO").read_text() == "hello"
        assert not (tmp_path / "outside").exists()
        (file,) = client.fetch(calls.model_file("J1", "t"), tmp_path / "models", "model.bin")
        assert (file.name, file.read_bytes()) == ("model.bin", b"{}")
        with pytest.raises(Refused, match="no table"):
            client.fetch(calls.data_file("J1", "t"), tmp_path / "tables", "t")
    assert json.loads(daemon.asked[0].body) == {"job_id": "J1"}


def test_a_log_is_followed_until_the_job_ends() -> None:
    first = (
        b'id: 1\ndata: {"line_num": 1, "level": "INFO", "message": "a", "ts": 1}\n\n: still here\n\n'
        b'event: end\ndata: {"status": "running", "after": 1}\n\n'
    )
    second = (
        b'id: 2\ndata: {"line_num": 2, "level": "INFO", "message": "b", "ts": 2}\n\ndata: {cut\n\n'
        b'event: end\ndata: {"status": "success", "after": 2}\n\n'
    )
    streams: dict[str, list[object]] = {"/v2/log/stream": [Raw(first, EVENTS), Raw(second, EVENTS)]}
    with FakeDaemon(streams) as daemon, Client(daemon.url) as client:
        assert [line.message for line in client.follow_log("J1", "psi_0")] == ["a", "b"]
    assert [asked.query["after"] for asked in daemon.asked] == ["0", "1"]
    with (
        FakeDaemon({"/v2/log/stream": [JobError("no such job")]}) as daemon,
        Client(daemon.url) as client,
        pytest.raises(Refused, match="no such job"),
    ):
        list(client.follow_log("J9"))


def test_tables_and_site() -> None:
    answers: dict[str, list[object]] = {
        "/v2/table/query": [TABLE, [TABLE, TABLE]],
        "/v2/table/delete": [{}],
        "/v2/job/stop": [{}],
        "/v2/site/info/query": [
            {
                "party_id": "10000",
                "roles": ["guest"],
                "org": "A",
                "siblings": [{"address": "9999/host", "url": "http://h"}],
            }
        ],
        "/v2/site/peers": [[{"me": "10000/guest", "peer": "9999/host", "fingerprint": "f", "established": True}]],
        "/v2/server/fateflow": [{"host": "127.0.0.1", "port": 9380, "version": "1"}],
    }
    with FakeDaemon(answers) as daemon, Client(daemon.url) as client:
        assert client.table("demo", "guest").name == "guest"
        assert len(client.tables()) == 2
        client.delete_table("demo", "guest", Party("host"))
        client.stop("J1")
        assert client.site().siblings[0].url == "http://h"
        assert client.peers()[0].established
        assert client.server().port == 9380
    assert json.loads(daemon.of("/v2/table/delete")[0].body) == {"namespace": "demo", "name": "guest", "role": "host"}
    assert json.loads(daemon.of("/v2/job/stop")[0].body) == {"job_id": "J1"}


def test_nobody_there(closed_port: int) -> None:
    with Client(f"http://127.0.0.1:{closed_port}") as client:
        with pytest.raises(Unreachable) as caught:
            client.job_list()
        assert not client.is_ready()
        assert not client.wait_until_ready(0)
    assert f"no daemon answers at http://127.0.0.1:{closed_port}" in str(caught.value)
    assert "start one with: partyd --role guest --party-id 10000" in caught.value.how


def test_a_refusal_carries_the_daemons_own_sentence() -> None:
    with (
        FakeDaemon({"/v2/job/query": [JobError("10000/guest knows no job 'J9'")]}) as daemon,
        Client(daemon.url) as client,
    ):
        with pytest.raises(Refused, match="knows no job 'J9'") as caught:
            client.job("J9")
        assert (caught.value.http_status, caught.value.reply_code) == (404, 103)
        with pytest.raises(Refused, match="Not Found"):
            client.server()


def test_a_missing_token_is_named_with_its_mend() -> None:
    told = web.Response(status=401, text='{"code": 101, "message": "send the token", "data": null}')
    with FakeDaemon({"/v2/site/peers": [told]}) as daemon, Client(daemon.url, token="T" * 20) as client:
        with pytest.raises(Refused, match="flow init --token-file"):
            client.peers()
        assert daemon.asked[0].headers["Authorization"] == "Bearer " + "T" * 20


@pytest.mark.parametrize(
    "told",
    [
        web.Response(text="<html>"),
        web.Response(text="[]"),
        web.Response(text='{"code": 0, "data": {"data": [{"job_id": [1]}]}}'),
        web.Response(text='{"code": 0, "data": {"data": 3}}'),
        web.Response(text='{"code": 0, "data": {"data": [{"stalled_by": {}, "progress": "x"}]}}'),
    ],
)
def test_another_program_there(told: web.Response) -> None:
    with (
        FakeDaemon({"/v2/job/list/query": [told]}) as daemon,
        Client(daemon.url) as client,
        pytest.raises(StrangeReply),
    ):
        client.job_list()


def test_no_job_in_a_reply_is_strange() -> None:
    with FakeDaemon({"/v2/job/query": [[]]}) as daemon, Client(daemon.url) as client, pytest.raises(StrangeReply):
        client.job("J1")


def test_something_that_is_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"\x10\x00 this is MQTT\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"http://127.0.0.1:{server.getsockname()[1]}") as client, pytest.raises(StrangeReply, match="HTTP"):
            client.server()
        thread.join(10)
    assert not thread.is_alive()


def test_a_kept_connection_that_was_closed_is_opened_again_for_reads() -> None:
    reply = b'{"code": 0, "data": {"port": 1}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_twice() -> None:
            for _ in range(2):
                connection, _peer = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(head + reply)

        thread = threading.Thread(target=answer_twice)
        thread.start()
        with Client(f"http://127.0.0.1:{server.getsockname()[1]}") as client:
            assert [client.server().port, client.server().port] == [1, 1]
        thread.join(10)
    assert not thread.is_alive()


def test_silence_is_named_with_its_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Client(url, timeout_s=0.05) as client, pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
            client.server()


@pytest.mark.parametrize("url", ["127.0.0.1:9380", "ftp://x", "http://"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ClientError, match="no address of a daemon"):
        Client(url)
