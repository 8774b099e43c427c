"""Tables: query, preview, lineage; bind, disable, delete."""

from __future__ import annotations

from pathlib import Path

import pytest

from partyd.api.auth import Caller
from partyd.api.endpoint import Access
from partyd.api.tables import Tables
from partyd.data.table import Table
from tests.api.tables_site import TablesApi, on_tables

TEXT = "id,y,x0\na,1,0.5\nb,0,\n"


def test_a_table_is_uploaded_queried_and_deleted(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        _, reply = await api.get("/v2/table/query", namespace="n", name="t")
        data = reply["data"]
        assert (data["count"], data["data_type"], data["engine"]) == (2, "dataframe", "partyd")
        assert data["meta"]["header"] == ["id", "y", "x0"]
        assert data["anonymous"] == ["guest_10000_x0"]
        assert data["schema"]["missing"] == {"x0": 1}
        assert "display" not in data
        _, reply = await api.get("/v2/table/query", namespace="n", name="t", display="True")
        assert reply["data"]["display"] == [["a", 1.0, 0.5], ["b", 0.0, None]]
        for path in ("query", "list"):
            assert [one["name"] for one in (await api.get(f"/v2/table/{path}"))[1]["data"]] == ["t"]
        assert (await api.get("/v2/table/list", namespace="other"))[1]["data"] == []
        assert (await api.post("/v2/table/delete", namespace="n", name="t"))[0] == 200
        for status, reply in (
            await api.post("/v2/table/delete", namespace="n", name="t"),
            await api.get("/v2/table/query", namespace="n", name="t"),
        ):
            assert (status, reply["code"]) == (404, 7001)
            assert "flow data upload" in reply["message"]
        assert not list(api.state_dir.glob("tables/*/*"))
        assert (await api.get("/v2/table/query", name="t"))[0] == 400

    on_tables(tmp_path, work)


def test_a_preview_holds_a_hundred_rows_at_most(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload("id,phone,x\n" + "".join(f"u{i},p{i},{i}\n" for i in range(150)), match_id="phone")
        _, reply = await api.get("/v2/table/preview", namespace="n", name="t")
        assert (reply["data"]["count"], len(reply["data"]["rows"])) == (150, 100)
        assert (reply["data"]["header"], reply["data"]["rows"][3]) == (["id", "phone", "x"], ["u3", "p3", 3.0])
        _, reply = await api.get("/v2/table/preview", namespace="n", name="t", limit=2)
        assert len(reply["data"]["rows"]) == 2
        for limit in (0, 101, "x"):
            assert (await api.get("/v2/table/preview", namespace="n", name="t", limit=limit))[0] == 400

    on_tables(tmp_path, work)


def test_lineage_says_which_jobs_read_a_table_also_when_it_is_gone(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        assert (await api.get("/v2/table/lineage", namespace="n", name="t"))[1]["data"] == []
        await api.catalog.open("n", "t", "20260101", "reader_0")
        await api.post("/v2/table/delete", namespace="n", name="t")
        _, reply = await api.get("/v2/table/lineage", namespace="n", name="t")
        (use,) = reply["data"]
        assert (use["job_id"], use["task_name"], use["is_open"]) == ("20260101", "reader_0", True)
        assert (await api.get("/v2/table/lineage", namespace="n", name="other"))[1]["code"] == 7001

    on_tables(tmp_path, work)


def test_disabling_keeps_jobs_out(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        for path, is_disabled in (("disable", True), ("enable", False)):
            status, reply = await api.post(f"/v2/table/{path}", namespace="n", name="t")
            assert (status, reply["data"]["disabled"]) == (200, is_disabled)
            assert (await api.get("/v2/table/query", namespace="n", name="t"))[1]["data"]["disabled"] is is_disabled
            assert (await api.post(f"/v2/table/{path}", namespace="n", name="gone"))[1]["code"] == 7001

    on_tables(tmp_path, work)


def test_a_path_is_bound_with_nothing_but_its_name(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        file = api.data_dir / "t.csv"
        file.write_text(TEXT)
        status, reply = await api.post("/v2/table/bind/path", namespace="n", name="b", path=str(file))
        assert (status, reply["data"]["engine"], reply["data"]["path"], reply["data"]["count"]) == (
            200,
            "path",
            str(file),
            0,
        )
        assert reply["data"]["meta"]["header"] == []
        _, reply = await api.get("/v2/table/preview", namespace="n", name="b")
        assert reply["data"]["rows"] == [["a", 1.0, 0.5], ["b", 0.0, None]]
        assert (await api.get("/v2/table/query", namespace="n", name="b"))[1]["data"]["count"] == 2
        for path in ("/etc/passwd", "gone.csv", str(api.data_dir)):
            assert (await api.post("/v2/table/bind/path", namespace="n", name="b", path=path))[0] == 400
        for more in ({}, {"path": str(file), "source": "x", "table": "t"}, {"source": "x"}):
            assert (await api.post("/v2/table/bind/path", namespace="n", name="b", **more))[0] == 400
        file.write_text("id,x\nother,1\n")
        status, reply = await api.get("/v2/table/preview", namespace="n", name="b")
        assert (status, "has changed since it was bound" in reply["message"]) == (400, True)
        await api.post("/v2/table/delete", namespace="n", name="b")
        assert file.exists()

    on_tables(tmp_path, work)


def test_a_bound_file_is_read_as_its_meta_says(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        (api.data_dir / "t.csv").write_text("a;1;2\n")
        said = {"head": False, "meta": {"delimiter": ";", "header": "id;y;x", "label_name": "y"}}
        await api.post("/v2/table/bind/path", namespace="n", name="b", path="t.csv", **said)
        _, reply = await api.get("/v2/table/preview", namespace="n", name="b")
        assert reply["data"]["header"] == ["id", "y", "x"]

    on_tables(tmp_path, work)


def test_a_folder_in_our_columns_is_bound_or_adopted(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        folder = api.data_dir / "columns"
        Table.load(api.catalog.folder(await api.catalog.find("n", "t"))).save(folder)
        asked = {"namespace": "n", "path": str(folder)}
        _, reply = await api.post("/v2/table/bind/path", name="b", **asked)
        assert (reply["data"]["count"], reply["data"]["engine"]) == (2, "path")
        _, reply = await api.post("/v2/table/bind/path", name="c", adopt=True, **asked)
        assert (reply["data"]["count"], reply["data"]["engine"], len(reply["data"]["digest"])) == (2, "partyd", 64)
        assert (await api.get("/v2/table/preview", namespace="n", name="b"))[1]["data"]["count"] == 2
        (folder / "schema.json").unlink()
        assert (await api.get("/v2/table/preview", namespace="n", name="b"))[0] == 400
        assert (await api.get("/v2/table/preview", namespace="n", name="c"))[0] == 200

    on_tables(tmp_path, work)


@pytest.mark.needs("sqlalchemy")
def test_a_database_is_named_never_addressed(tmp_path: Path) -> None:
    import sqlite3

    async def work(api: TablesApi) -> None:
        path = tmp_path / "crm.db"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE users (id TEXT, x REAL)")
            database.execute("INSERT INTO users VALUES ('a', 1.5)")
        database.close()
        conf = api.state_dir / "conf" / "sources"
        conf.mkdir(parents=True)
        (conf / "crm.url").write_text(f"sqlite:///{path}")
        (conf / "crm.url").chmod(0o600)
        asked = {"namespace": "n", "name": "s", "source": "crm", "query": "SELECT id, x FROM users"}
        status, reply = await api.post("/v2/table/bind/path", **asked)
        assert (status, reply["data"]["bound"]["source"]) == (200, "crm")
        assert str(path) not in str(reply)
        _, reply = await api.get("/v2/table/preview", namespace="n", name="s")
        assert reply["data"]["rows"] == [["a", 1.5]]
        job = await api.ended(await api.post("/v2/data/component/upload", **{**asked, "name": "u"}))
        assert (job.status, job.rows) == ("success", 1)
        for name in ("nope", f"sqlite:///{path}", "../crm"):
            assert (await api.post("/v2/table/bind/path", **{**asked, "source": name}))[0] == 400

    on_tables(tmp_path, work)


@pytest.mark.parametrize("name", ["..", ".", "~", "Kundenübersicht 2024", "表", "%2e%2e", "x" * 128, "con:", "*"])
def test_names_stay_within_the_tables_directory(tmp_path: Path, name: str) -> None:
    def elsewhere() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if not {"tables", "uploads"} & set(path.parts)}

    async def work(api: TablesApi) -> None:
        before = elsewhere()
        assert (await api.upload(TEXT, namespace=name, name=name))[0] == 200
        assert (await api.get("/v2/table/query", namespace=name, name=name))[1]["data"]["name"] == name
        assert len(list((api.state_dir / "tables").glob("*/*"))) == 1
        assert (await api.post("/v2/table/delete", namespace=name, name=name))[0] == 200
        assert before <= elsewhere()

    on_tables(tmp_path, work)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "x" * 129, "a\nb", "a\0b", "\u202e"])
def test_names_that_are_no_names_are_refused(tmp_path: Path, name: str) -> None:
    async def work(api: TablesApi) -> None:
        assert (await api.upload(TEXT, name=name))[0] == 400
        assert (await api.post("/v2/table/delete", namespace="n", name=name))[0] == 400

    on_tables(tmp_path, work)


def test_rows_are_shown_to_operators_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(api: TablesApi) -> None:
        await api.upload(TEXT)
        viewer = Caller("board", Access.VIEWER, "app")
        monkeypatch.setattr("partyd.api.tables.caller_of", lambda _: viewer)
        status, reply = await api.get("/v2/table/query", namespace="n", name="t", display="true")
        assert (status, reply["code"]) == (403, 5005)
        assert (await api.get("/v2/table/query", namespace="n", name="t", display="false"))[0] == 200
        wanted = {endpoint.path: endpoint.access for endpoint in Tables(api.site, api.jobs).endpoints()}
        assert wanted["/v2/table/preview"] is Access.OPERATOR

    on_tables(tmp_path, work)


def test_another_party_is_404_and_local_is_the_daemons_own(tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        assert (await api.upload(TEXT, role="local", party_id="0"))[0] == 200
        assert (await api.get("/v2/table/list", role="guest", party_id="10000"))[0] == 200
        status, reply = await api.get("/v2/table/list", role="host", party_id="4711")
        assert (status, "10000/guest" in reply["message"]) == (404, True)

    on_tables(tmp_path, work)
