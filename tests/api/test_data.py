"""Uploads in FATE's two forms and in ours, transformations, downloads."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from partyd.config import DataSettings
from partyd.tables.local import LocalStatus
from tests.api.tables_site import TablesApi, on_tables

TEXT = "id,y,x0\na,1,0.5\nb,0,1\n"
META = {
    "delimiter": ",",
    "dtype": "float32",
    "label_type": "int32",
    "label_name": "y",
    "match_id_name": "id",
    "sample_id_name": "id",
    "input_format": "dense",
    "weight_type": "float32",
}


def test_a_stream_is_answered_with_what_is_stored(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        status, reply = await api.upload(TEXT)
        data = reply["data"]
        assert (status, data["count"], data["schema"]["label"], data["skipped"]) == (200, 2, "y", [])
        assert (await api.jobs.find(reply["job_id"])).status is LocalStatus.SUCCESS
        assert list((api.state_dir / "uploads").iterdir()) == []

    on_tables(tmp_path, work)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        (b"", {}), (b"\xff\xfe\x00", {}), (b"id\n", {}), (b"id,x\na,oops\n", {}), (b"id,x\na\n", {}),
        (b"id,x\na,1\n", {"delimiter": "ab"}), (b"id,x\na,1\n", {"on_bad_row": "cry"}),
        (b"id,x\na,1\n", {"label": "nope"}), (b"\x1f\x8bnot gzip", {}), (b"id,x\na,1\n", {"encoding": "klingon"}),
        (b"id,x\na,1\n", {"format": "image"}), (b"id,x\na,1\na,2\n", {}), (b"PAR1junk", {}),
        (b"id,x\na,1\n", {"namespace": ""}), (b"id,x\na,1\n", {"name": "a/b"}), (b"id,x\na,1\n", {"lable": "x"}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_400_in_one_sentence(tmp_path: Path, text: bytes, query: dict[str, str]) -> None:
    async def work(api: TablesApi) -> None:
        status, reply = await api.upload(text, **query)
        assert status == 400, reply
        assert str(api.state_dir) not in reply["message"]
        assert "Traceback" not in reply["message"]
        assert (await api.get("/v2/table/list"))[1]["data"] == []
        assert not (api.state_dir / "uploads").exists() or not list((api.state_dir / "uploads").iterdir())

    on_tables(tmp_path, work)


@pytest.mark.parametrize(
    ("text", "query", "features"),
    [
        ("a;1;2\n", {"header": "false", "delimiter": ";"}, ["x0", "x1"]),
        ("1 3:1 5:2\n", {"format": "svmlight"}, ["x3", "x5"]),
        ("a,t1,t2\n", {"format": "tag", "header": "false"}, ["t1", "t2"]),
        ("a,t1:5\n", {"format": "tag_value", "header": "0"}, ["t1"]),
        ("id,x\na,1\n", {"format": "csv", "gzip": "0"}, ["x"]),
    ],
)
def test_formats_are_named_in_the_query(tmp_path: Path, text: str, query: dict[str, str], features: list[str]) -> None:
    async def work(api: TablesApi) -> None:
        status, reply = await api.upload(text, **query)
        assert (status, reply["data"]["schema"]["features"]) == (200, features), reply

    on_tables(tmp_path, work)


@pytest.mark.parametrize("head", [True, "true", 1, "True"])
def test_fates_form_is_answered_at_once_with_a_job(tmp_path: Path, head: Any) -> None:
    async def work(api: TablesApi) -> None:
        answer = await api.send_form(
            TEXT, head=head, partitions=4, meta=META, extend_sid="True", namespace="experiment", name="guest"
        )
        assert answer[1]["data"] == {"namespace": "experiment", "name": "guest"}
        assert (await api.ended(answer)).status is LocalStatus.SUCCESS
        _, reply = await api.get("/v2/table/query", namespace="experiment", name="guest")
        schema = reply["data"]["schema"]
        assert (schema["sample_id"], schema["match_id"], schema["label"]) == ("extend_sid", "id", "y")
        assert reply["data"]["meta"]["label_name"] == "y"
        assert reply["data"]["meta"]["partitions"] == 4

    on_tables(tmp_path, work)


def test_a_form_with_bad_rows_fails_its_job(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        job = await api.ended(await api.send_form("id,y,x0\na,1,oops\n", head=True, partitions=1, meta=META))
        assert job.status is LocalStatus.FAILED
        assert "breast.csv: line 2: x0 holds 'oops'" in job.reason
        assert job.namespace == "upload"

    on_tables(tmp_path, work)


@pytest.mark.parametrize(
    "fields",
    [
        {"head": True, "partitions": 1},
        {"head": True, "partitions": 1, "meta": "{"},
        {"head": True, "partitions": 1, "meta": {"label": "y"}},
        {"head": "perhaps", "partitions": 1, "meta": META},
        {"head": True, "partitions": 1, "meta": {**META, "dtype": "object"}},
        {"head": True, "partitions": 1, "meta": META, "namespace": "a/b", "name": "x"},
        {"head": True, "partitions": 1, "meta": META, "namespace": "only"},
        {"head": True, "partitions": 1, "meta": META, "more": "x"},
    ],
)
def test_a_form_that_means_nothing_is_400(tmp_path: Path, fields: dict[str, Any]) -> None:
    async def work(api: TablesApi) -> None:
        status, reply = await api.send_form(TEXT, **fields)
        assert status == 400, reply
        assert len(reply["message"]) > 10
        assert list((api.state_dir / "uploads").iterdir()) == []

    on_tables(tmp_path, work)


def test_a_form_without_a_file_and_one_that_is_cut_off(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        for body in (b"--x\r\nContent-Disposition: form-data; name=head\r\n\r\n1\r\n--x--\r\n", b"--x\r\n", b""):
            async with api.http.post("/v2/data/component/upload/file", data=body, headers=kind) as reply:
                assert reply.status == 400, await reply.text()
        assert list((api.state_dir / "uploads").iterdir()) == []

    on_tables(tmp_path, work)


def test_a_file_on_the_daemons_machine(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        (api.data_dir / "t.csv").write_text(TEXT)
        asked = {"file": "t.csv", "head": True, "partitions": 4, "meta": META, "namespace": "n", "name": "t"}
        job = await api.ended(await api.post("/v2/data/component/upload", **asked))
        assert job.status is LocalStatus.SUCCESS, job
        assert (api.data_dir / "t.csv").exists()
        status, reply = await api.post("/v2/data/component/upload", **{**asked, "file": "/etc/passwd"})
        assert (status, "data.bind_roots" in reply["message"]) == (400, True)
        for more in ({"file": ""}, {"source": "crm"}, {"file": "", "source": "crm"}, {"file": "gone.csv"}):
            assert (await api.post("/v2/data/component/upload", **{**asked, **more}))[0] == 400

    on_tables(tmp_path, work)


def test_a_file_over_the_limit_is_413(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        status, reply = await api.upload("id,x\n" + "a,1\n" * 1000)
        assert (status, "data.upload_max_bytes" in reply["message"]) == (413, True)
        status, _ = await api.send_form("id,x\n" + "a,1\n" * 1000, head=True, partitions=1, meta={})
        assert status == 413
        assert list((api.state_dir / "uploads").iterdir()) == []

    on_tables(tmp_path, work, DataSettings(upload_max_bytes=1024))


def test_a_full_disk_is_507(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(api: TablesApi) -> None:
        monkeypatch.setattr("partyd.store.Store.is_low", lambda _: True)
        for status, reply in (await api.upload(TEXT), await api.send_form(TEXT, head=True, partitions=1, meta=META)):
            assert (status, "free some space" in reply["message"]) == (507, True)
        monkeypatch.undo()

    on_tables(tmp_path, work)


def test_the_transformer_gives_another_name(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        path = "/v2/data/component/dataframe/transformer"
        asked: dict[str, Any] = {"namespace": "n", "name": "f", "data_warehouse": {"namespace": "n", "name": "t"}}
        answer = await api.post(path, **asked, drop=True, site_name="guest")
        assert answer[1]["data"] == {"namespace": "n", "name": "f"}
        assert (await api.ended(answer)).status is LocalStatus.SUCCESS
        _, reply = await api.get("/v2/table/query", namespace="n", name="f")
        assert reply["data"]["count"] == 2
        status, reply = await api.post(path, **asked, drop=False)
        assert (status, reply["code"]) == (409, 7002)
        asked["data_warehouse"]["name"] = "gone"
        assert (await api.post(path, **asked))[1]["code"] == 7001

    on_tables(tmp_path, work)


def test_a_table_is_sent_as_fates_client_unpacks_it(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        query = {"namespace": "n", "name": "t", "path": "/where/the/client/puts/it"}
        async with api.http.get("/v2/data/download", params=query) as reply:
            assert reply.headers["content-type"] == "application/gzip"
            packed = await reply.read()
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            rows = archive.extractfile("data/0.csv")
            assert rows is not None
            assert rows.read().decode() == "id,y,x0\na,1,0.5\nb,0,1.0\n"
        assert list((api.state_dir / "uploads").iterdir()) == []
        assert (await api.get("/v2/data/download", namespace="n", name="gone"))[1]["code"] == 7001

    on_tables(tmp_path, work)


def test_a_table_is_written_on_the_daemons_machine(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        for path, file in (("", "t.csv"), ("mine.csv", "mine.csv")):
            answer = await api.post("/v2/data/component/download", namespace="n", name="t", path=path)
            assert answer[1]["data"]["path"] == str(api.data_dir / file)
            assert (await api.ended(answer)).status is LocalStatus.SUCCESS
            assert (api.data_dir / file).read_text().startswith("id,y,x0\n")
        for path in ("/etc/t.csv", "no/where.csv"):
            assert (await api.post("/v2/data/component/download", namespace="n", name="t", path=path))[0] == 400

    on_tables(tmp_path, work)


def _part(name: str, value: str, filename: str = "") -> bytes:
    named = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return f"--x\r\nContent-Disposition: {named}\r\n\r\n{value}\r\n".encode()


@pytest.mark.parametrize(
    "parts",
    [
        [_part("file", TEXT, "a.csv"), _part("file", TEXT, "b.csv"), _part("head", "1"), _part("meta", "{}")],
        [_part("file", TEXT, "a.csv"), _part("head", "1"), _part("head", "1"), _part("meta", "{}")],
        [_part("file", TEXT, "a.csv"), _part("head", "1"), _part("meta", '{"sample_id_name": "\\ud800"}')],
        [_part("file", TEXT, "a.csv"), _part("head", "1"), _part("meta", "[" * 100_000)],
        [_part("file", TEXT, "a.csv"), *(_part(f"f{i}", "1") for i in range(70))],
    ],
)
def test_a_form_with_too_much_in_it_is_400(tmp_path: Path, parts: list[bytes]) -> None:
    async def work(api: TablesApi) -> None:
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        body = b"".join(parts) + b"--x--\r\n"
        async with api.http.post("/v2/data/component/upload/file", data=body, headers=kind) as reply:
            assert reply.status == 400, await reply.text()
        assert list((api.state_dir / "uploads").iterdir()) == []

    on_tables(tmp_path, work)


def test_a_stream_for_somebody_else_leaves_nothing_behind(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        status, reply = await api.upload(TEXT, role="host", party_id="1")
        assert status == 404, reply
        assert list(api.state_dir.glob("uploads/*")) == []

    on_tables(tmp_path, work)


def test_a_home_that_nobody_has_is_400(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        status, reply = await api.post(
            "/v2/data/component/upload", file="~nobody_at_all/x.csv", namespace="n", name="t"
        )
        assert status == 400, reply
        assert "is no path" in reply["message"]

    on_tables(tmp_path, work)


def test_a_download_replaces_csv_files_alone(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        keep = api.data_dir / "settings.toml"
        keep.write_text("mine")
        asked = {"namespace": "n", "name": "t"}
        status, reply = await api.post("/v2/data/component/download", path="settings.toml", **asked)
        assert (status, keep.read_text()) == (400, "mine"), reply
        for _ in range(2):
            answer = await api.post("/v2/data/component/download", path="out.csv", **asked)
            assert (await api.ended(answer)).status is LocalStatus.SUCCESS

    on_tables(tmp_path, work)
