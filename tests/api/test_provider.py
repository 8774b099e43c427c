"""Providers: what is built in is shown under FATE's name, and nothing else can be put in."""

from __future__ import annotations

from pathlib import Path

from partyd import __version__
from partyd.components import NAMES
from tests.api.frame import Api, on_api

OTHER = {"name": "fate", "device": "local", "version": "9", "metadata": {"path": "/tmp/code", "venv": "/tmp/python"}}


def test_the_components_stand_under_fates_name_and_ours(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        _, reply = await api.get("/v2/provider/query")
        assert [one["provider_name"] for one in reply["data"]] == ["fate:2.2.0@local", f"partyd:{__version__}@local"]
        assert all(one["component_list"] == sorted(NAMES) for one in reply["data"])
        for query, count in [
            ({"name": "fate"}, 1), ({"provider_name": "fate:2.2.0@local"}, 1), ({"device": "local"}, 2),
            ({"version": "1.0"}, 0), ({"name": "fate", "device": "docker"}, 0),
        ]:  # fmt: skip
            assert len((await api.get("/v2/provider/query", None, **query))[1]["data"]) == count

    on_api(tmp_path, work)


def test_no_provider_is_registered_or_deleted(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.post("/v2/provider/register", OTHER)
        assert (status, reply["code"]) == (403, 4001)
        assert "run code" in reply["message"]
        assert (await api.post("/v2/provider/delete", {"name": "fate"}))[0] == 403
        assert (await api.post("/v2/provider/delete", {"name": "other"}))[1]["data"] is False
        assert len((await api.get("/v2/provider/query"))[1]["data"]) == 2

    on_api(tmp_path, work)


def test_a_component_says_what_it_takes(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        _, reply = await api.get("/v2/component/query", name="reader")
        (reader,) = reply["data"]
        assert set(reader["parameters"]) >= {"namespace", "name"}
        assert reader["outputs"][0]["name"] == "output_data"
        assert "guest" in reader["roles"]
        _, reply = await api.get("/v2/component/query")
        assert [one["name"] for one in reply["data"]] == sorted(NAMES)
        assert all(one["parameters"] is None for one in reply["data"])
        _, reply = await api.get("/v2/component/query", name="psi")
        assert reply["data"][0]["disclosures"]
        status, reply = await api.get("/v2/component/query", name="raeder")
        assert (status, "reader" in reply["message"]) == (404, True)

    on_api(tmp_path, work)
