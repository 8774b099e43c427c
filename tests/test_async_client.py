"""The asynchronous client: the same methods and the same answers as the synchronous one."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import io
import socket
import tarfile
from pathlib import Path

import pytest

import partyd.client
from partyd import signing
from partyd.client import (
    AsyncClient,
    AsyncJobHandle,
    Client,
    ClientError,
    JobFailed,
    JobHandle,
    Refused,
    StrangeReply,
    Unreachable,
    calls,
    calls_data,
)
from partyd.client.aio_job import AsyncJobs
from partyd.client.job import Jobs
from partyd.errors import JobError
from tests.cli.fake_daemon import REASON, TABLE, FakeDaemon, Raw, job
from tests.client.test_job import ANSWERS, states


@pytest.mark.parametrize(("sync", "other"), [(Client, AsyncClient), (JobHandle, AsyncJobHandle), (Jobs, AsyncJobs)])
def test_both_clients_have_the_same_methods(sync: type, other: type) -> None:
    only_sync = {"wait_until_ready"}
    names = {name for name in vars(sync) if not name.startswith("_")} - only_sync
    assert names == {name for name in vars(other) if not name.startswith("_")}
    for name in names:
        ours, theirs = vars(sync)[name], vars(other)[name]
        if callable(ours) and callable(theirs) and name not in ("wait", "changes"):
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name


def test_what_is_heavy_is_imported_when_it_is_asked_for() -> None:
    assert partyd.client.AsyncClient is AsyncClient
    with pytest.raises(AttributeError, match="Cleint"):
        partyd.client.Cleint  # noqa: B018


def test_submit_wait_and_look(capsys: pytest.CaptureFixture[str]) -> None:
    async def use(url: str) -> None:
        async with AsyncClient(url) as client:
            handle = await client.jobs.submit({"dag": {}})
            assert handle._repr_html_() is None
            assert (await handle.wait()).is_success
            assert await handle.status() == "success"
            assert await handle.curve("lr_0") == ([0, 1], [0.7, 0.5])
            assert await handle.model("lr_0") == {"output_model": {"weights": [1.5]}}
            assert (await handle.log("lr_0"))[0].message == "hello"
            assert (await handle.contract())["plain_words"] == ["guest learns"]
            assert (await handle.why()).mend == "upload it"
            with pytest.raises(ClientError, match="it has: loss"):
                await handle.curve("lr_0", "los")
            for done in (handle.stop(), handle.approve(), handle.reject("no"), handle.rerun(["lr_0"])):
                await done
            assert "J1" in str(handle._repr_html_())
            assert repr(handle) == f"AsyncJobHandle('J1', '{url}')"

    with FakeDaemon(states(job("running"), job("running"), job("success"))) as daemon:
        asyncio.run(use(daemon.url))
    assert "job J1 is success" in capsys.readouterr().out
    assert [asked.path.rsplit("/", 1)[1] for asked in daemon.asked[-4:]] == ["stop", "approve", "reject", "rerun"]


def test_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("partyd.client.notebook.cell", lambda: drawn.append)

    async def use(url: str) -> None:
        async with AsyncClient(url) as client:
            with pytest.raises(JobFailed, match="there is no table"):
                await client.jobs.get("J1").wait()

    with FakeDaemon(
        states(job("running", {"lr_0": "running"}), job("failed", {"lr_0": "failed"}, reason=REASON))
    ) as daemon:
        asyncio.run(use(daemon.url))
    assert "polyline" in drawn[0]
    assert "there is no table demo/host" in drawn[-1]


def test_every_request_of_the_client(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("model.json")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"{}"))
    stream = b'data: {"line_num": 1, "message": "a"}\n\nevent: end\ndata: {"status": "success", "after": 1}\n\n'
    answers: dict[str, list[object]] = {
        **ANSWERS,
        "/readyz": [{}],
        "/v2/table/query": [TABLE, [TABLE]],
        "/v2/table/delete": [{}],
        "/v2/table/preview": [{"count": 1, "header": ["id"], "rows": [["a"]]}],
        "/v2/data/component/upload/file": [TABLE],
        "/v2/output/data/display": [{"count": 1, "header": ["id"], "rows": [["a"]]}],
        "/v2/output/model/download": [Raw(packed.getvalue(), "application/x-tar")],
        "/v2/output/data/download": [Raw(b"id", "text/csv")],
        "/v2/job/list/query": [{"data": [job("success")]}],
        "/v2/log/stream": [Raw(stream, "text/event-stream")],
        "/v2/site/info/query": [{"party_id": "10000", "roles": ["guest"]}],
        "/v2/site/peers": [[]],
        "/v2/server/fateflow": [{"flow-x-1": {"host": "x", "http_port": 1, "version": "2"}}],
    }

    async def use(url: str) -> None:
        sent: list[int] = []
        async with AsyncClient(url) as client:
            assert await client.is_ready()
            assert (await client.table("demo", "guest")).label == "y"
            assert len(await client.tables()) == 1
            await client.delete_table("demo", "guest")
            assert (await client.preview("demo", "guest")).rows == (("a",),)
            assert (await client.rows("J1", "t")).rows == (("a",),)
            assert (await client.jobs.get("J1").output("t")).column("id") == ["a"]
            assert (await client.upload(io.BytesIO(b"id,x\n"), "demo", "guest", sent=sent.append)).name == "guest"
            assert (await client.upload_text("id,x\n", "demo", "guest")).count == 3
            assert [each.job_id for each in await client.jobs.list()] == ["J1"]
            assert [line.message async for line in client.jobs.get("J1").follow()] == ["a"]
            assert (await client.site()).party_id == "10000"
            assert await client.peers() == []
            assert (await client.server()).version == "2"
            (file,) = await client.fetch(calls.model_file("J1", "t"), tmp_path / "models", "x")
            assert file.read_text() == "{}"
            (file,) = await client.fetch(calls.data_file("J1", "t"), tmp_path / "tables", "t.csv")
            assert file.read_text() == "id"
        assert sent == [5]

    with FakeDaemon(answers) as daemon:
        asyncio.run(use(daemon.url))
    assert [asked.body for asked in daemon.of("/v2/data/component/upload/file")] == [b"id,x\n", b"id,x\n"]


def test_an_app_signs_its_requests() -> None:
    async def use(url: str) -> None:
        async with AsyncClient(url, app_id="A1", app_token="secret") as client:
            await client.upload(b"id,x\n", "demo", "größe")

    with FakeDaemon({"/v2/data/component/upload/file": [TABLE]}) as daemon:
        asyncio.run(use(daemon.url))
    said = signing.parse(daemon.asked[0].headers["Authorization"])
    assert said is not None
    assert said.body == hashlib.sha256(b"id,x\n").hexdigest()
    target = "/v2/data/component/upload/file?namespace=demo&name=gr%C3%B6%C3%9Fe"
    assert said.signature == signing.signature("secret", "POST", target, said.ts, said.nonce, said.body)
    assert daemon.asked[0].query["name"] == "größe"


def test_nobody_there_and_refusals() -> None:
    async def use(url: str, closed: int) -> None:
        async with AsyncClient(f"http://127.0.0.1:{closed}") as client:
            assert not await client.is_ready()
            with pytest.raises(Unreachable, match="no daemon answers at"):
                await client.site()
        async with AsyncClient(url) as client:
            with pytest.raises(Refused, match="knows no job"):
                await client.job("J9")
            with pytest.raises(StrangeReply):
                await client.do(calls_data.server())
            with pytest.raises(Refused, match="knows no job"):
                await client.save(calls.model_file("J9", "t"), Path("/dev/null"))
            with pytest.raises(Refused, match="knows no job"):
                assert not [line async for line in client.follow_log("J9")]

    error = JobError("10000/guest knows no job 'J9'")
    answers: dict[str, list[object]] = {
        "/v2/job/query": [error],
        "/v2/output/model/download": [error],
        "/v2/log/stream": [error],
        "/v2/server/fateflow": [Raw(b"<html>", "text/html")],
    }
    with socket.socket() as taken, FakeDaemon(answers) as daemon:
        taken.bind(("127.0.0.1", 0))
        asyncio.run(use(daemon.url, taken.getsockname()[1]))


def test_silence_and_what_is_no_http() -> None:
    async def use() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x10\x00 this is MQTT\r\n\r\n")
            writer.close()

        async with (
            await asyncio.start_server(answer, "127.0.0.1", 0) as server,
            AsyncClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client,
        ):
            with pytest.raises(StrangeReply, match="does not speak HTTP"):
                await client.site()

    asyncio.run(use())
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def ask() -> None:
            async with AsyncClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05) as client:
                with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
                    await client.site()

        asyncio.run(ask())
