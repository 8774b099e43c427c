"""The apps that may ask this daemon, and the role of each; kept as documents in the first node's store.

A token is kept as it is, since checking an HMAC needs it: the store's file is readable by its owner alone. FATE's role
names mean ours: ``super_client`` is admin, ``client`` operator, ``site`` viewer. A new app has no role.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from partyd.api.endpoint import Access
from partyd.api.replies import FateCode, Refusal
from partyd.jobs.ports import JobStore, Transaction

APPS, PARTNERS = "apps", "partners"
MAX_APPS = 1000
ROLES: dict[str, Access] = {
    "admin": Access.ADMIN,
    "operator": Access.OPERATOR,
    "viewer": Access.VIEWER,
    "super_client": Access.ADMIN,
    "client": Access.OPERATOR,
    "site": Access.VIEWER,
}
RoleName = Literal["admin", "operator", "viewer", "super_client", "client", "site"]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class App(Document):
    """Somebody who may ask, as far as the role goes."""

    app_id: str
    app_name: str
    app_token: str
    app_type: Literal["client", "site"]
    role: RoleName | Literal[""] = ""
    create_time: int
    """Milliseconds since 1970."""

    @property
    def access(self) -> Access:
        """What the app may ask for."""
        return ROLES.get(self.role, Access.OPEN)


class Partner(Document):
    """What FATE keeps of a partner's site; partyd's parties know each other by pinned keys and need none of it."""

    party_id: str
    app_id: str
    app_token: str


class AppBook:
    """The apps; read once, then kept in memory and written through."""

    def __init__(self, store: Callable[[], JobStore], clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._apps: dict[str, App] | None = None
        self._lock = asyncio.Lock()
        """What is kept and what is in memory change together."""

    async def find(self, app_id: str) -> App | None:
        """Return the app of that id."""
        return (await self._all()).get(app_id)

    async def listing(self, app_id: str = "", app_name: str = "", app_type: str = "") -> list[App]:
        """Return the apps that fit what is given."""
        return [
            app
            for app in (await self._all()).values()
            if app_id in ("", app.app_id) and app_name in ("", app.app_name) and app_type in ("", app.app_type)
        ]

    async def create(self, name: str, kind: Literal["client", "site"], role: RoleName | Literal[""] = "") -> App:
        """Make an app with a new id and token; raises Refusal when there are too many."""
        async with self._lock:
            return await self._create(await self._read(), name, kind, role)

    async def _create(
        self, apps: dict[str, App], name: str, kind: Literal["client", "site"], role: RoleName | Literal[""]
    ) -> App:
        if len(apps) >= MAX_APPS:
            raise Refusal(
                f"there are {MAX_APPS} apps already; delete one with: flow client delete-client --app-id ID",
                status=409,
                number=FateCode.PERMISSION_OPERATE,
            )
        app_id = f"{secrets.randbelow(10**8):08d}"
        while app_id in apps:
            app_id = f"{secrets.randbelow(10**8):08d}"
        app = App(
            app_id=app_id,
            app_name=name,
            app_token=secrets.token_urlsafe(32),
            app_type=kind,
            role=role,
            create_time=int(self._clock() * 1000),
        )
        return await self._keep(app)

    async def set_role(self, app: App, role: RoleName | Literal[""]) -> App:
        """Give an app another role, or none; raises Refusal when it was deleted meanwhile."""
        async with self._lock:
            if app.app_id not in await self._read():
                raise no_app()
            return await self._keep(app.model_copy(update={"role": role}))

    async def delete(self, apps: list[App]) -> bool:
        """Delete apps; return whether there were any."""

        def erase(store: Transaction) -> None:
            for app in apps:
                store.delete_document(APPS, app.app_id)

        async with self._lock:
            known = await self._read()
            await self._store().write(erase)
            gone = [known.pop(app.app_id, None) for app in apps]
        return any(gone)

    async def partners(self, party_id: str = "") -> list[Partner]:
        """Return what was noted of partners."""
        rows = await self._store().read(lambda store: store.documents(PARTNERS, limit=MAX_APPS))
        found = [Partner.model_validate_json(row.document) for row in rows]
        return [partner for partner in found if party_id in ("", partner.party_id)]

    async def note_partner(self, partner: Partner) -> None:
        """Keep what FATE's client says of a partner."""
        packed = partner.model_dump_json().encode()
        await self._store().write(lambda store: store.put_document(PARTNERS, partner.party_id, packed))

    async def forget_partner(self, party_id: str) -> bool:
        """Delete what was noted of a partner; return whether there was anything."""
        return await self._store().write(lambda store: store.delete_document(PARTNERS, party_id))

    async def _keep(self, app: App) -> App:
        packed = app.model_dump_json().encode()
        await self._store().write(lambda store: store.put_document(APPS, app.app_id, packed))
        (await self._read())[app.app_id] = app
        return app

    async def _all(self) -> dict[str, App]:
        if self._apps is not None:
            return self._apps
        async with self._lock:
            return await self._read()

    async def _read(self) -> dict[str, App]:
        if self._apps is None:
            rows = await self._store().read(lambda store: store.documents(APPS, limit=MAX_APPS))
            found = [App.model_validate_json(row.document) for row in rows]
            self._apps = {app.app_id: app for app in found}
        return self._apps


def no_app() -> Refusal:
    """Return the answer for an app that is not there."""
    return Refusal(
        "there is no app of that id; list them with: flow client query-client", status=404, number=FateCode.NO_APP
    )
