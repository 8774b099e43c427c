from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.jobs.order import WorkOrder
from partyd.jobs.workers import Exit, Handler
from tests.api.shopfront import MODEL, SCALED, TOY, Front, at_front, dag, source, table

JUDGED = dag(
    {
        "reader_0": {"component_ref": "reader", "parameters": {"namespace": "n", "name": "t"}},
        "evaluation_0": {"component_ref": "evaluation", "inputs": {"data": {"input_datas": source("reader_0")}}},
    }
)


def test_metrics_have_fates_shape(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()
        task = {"job_id": job, "role": "guest", "party_id": "10000", "task_name": "toy_0"}
        loss, document = await api.data("/v2/output/metric/query", **task)
        assert set(loss) == {"name", "type", "groups", "step_axis", "data"}
        assert (loss["name"], loss["type"], loss["step_axis"], loss["groups"]) == ("loss", "loss", "iterations", [])
        assert [(p["metric"], p["val"], p["step"]) for p in loss["data"]] == [(0.5, 0.5, 0), (0.25, 0.25, 1)]
        assert all(p["timestamp"] > 1.7e9 for p in loss["data"])
        assert (document["name"], document["step_axis"], document["data"]) == ("toy_example", None, {"count": 3})
        keys = await api.data("/v2/output/metric/key/query", **task)
        assert keys[0] == {"name": "loss", "type": "loss", "groups": [], "step_axis": "iterations"}
        assert len(await api.data("/v2/output/metric/query", **task, filters='{"name": "loss"}')) == 1
        assert await api.data("/v2/output/metric/query", **task, type="auc") == []
        for filters in ("name", "[]", '{"password": 1}', "{", "[" * 2000):
            assert (await api.get("/v2/output/metric/query", **task, filters=filters))[0] == 400

    at_front(tmp_path, scene)


def test_an_evaluation_comes_first_under_its_name(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(JUDGED)
        found = await api.data("/v2/output/metric/query", job_id=job, task_name="evaluation_0")
        assert (found[0]["name"], found[0]["data"]) == ("evaluation", {"count": 3})

    at_front(tmp_path, scene)


def test_metrics_that_json_cannot_hold_are_null(tmp_path: Path) -> None:
    async def infinite(order: WorkOrder, handler: Handler) -> Exit:
        await handler("metric", ["loss", 0, float("nan")])
        return Exit("done")

    async def scene(api: Front) -> None:
        job = await api.run()
        (loss,) = await api.data("/v2/output/metric/query", job_id=job, task_name="toy_0")
        assert loss["data"][0]["metric"] is None

    at_front(tmp_path, scene, infinite)


def test_metrics_are_deleted(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        task = {"job_id": job, "role": "guest", "party_id": "10000", "task_name": "scale_0"}
        assert (await api.post("/v2/output/metric/delete", task))[1]["data"] is True
        assert await api.data("/v2/output/metric/query", **task) == []
        assert (await api.post("/v2/output/metric/delete", task))[1]["data"] is False
        assert await api.data("/v2/output/model/query", **task) == {"output_model": MODEL}

    at_front(tmp_path, scene)


def test_models_are_shown_downloaded_and_deleted(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        task = {"job_id": job, "role": "guest", "party_id": "10000", "task_name": "scale_0"}
        assert (await api.data("/v2/output/model/query", **task))["output_model"] == MODEL
        status, kind, content = await api.fetch("GET", "/v2/output/model/download", **task)
        assert (status, kind) == (200, "application/x-tar")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert archive.getnames() == ["output_model.json"]
            file = archive.extractfile("output_model.json")
            assert file is not None
            assert json.load(file) == MODEL
        status, reply = await api.post("/v2/output/model/delete", task)
        assert (status, reply["data"]) == (200, {"count": 1})
        assert await api.data("/v2/model/query", job_id=job) == []
        status, reply = await api.post("/v2/output/model/delete", task)
        assert (status, reply["code"]) == (404, 2005)
        for path in ("query", "download"):
            status, reply = await api.get(f"/v2/output/model/{path}", **task | {"task_name": "psi_0"})
            assert (status, reply["code"]) == ((200, 0) if path == "query" else (404, 2005))

    at_front(tmp_path, scene)


def read_as_fates_client(content: bytes, folder: Path) -> dict[str, list[list[str]]]:
    """Read a download as the SDK does: extract, the first entry's folders are output keys with CSV files in them."""
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None, "the SDK extracts files alone"
            (folder / "output_data" / member.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "output_data" / member.name).write_bytes(file.read())
    found = {}
    for key in (folder / "output_data").iterdir():
        (table,) = [path for path in key.iterdir() if path.name.endswith("csv")]
        found[key.name] = list(csv.reader(table.read_text().splitlines()))
    return found


def test_tables_are_downloaded_as_fates_client_reads_them(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        task = {"job_id": job, "role": "guest", "party_id": "10000", "task_name": "split_0", "path": "/tmp/x"}
        status, kind, content = await api.fetch("GET", "/v2/output/data/download", **task)
        assert (status, kind) == (200, "application/gzip")
        tables = read_as_fates_client(content, tmp_path / "all")
        assert set(tables) == {"train_output_data", "validate_output_data", "test_output_data"}
        assert tables["train_output_data"][:2] == [["id", "x0", "x1"], ["id0", "0.0", "0.25"]]
        _, _, content = await api.fetch("GET", "/v2/output/data/download", output_key="test_output_data", **task)
        assert set(read_as_fates_client(content, tmp_path / "one")) == {"test_output_data"}
        status, _, content = await api.fetch("GET", "/v2/output/data/download", output_key="nope", **task)
        assert (status, json.loads(content)["code"]) == (400, 5001)
        assert "train_output_data" in json.loads(content)["message"]
        status, _, content = await api.fetch("GET", "/v2/output/data/download", **task | {"task_name": "toy_0"})
        assert (status, json.loads(content)["code"]) == (404, 2000)
        assert not list((api.node.settings.state_dir / "downloads").iterdir())

    at_front(tmp_path, scene)


def test_a_table_that_is_broken_is_an_answer_and_no_half_file(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        folder = api.node.runner.folder(job, "psi_0") / "output_data"
        (folder / "schema.json").write_text("{")
        status, _, content = await api.fetch("GET", "/v2/output/data/download", job_id=job, task_name="psi_0")
        assert status in (400, 500)
        assert "CSV" in json.loads(content)["message"]

    at_front(tmp_path, scene)


def test_several_tables_of_one_port_are_numbered(tmp_path: Path) -> None:
    async def several(order: WorkOrder, handler: Handler) -> Exit:
        for number, rows in enumerate((2, 5)):
            table(rows).save(Path(order.outputs) / "output_data" / str(number))
        return Exit("done")

    job_of = dag({"reader_0": {"component_ref": "reader", "parameters": {"namespace": "n", "name": "t"}}})

    async def scene(api: Front) -> None:
        job = await api.run(job_of)
        names = (await api.data("/v2/output/data/table", job_id=job, task_name="reader_0"))["output_data"]
        assert [entry["name"] for entry in names] == ["output_data_0", "output_data_1"]
        shown = await api.data("/v2/output/data/display", job_id=job, task_name="reader_0")
        assert [entry["total"] for entry in shown["output_data"]] == [2, 5]
        _, _, content = await api.fetch("GET", "/v2/output/data/download", job_id=job, task_name="reader_0")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert [name for name in archive.getnames() if name.endswith("csv")] == [
                "output_data/0.csv",
                "output_data/1.csv",
            ]

    at_front(tmp_path, scene, several)


def test_tables_are_named_and_shown_row_by_row(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        task = {"job_id": job, "role": "guest", "party_id": "10000", "task_name": "psi_0"}
        status, reply = await api.get("/v2/output/data/table", **task)
        assert (status, reply["code"]) == (200, 0)
        (entry,) = reply["output_data"]
        assert reply["data"]["output_data"] == [entry]
        assert set(entry) == {"namespace", "name"}
        status, reply = await api.get("/v2/output/data/display", **task)
        (shown,) = reply["output_data"]
        assert shown["data"] == [["id0", 0.0, 0.25], ["id1", 0.5, 0.75], ["id2", 1.0, 1.25]]
        assert (shown["total"], shown["metadata"]["header"]) == (3, ["id", "x0", "x1"])
        data = reply["data"]
        assert (data["count"], data["header"], len(data["rows"])) == (3, ["id", "x0", "x1"], 3)
        part = await api.data("/v2/output/data/display", **task, begin=1, limit=1)
        assert part["rows"] == [["id1", 0.5, 0.75]]
        assert (await api.data("/v2/output/data/display", **task, begin=99))["rows"] == []
        for wrong in ({"limit": 101}, {"begin": -1}, {"output_key": "../../x"}, {"output_key": "/etc"}):
            assert (await api.get("/v2/output/data/display", **task, **wrong))[0] == 400

    at_front(tmp_path, scene)


PATHS = (
    "metric/key/query",
    "metric/query",
    "model/query",
    "model/download",
    "data/download",
    "data/table",
    "data/display",
)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_not_here_has_fates_codes(tmp_path: Path, path: str) -> None:
    async def scene(api: Front) -> None:
        job = await api.submit(TOY)
        asked: list[tuple[dict[str, Any], int, int, str]] = [
            ({"job_id": "2099", "task_name": "toy_0"}, 404, 1001, "flow job list"),
            ({"job_id": job, "task_name": "nope"}, 404, 2000, "toy_0"),
            ({"job_id": job, "task_name": "toy_0", "role": "host", "party_id": "9999"}, 404, 1001, "10000/guest"),
            ({"job_id": job}, 400, 101, "task_name"),
        ]
        for query, status, code, said in asked:
            found, reply = await api.get(f"/v2/output/{path}", **query)
            assert (found, reply["code"]) == (status, code)
            assert said in reply["message"]

    at_front(tmp_path, scene)


def test_no_output_key_hides_a_field_of_an_answer() -> None:
    names = {port.name for component in COMPONENTS.values() for port in component.outputs}
    assert not names & {"code", "message", "data", "count", "header", "rows", "job_id"}
