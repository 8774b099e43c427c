"""``flow data`` and ``flow table`` against the daemon's own endpoints, over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest

from partyd.cli.flow import run
from partyd.client import AsyncClient, Client, CsvColumns, Party
from tests.api.tables_site import TablesApi, on_tables

ROWS = "id,y,x0,x1\n" + "".join(f"u{i},{i % 2},{i},{i / 2}\n" for i in range(50))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "guest.csv"
    path.write_text(ROWS)
    return path


async def flow(api: TablesApi, words: str) -> int:
    url = str(api.http.make_url("")).rstrip("/")
    return await asyncio.to_thread(run, ["--url", url, *words.split()])


def test_a_table_from_upload_to_deletion(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(api: TablesApi) -> None:
        def said() -> str:
            return capsys.readouterr().out

        assert await flow(api, f"data upload --file {file} -ns demo -n guest --label y") == 0
        assert "demo/guest: 50 rows, 2 features\n  id id, label y\n  features x0, x1" in said()
        assert await flow(api, "table query -ns demo -n guest -d true") == 0
        assert "u0   0  0   0" in said()
        assert await flow(api, "table preview -ns demo -n guest --limit 2") == 0
        assert "2 of 50 rows" in said()
        assert await flow(api, "table disable -ns demo -n guest") == 0
        assert await flow(api, "table list") == 0
        assert "disabled" in said()
        assert await flow(api, "table enable -ns demo -n guest") == 0
        assert await flow(api, "table lineage -ns demo -n guest") == 0
        assert "no job has used demo/guest" in said()
        assert await flow(api, f"data download -ns demo -n guest -o {tmp_path / 'out'}") == 0
        assert [path.read_text().count("\n") for path in (tmp_path / "out").rglob("*.csv")] == [51]
        assert await flow(api, f"data download-component -ns demo -n guest -o {api.data_dir / 'out.csv'}") == 0
        assert (api.data_dir / "out.csv").read_text().startswith("id,y,x0,x1\n")
        (api.data_dir / "bound.csv").write_text(ROWS)
        assert await flow(api, f"table bind -ns demo -n bound -o {api.data_dir / 'bound.csv'}") == 0
        assert await flow(api, "table delete -ns demo -n guest") == 0
        said()
        assert await flow(api, "table query -ns demo -n guest") == 1
        assert "no table demo/guest" in capsys.readouterr().err

    on_tables(tmp_path, work)


def test_fates_configuration_here_and_there(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def work(api: TablesApi) -> None:
        meta = {"delimiter": ",", "label_name": "y", "match_id_name": "id", "sample_id_name": "id", "dtype": "float32"}
        conf = {"head": True, "partitions": 4, "meta": meta, "namespace": "demo", "name": "here"}
        here, there, warehouse = tmp_path / "here.json", tmp_path / "there.json", tmp_path / "transform.json"
        here.write_text(json.dumps({**conf, "file": str(file)}))
        assert await flow(api, f"data upload -c {here}") == 0
        assert "demo/here: 50 rows" in capsys.readouterr().out
        (api.data_dir / "there.csv").write_text(ROWS)
        there.write_text(json.dumps({**conf, "name": "there", "file": "there.csv"}))
        assert await flow(api, f"data upload-file -c {there}") == 0
        there.write_text(json.dumps({**conf, "name": "bad", "file": str(file), "meta": {**meta, "label_name": "z"}}))
        assert await flow(api, f"data upload -c {there}") == 1
        assert "'z'" in capsys.readouterr().err
        source = {"namespace": "demo", "name": "here"}
        warehouse.write_text(json.dumps({"namespace": "demo", "name": "copy", "data_warehouse": source}))
        assert await flow(api, f"data transformer -c {warehouse}") == 0
        assert "demo/copy: 50 rows" in capsys.readouterr().out

    on_tables(tmp_path, work)


def test_both_clients_upload_the_same(file: Path, tmp_path: Path) -> None:
    async def work(api: TablesApi) -> None:
        url = str(api.http.make_url("")).rstrip("/")

        def by_hand() -> list[str]:
            with Client(url) as client:
                tables = [
                    client.upload(file, "demo", "a"),
                    client.upload(io.BytesIO(ROWS.encode()), "demo", "b", party=Party("guest", "10000")),
                    client.upload_text(ROWS, "demo", "c", CsvColumns(label="y", sample_id="id", delimiter=",")),
                    client.upload_text(
                        ROWS.split("\n", 1)[1], "demo", "d", CsvColumns(header=False, names=("id", "y", "x0", "x1"))
                    ),
                ]
                assert client.preview("demo", "a").header == ("id", "y", "x0", "x1")
                assert len(client.tables()) == 4
            return [table.digest for table in tables]

        digests = await asyncio.to_thread(by_hand)
        async with AsyncClient(url) as client:
            digests.append((await client.upload(file, "demo", "e")).digest)
        assert len(set(digests)) == 1

    on_tables(tmp_path, work)
