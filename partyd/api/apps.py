"""Apps under ``/v2/app`` (where FATE's client looks) and ``/v2``: who may ask this daemon."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from partyd.api.appbook import App, AppBook, Name, Partner, RoleName
from partyd.api.endpoint import Access, Asked, Endpoint, PartyId
from partyd.api.replies import success

PREFIXES = ("/v2/app", "/v2")


class NewClient(Asked):
    """An app for a person or a program."""

    app_name: Name
    role: RoleName | Literal[""] = ""
    """Ours: what it may do at once; FATE's client gives the role afterwards, with permission/grant."""


class OneApp(Asked):
    app_id: Name


class SomeApps(Asked):
    app_id: Annotated[str, Field(max_length=128)] = ""
    app_name: Annotated[str, Field(max_length=128)] = ""


class OneParty(Asked):
    party_id: PartyId


class SomeParties(Asked):
    party_id: PartyId | None = None


class NewPartner(Asked):
    """What a partner's site gave us, in FATE."""

    party_id: PartyId
    app_id: Name
    app_token: Annotated[str, Field(min_length=1, max_length=512)]


class Status(BaseModel):
    """Whether there was anything to change."""

    status: bool


class Apps:
    """The endpoints of client, site and partner."""

    def __init__(self, book: AppBook) -> None:
        self._book = book

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints, at both prefixes."""
        return [endpoint for prefix in PREFIXES for endpoint in self._under(prefix)]

    def _under(self, at: str) -> list[Endpoint[Any]]:
        admin = Access.ADMIN
        return [
            Endpoint("POST", f"{at}/client/create", self.create_client, NewClient, admin, App),
            Endpoint("POST", f"{at}/client/delete", self.delete_client, OneApp, admin, Status),
            Endpoint("GET", f"{at}/client/query", self.query_clients, SomeApps, admin, list[App]),
            Endpoint("POST", f"{at}/site/create", self.create_site, OneParty, admin, App),
            Endpoint("POST", f"{at}/site/delete", self.delete_site, OneParty, admin, Status),
            Endpoint("GET", f"{at}/site/query", self.query_sites, OneParty, admin, list[App]),
            Endpoint("POST", f"{at}/partner/create", self.create_partner, NewPartner, admin, Partner),
            Endpoint("POST", f"{at}/partner/delete", self.delete_partner, OneParty, admin, Status),
            Endpoint("GET", f"{at}/partner/query", self.query_partners, SomeParties, admin, list[Partner]),
        ]

    async def create_client(self, _: web.Request, asked: NewClient) -> web.Response:
        """Make an app for a person or a program; its token is what signs its requests."""
        return success((await self._book.create(asked.app_name, "client", asked.role)).model_dump())

    async def delete_client(self, _: web.Request, asked: OneApp) -> web.Response:
        """Delete an app; what it signs is refused from now on."""
        found = await self._book.listing(app_id=asked.app_id, app_type="client")
        return success({"status": await self._book.delete(found)})

    async def query_clients(self, _: web.Request, asked: SomeApps) -> web.Response:
        """Return the apps of an id or a name, or all, with their tokens."""
        found = await self._book.listing(asked.app_id, asked.app_name)
        return success([app.model_dump() for app in found])

    async def create_site(self, _: web.Request, asked: OneParty) -> web.Response:
        """Make an app for a partner's site; give it to them to look at what runs here."""
        return success((await self._book.create(asked.party_id, "site")).model_dump())

    async def delete_site(self, _: web.Request, asked: OneParty) -> web.Response:
        """Delete the apps of a partner's site."""
        found = await self._book.listing(app_name=asked.party_id, app_type="site")
        return success({"status": await self._book.delete(found)})

    async def query_sites(self, _: web.Request, asked: OneParty) -> web.Response:
        """Return the apps of a partner's site."""
        found = await self._book.listing(app_name=asked.party_id, app_type="site")
        return success([app.model_dump() for app in found])

    async def create_partner(self, _: web.Request, asked: NewPartner) -> web.Response:
        """Note what a partner's site gave us; parties know each other by pinned keys, so nothing follows from it."""
        partner = Partner(party_id=asked.party_id, app_id=asked.app_id, app_token=asked.app_token)
        await self._book.note_partner(partner)
        return success(partner.model_dump())

    async def delete_partner(self, _: web.Request, asked: OneParty) -> web.Response:
        """Forget what was noted of a partner."""
        return success({"status": await self._book.forget_partner(asked.party_id)})

    async def query_partners(self, _: web.Request, asked: SomeParties) -> web.Response:
        """Return what was noted of a partner, or of all."""
        return success([partner.model_dump() for partner in await self._book.partners(asked.party_id or "")])
