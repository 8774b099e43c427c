"""Apps: FATE's fields at both of its paths, tokens for admins alone, and what is kept over a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from partyd.api import appbook
from partyd.api.appbook import AppBook
from partyd.api.replies import Refusal
from tests.api.frame import OWNER, Api, on_api


@pytest.mark.parametrize("at", ["/v2/app", "/v2"])
def test_a_client_is_made_found_and_deleted(tmp_path: Path, at: str) -> None:
    async def work(api: Api) -> None:
        _, made = await api.post(f"{at}/client/create", {"app_name": "Anna"})
        app = made["data"]
        assert app["app_name"] == "Anna"
        assert (app["app_type"], app["role"], len(app["app_id"])) == ("client", "", 8)
        assert len(app["app_token"]) == 43
        for query in ({"app_id": app["app_id"]}, {"app_name": "Anna"}, {}):
            assert (await api.get(f"{at}/client/query", None, **query))[1]["data"] == [app]
        assert (await api.get(f"{at}/client/query", app_name="Bob"))[1]["data"] == []
        for expected in (True, False):
            _, reply = await api.post(f"{at}/client/delete", {"app_id": app["app_id"]})
            assert reply["data"] == {"status": expected}

    on_api(tmp_path, work)


def test_a_site_and_a_partner_are_kept_as_fate_keeps_them(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        _, made = await api.post("/v2/app/site/create", {"party_id": 9999})
        assert (made["data"]["app_name"], made["data"]["app_type"]) == ("9999", "site")
        assert (await api.get("/v2/app/site/query", party_id="9999"))[1]["data"] == [made["data"]]
        assert (await api.post("/v2/app/client/delete", {"app_id": made["data"]["app_id"]}))[1]["data"][
            "status"
        ] is False
        assert (await api.post("/v2/app/site/delete", {"party_id": "9999"}))[1]["data"]["status"] is True
        partner = {"party_id": "9999", "app_id": "1", "app_token": "t"}
        assert (await api.post("/v2/app/partner/create", partner))[1]["data"] == partner
        for query in ({"party_id": "9999"}, {}):
            assert (await api.get("/v2/app/partner/query", None, **query))[1]["data"] == [partner]
        assert (await api.post("/v2/app/partner/delete", {"party_id": "9999"}))[1]["data"]["status"] is True
        assert (await api.get("/v2/app/partner/query"))[1]["data"] == []

    on_api(tmp_path, work)


@pytest.mark.parametrize("role", ["viewer", "operator", ""])
def test_nobody_but_an_admin_sees_or_makes_apps(tmp_path: Path, role: str) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of(role)
        for kind, query in (("client", ""), ("site", "?party_id=1"), ("partner", "")):
            target = f"/v2/app/{kind}/query{query}"
            assert (await api.get(target, api.signed(app, "GET", target)))[0] == 403
            target = f"/v2/app/{kind}/create"
            assert (await api.post(target, b"{}", api.signed(app, "POST", target, b"{}")))[0] == 403

    on_api(tmp_path, work, token=True)


def test_an_app_is_still_there_after_a_restart(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        app = await api.app_of("viewer")
        again = AppBook(lambda: api.node.store)
        found = await again.find(app["app_id"])
        assert found is not None
        assert found.model_dump() == app

    on_api(tmp_path, work, token=True)


def test_the_number_of_apps_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appbook, "MAX_APPS", 2)

    async def work(api: Api) -> None:
        statuses = [(await api.post("/v2/client/create", {"app_name": "x"}))[0] for _ in range(3)]
        assert statuses == [200, 200, 409]

    on_api(tmp_path, work)


@pytest.mark.parametrize(
    "body",
    [{}, {"app_name": ""}, {"app_name": "x" * 129}, {"app_name": "x", "role": "root"}, {"app_name": ["x"]},
     {"app_name": "x", "app_token": "mine"}, {"app_name": "x", "app_type": "admin"}],
)  # fmt: skip
def test_a_request_that_does_not_fit_makes_nothing(tmp_path: Path, body: dict[str, object]) -> None:
    async def work(api: Api) -> None:
        assert (await api.post("/v2/app/client/create", body, OWNER))[0] == 400
        assert (await api.get("/v2/app/client/query", OWNER))[1]["data"] == []

    on_api(tmp_path, work)


def test_an_app_that_is_deleted_meanwhile_gets_no_role(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        made = (await api.post("/v2/app/client/create", {"app_name": "Anna"}))[1]["data"]
        asked = {"app_id": made["app_id"]}
        (_, gone), (status, _) = await asyncio.gather(
            api.post("/v2/app/client/delete", asked), api.post("/v2/permission/grant", asked | {"role": "admin"})
        )
        assert gone["data"] == {"status": True}
        assert status in (200, 404)
        assert (await api.get("/v2/app/client/query", **asked))[1]["data"] == []

    on_api(tmp_path, work)


def test_a_role_for_an_app_that_was_deleted_just_now_is_refused(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        book = AppBook(lambda: api.site.node().store)
        app = await book.create("Anna", "client")
        await book.delete([app])
        with pytest.raises(Refusal, match="no app"):
            await book.set_role(app, "admin")
        assert await book.listing() == []

    on_api(tmp_path, work)
