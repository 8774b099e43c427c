"""Roles of apps, and grants to peers, in FATE's fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from partyd.governance import grants
from tests.api.frame import Api, on_api

TABLE = {"namespace": "experiment", "name": "breast"}


def test_a_role_is_given_shown_and_taken(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = {"app_id": (await api.app_of(""))["app_id"]}
        assert (await api.get("/v2/permission/query", None, **app))[1]["data"] == {}
        assert (await api.post("/v2/permission/grant", {**app, "role": "client"}))[1]["data"] == {"status": True}
        shown = (await api.get("/v2/permission/query", None, **app))[1]["data"]["client"]
        assert ["client", "/v2/site/peers", "GET"] in shown
        assert not any("/app/" in path or "backup" in path for _, path, _ in shown)
        assert (await api.post("/v2/permission/delete", {**app, "role": "admin"}))[1]["data"] == {"status": False}
        assert (await api.post("/v2/permission/grant", {**app, "role": "super_client"}))[0] == 200
        shown = (await api.get("/v2/permission/query", None, **app))[1]["data"]
        assert ["super_client", "/v2/app/client/create", "POST"] in shown["super_client"]
        assert (await api.post("/v2/permission/delete", {**app, "role": "super_client"}))[1]["data"] == {"status": True}
        assert (await api.get("/v2/permission/query", None, **app))[1]["data"] == {}

    on_api(tmp_path, work)


def test_the_roles_are_ours_and_fates(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        roles = (await api.get("/v2/permission/role/query"))[1]["data"]
        assert set(roles) == {"admin", "operator", "viewer", "super_client", "client", "site"}

    on_api(tmp_path, work)


def test_a_site_can_be_a_viewer_and_no_more(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        _, made = await api.post("/v2/app/site/create", {"party_id": "9999"})
        app = {"app_id": made["data"]["app_id"]}
        for role, expected in (("client", 400), ("admin", 400), ("site", 200), ("viewer", 200)):
            status, reply = await api.post("/v2/permission/grant", {**app, "role": role})
            assert (status, reply["code"]) == (expected, 5009 if expected == 400 else 0)

    on_api(tmp_path, work)


def test_an_unknown_app_or_role_is_said(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for path in ("grant", "delete"):
            status, reply = await api.post(f"/v2/permission/{path}", {"app_id": "1", "role": "client"})
            assert (status, reply["code"]) == (404, 5002)
            assert (await api.post(f"/v2/permission/{path}", {"app_id": "1", "role": "king"}))[0] == 400
        assert (await api.get("/v2/permission/query", app_id="1"))[1]["code"] == 5002

    on_api(tmp_path, work)


@pytest.mark.parametrize("dataset", [TABLE, [TABLE]])
def test_a_peer_is_granted_and_denied_components_and_tables(tmp_path: Path, dataset: Any) -> None:
    async def work(api: Api) -> None:
        wanted = {"party_id": "9999", "component": "psi, reader", "dataset": dataset}
        granted = {"component": ["psi", "reader"], "dataset": [TABLE]}
        assert (await api.post("/v2/permission/resource/grant", wanted))[1]["data"] == granted
        assert (await api.get("/v2/permission/resource/query", party_id="9999"))[1]["data"] == granted
        kept = await api.node.store.read(lambda store: grants.granted_to(store, "9999"))
        assert kept.components == {"psi", "reader"}
        left = {"component": ["reader"], "dataset": []}
        unwanted = {"party_id": "9999", "component": "psi", "dataset": "*"}
        assert (await api.post("/v2/permission/resource/delete", unwanted))[1]["data"] == left
        empty = {"component": [], "dataset": []}
        assert (await api.get("/v2/permission/resource/query", party_id="10000"))[1]["data"] == empty
        events = await api.node.store.read(lambda store: [event.kind for event in store.events()])
        assert events[-2:] == ["permission_granted", "permission_revoked"]

    on_api(tmp_path, work)


@pytest.mark.parametrize(
    "body",
    [{"party_id": "9999"}, {"party_id": "9999", "component": " , "}, {"party_id": "a/b", "component": "psi"},
     {"party_id": "9999", "component": "psy"}, {"party_id": "9999", "dataset": "all"},
     {"party_id": "9999", "dataset": {"name": "x"}}, {"party_id": "9999", "dataset": [{"namespace": "", "name": "x"}]},
     {"party_id": "9999", "dataset": [TABLE] * 1001}, {"component": "psi"}],
)  # fmt: skip
def test_a_grant_that_means_nothing_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.post("/v2/permission/resource/grant", body)
        assert status == 400, reply

    on_api(tmp_path, work)
