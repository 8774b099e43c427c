"""The synchronous client against replies over real HTTP, and against what is no daemon at all."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from partyd.client import Client, ClientError, CsvColumns, Party, Refused, StrangeReply, Unreachable
from partyd.errors import JobError
from tests.cli.fake_daemon import REASON, TABLE, FakeDaemon, Wrapped, job


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
            client.jobs()
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
        client.jobs()


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
