"""Permissions under ``/v2/permission``: the role of an app here, and what of ours a peer may use in its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, Field

from partyd.api.appbook import ROLES, App, AppBook, Name, RoleName, no_app
from partyd.api.apps import OneApp, Status
from partyd.api.endpoint import Access, Asked, Endpoint, Nothing, PartyId
from partyd.api.replies import FateCode, Refusal, success
from partyd.api.site import Site
from partyd.components import NAMES
from partyd.governance import grants
from partyd.governance.grants import Grant
from partyd.jobs.ports import Transaction

MAX_GRANTED = 1000


def _listed(value: object) -> object:
    """Read one data set as a list of one, as FATE does."""
    return [value] if isinstance(value, dict) else value


class DataSet(Asked):
    """A table by namespace and name."""

    namespace: Name
    name: Name


DataSets = Annotated[tuple[DataSet, ...] | Literal["*"], BeforeValidator(_listed), Field(max_length=MAX_GRANTED)]


class AppRole(Asked):
    app_id: Name
    role: RoleName


class Resource(Asked):
    """What of ours a party may use: components (``a,b`` or ``*``) and data sets (a list, or ``*``)."""

    party_id: PartyId
    component: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    dataset: DataSets | None = None

    @property
    def components(self) -> list[str]:
        """The components that are named."""
        return [part.strip() for part in (self.component or "").split(",") if part.strip()]

    @property
    def datasets(self) -> list[object]:
        """The data sets that are named."""
        return ["*"] if isinstance(self.dataset, str) else [one.model_dump() for one in self.dataset or ()]


class ResourceQuery(Asked):
    """Whose grants are asked for; ``component`` and ``dataset`` are taken and, as in FATE, change nothing."""

    party_id: PartyId
    component: Annotated[str, Field(max_length=4096)] = ""
    dataset: Annotated[tuple[str, ...], Field(max_length=8)] = ()


class Granted(BaseModel):
    """What a party may use."""

    component: list[str]
    dataset: list[DataSet | Literal["*"]]


class Permission:
    """The permission endpoints; ``declared`` gives every endpoint of the application, for what a role may do."""

    def __init__(self, site: Site, book: AppBook, declared: Callable[[], Sequence[Endpoint[Any]]]) -> None:
        self._site, self._book, self._declared = site, book, declared

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        admin, roles = Access.ADMIN, dict[str, list[list[str]]]
        return [
            Endpoint("POST", "/v2/permission/grant", self.grant, AppRole, admin, Status),
            Endpoint("POST", "/v2/permission/delete", self.delete, AppRole, admin, Status),
            Endpoint("GET", "/v2/permission/query", self.query, OneApp, admin, roles),
            Endpoint("GET", "/v2/permission/role/query", self.roles, Nothing, Access.VIEWER, list[str]),
            Endpoint("POST", "/v2/permission/resource/grant", self.grant_resource, Resource, admin, Granted),
            Endpoint("POST", "/v2/permission/resource/delete", self.delete_resource, Resource, admin, Granted),
            Endpoint("GET", "/v2/permission/resource/query", self.query_resource, ResourceQuery, admin, Granted),
        ]

    async def grant(self, _: web.Request, asked: AppRole) -> web.Response:
        """Give an app a role, in place of the one it has."""
        app = await self._app(asked.app_id)
        if app.app_type == "site" and ROLES[asked.role] is not Access.VIEWER:
            raise Refusal(
                "the app of a partner's site can be a viewer ('site') and no more; make a client app instead",
                status=400,
                number=FateCode.ROLE_TYPE,
            )
        await self._book.set_role(app, asked.role)
        return success({"status": True})

    async def delete(self, _: web.Request, asked: AppRole) -> web.Response:
        """Take a role from an app; a role it does not have changes nothing."""
        app = await self._app(asked.app_id)
        if app.role != asked.role:
            return success({"status": False})
        await self._book.set_role(app, "")
        return success({"status": True})

    async def query(self, _: web.Request, asked: OneApp) -> web.Response:
        """Return an app's role with what it opens: role, path and method of each endpoint."""
        app = await self._app(asked.app_id)
        if not app.role:
            return success({})
        role = app.role
        opened = [[role, one.path, one.method] for one in self._declared() if one.access <= app.access]
        return success({role: opened})

    async def roles(self, _: web.Request, __: Nothing) -> web.Response:
        """Return the roles there are: ours, then FATE's names for them."""
        return success(list(ROLES))

    async def grant_resource(self, _: web.Request, asked: Resource) -> web.Response:
        """Let a peer use components and data sets of ours in its jobs, in every role that we serve."""
        wanted = self._grant(asked)
        return success(_shown(await self._everywhere(lambda store: grants.grant(store, wanted))))

    async def delete_resource(self, _: web.Request, asked: Resource) -> web.Response:
        """Take from a peer what it was granted; what policy.toml allows stays allowed."""
        unwanted = self._grant(asked)
        return success(_shown(await self._everywhere(lambda store: grants.revoke(store, unwanted))))

    async def query_resource(self, _: web.Request, asked: ResourceQuery) -> web.Response:
        """Return what a peer was granted."""
        store = self._site.node().store
        return success(_shown(await store.read(lambda reader: grants.granted_to(reader, asked.party_id))))

    def _grant(self, asked: Resource) -> Grant:
        if not asked.components and not asked.datasets:
            raise Refusal(
                "name a component or a dataset, or '*' for all of them",
                status=400,
                number=FateCode.PERMISSION_OPERATE,
            )
        return grants.read_grant(asked.party_id, asked.components, asked.datasets, NAMES)

    async def _everywhere(self, change: Callable[[Transaction], Grant]) -> Grant:
        """Change the grants at every node of this daemon: a peer's job may reach any of them."""
        found = [await node.store.write(change) for node in self._site.nodes.values()]
        return found[0]

    async def _app(self, app_id: str) -> App:
        app = await self._book.find(app_id)
        if app is None:
            raise no_app()
        return app


def _shown(grant: Grant) -> dict[str, object]:
    return {
        "component": sorted(grant.components),
        "dataset": [
            one if isinstance(one, str) else {"namespace": one[0], "name": one[1]}
            for one in sorted(grant.datasets, key=str)
        ],
    }
