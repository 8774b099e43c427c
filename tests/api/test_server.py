"""What the daemon says of itself, and FATE's register of servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partyd import __version__
from partyd.api import server
from partyd.layout import FEDERATION_FILE
from tests.api.frame import Api, on_api

GATE = {"server_name": "gate", "host": "10.0.0.1", "port": 80}


def test_the_daemon_says_who_and_where_it_is(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        api.pulse.port = 9380
        _, reply = await api.get("/v2/server/fateflow")
        (instance,) = reply["data"].values()
        assert set(reply["data"]) == {"flow-127.0.0.1-9380"} == {instance["instance_id"]}
        assert (instance["host"], instance["http_port"], instance["version"]) == ("127.0.0.1", 9380, __version__)
        _, reply = await api.get("/v2/site/info/query")
        assert reply["data"] == {"party_id": "10000", "roles": ["guest"], "org": "", "standalone": False}

    on_api(tmp_path, work)


def test_a_standalone_daemon_names_its_siblings(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        parties = [{"address": "9999/host", "url": "http://127.0.0.1:9381", "more": 1}]
        settings = api.site.settings.model_copy(update={"standalone": True})
        (settings.state_dir.parent / FEDERATION_FILE).write_text(json.dumps({"parties": parties}))
        object.__setattr__(api.site, "settings", settings)
        _, reply = await api.get("/v2/site/info/query")
        assert reply["data"]["siblings"] == [{"address": "9999/host", "url": "http://127.0.0.1:9381"}]

    on_api(tmp_path, work)


def test_peers_are_shown_with_their_sessions(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        _, reply = await api.get("/v2/site/peers")
        (peer,) = reply["data"]
        assert (peer["me"], peer["peer"], peer["established"]) == ("10000/guest", "9999/host", False)

    on_api(tmp_path, work)


def test_servers_and_services_are_kept_and_forgotten(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        kept = {**GATE, "server_name": "GATE", "protocol": "http"}
        assert (await api.post("/v2/server/registry", GATE))[1]["data"] == kept
        assert (await api.get("/v2/server/query", server_name="Gate"))[1]["data"] == kept
        assert (await api.get("/v2/server/query/all"))[1]["data"] == [kept]
        service = {"server_name": "gate", "service_name": "open", "uri": "/v1/open", "headers": {"a": "b"}}
        assert (await api.post("/v2/server/service/registry", service))[0] == 200
        query = {"server_name": "gate", "service_name": "open"}
        _, reply = await api.get("/v2/server/service/query", None, **query)
        assert reply["data"]["url"] == "http://10.0.0.1:80/v1/open"
        assert (reply["data"]["method"], reply["data"]["headers"]) == ("POST", {"a": "b"})
        assert (await api.post("/v2/server/service/delete", query))[0] == 200
        assert (await api.get("/v2/server/service/query", None, **query))[1]["code"] == 6003
        for said in ("success", "failed"):
            assert (await api.post("/v2/server/delete", {"server_name": "gate"}))[1]["data"] == said
        for status, reply in (
            await api.get("/v2/server/query", server_name="gate"),
            await api.post("/v2/server/service/registry", service),
        ):
            assert (status, reply["code"]) == (404, 6003)

    on_api(tmp_path, work)


def test_the_register_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_SERVERS", 1)

    async def work(api: Api) -> None:
        for name, expected in (("a", 200), ("b", 409), ("a", 200)):
            assert (await api.post("/v2/server/registry", {**GATE, "server_name": name}))[0] == expected

    on_api(tmp_path, work)


def test_a_backup_is_written_and_a_second_into_the_same_place_is_refused(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        target = {"directory": str(tmp_path / "backup")}
        assert (await api.post("/v2/site/backup", target))[1]["data"] == target
        assert (tmp_path / "backup" / "guest" / "manifest.json").exists()
        assert (await api.post("/v2/site/backup", target))[0] == 400
        assert (await api.post("/v2/site/backup", {"directory": "relative"}))[0] == 400

    on_api(tmp_path, work)
