"""What the daemon says of itself, its site and its peers: ``/v2/server`` and ``/v2/site``.

FATE keeps a register of other servers and their services there. It is kept here too, for scripts that write it and read
it back; partyd calls no server of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from partyd import __version__
from partyd.api.endpoint import Access, Asked, Endpoint, Nothing
from partyd.api.replies import BadRequest, FateCode, Refusal, success
from partyd.api.site import Site, SiteStore
from partyd.layout import FEDERATION_FILE
from partyd.trust import has_expired, now_s

SERVERS, SERVICES = "servers", "services"
MAX_SERVERS = 1000
Name = Annotated[str, Field(min_length=1, max_length=128)]
Texts = dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=1024)]]


class OneServer(Asked):
    server_name: Name


class NewServer(Asked):
    """Another server."""

    server_name: Name
    host: Annotated[str, Field(min_length=1, max_length=255)]
    port: Annotated[int, Field(ge=1, le=65_535)]
    protocol: Annotated[str, Field(max_length=16)] = "http"


class OneService(Asked):
    server_name: Name
    service_name: Name


class NewService(Asked):
    """A call that a server offers."""

    server_name: Name
    service_name: Name
    uri: Annotated[str, Field(min_length=1, max_length=1024)]
    method: Annotated[str, Field(max_length=16)] = "POST"
    params: Annotated[Texts, Field(max_length=64, default_factory=dict)]
    data: Annotated[Texts, Field(max_length=64, default_factory=dict)]
    headers: Annotated[Texts, Field(max_length=64, default_factory=dict)]
    protocol: Annotated[str, Field(max_length=16)] = "http"


class Backup(Asked):
    directory: Annotated[str, Field(min_length=1, max_length=4096)]
    """A new directory on the daemon's machine, as an absolute path."""


class ServerEntry(BaseModel):
    server_name: str
    host: str
    port: int
    protocol: str


class ServiceEntry(BaseModel):
    server_name: str
    service_name: str
    url: str
    method: str
    params: Texts
    data: Texts
    headers: Texts


class Instance(BaseModel):
    """A daemon, as FATE's client looks for it."""

    instance_id: str
    timestamp: int
    version: str
    host: str
    http_port: int
    grpc_port: int | None
    """FATE's other port; partyd has none."""


class Sibling(BaseModel):
    address: str
    url: str


class SiteInfo(BaseModel):
    party_id: str
    roles: list[str]
    org: str
    standalone: bool
    siblings: list[Sibling] = []


class Peer(BaseModel):
    me: str
    peer: str
    fingerprint: str
    card_not_after: int
    card_expired: bool
    established: bool
    silent: bool
    outbox_messages: int
    outbox_bytes: int


class Server:
    """The server and site endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        admin, viewer = Access.ADMIN, Access.VIEWER
        return [
            Endpoint("GET", "/v2/server/fateflow", self.server, Nothing, viewer, dict[str, Instance]),
            Endpoint("GET", "/v2/server/query/all", self.servers, Nothing, viewer, list[ServerEntry]),
            Endpoint("GET", "/v2/server/query", self.query, OneServer, viewer, ServerEntry),
            Endpoint("POST", "/v2/server/registry", self.registry, NewServer, admin, ServerEntry),
            Endpoint("POST", "/v2/server/delete", self.delete, OneServer, admin, Literal["success", "failed"]),
            Endpoint("GET", "/v2/server/service/query", self.service, OneService, admin, ServiceEntry),
            Endpoint("POST", "/v2/server/service/registry", self.register_service, NewService, admin),
            Endpoint("POST", "/v2/server/service/delete", self.delete_service, OneService, admin),
            Endpoint("GET", "/v2/site/info/query", self.site_info, Nothing, viewer, SiteInfo),
            Endpoint("GET", "/v2/site/peers", self.peers, Nothing, viewer, list[Peer]),
            Endpoint("POST", "/v2/site/backup", self.backup, Backup, admin, Backup, timeout_s=None),
        ]

    async def server(self, _: web.Request, __: Nothing) -> web.Response:
        """Return what answers, by its instance id."""
        host, port = self._site.settings.http.host, self._site.pulse.port
        instance = f"flow-{host}-{port}"
        found = Instance(
            instance_id=instance,
            timestamp=int(time.time() * 1000),
            version=__version__,
            host=host,
            http_port=port,
            grpc_port=None,
        )
        return success({instance: found.model_dump()})

    async def servers(self, _: web.Request, __: Nothing) -> web.Response:
        """Return every server that was registered."""
        rows = await self._store.read(lambda store: store.documents(SERVERS, limit=MAX_SERVERS))
        return success([json.loads(row.document) for row in rows])

    async def query(self, _: web.Request, asked: OneServer) -> web.Response:
        """Return a server that was registered."""
        return success(await self._registered(SERVERS, asked.server_name.upper()))

    async def registry(self, _: web.Request, asked: NewServer) -> web.Response:
        """Keep a server's host and port, in place of what was kept; nothing here calls it."""
        entry = ServerEntry(**asked.model_dump() | {"server_name": asked.server_name.upper()})
        await self._keep(SERVERS, entry.server_name, entry)
        return success(entry.model_dump())

    async def delete(self, _: web.Request, asked: OneServer) -> web.Response:
        """Forget a server."""
        key = asked.server_name.upper()
        is_gone = await self._store.write(lambda store: store.delete_document(SERVERS, key))
        return success("success" if is_gone else "failed")

    async def service(self, _: web.Request, asked: OneService) -> web.Response:
        """Return a service of a server."""
        return success(await self._registered(SERVICES, _service_key(asked.server_name, asked.service_name)))

    async def register_service(self, _: web.Request, asked: NewService) -> web.Response:
        """Keep how a server's service is called; nothing here calls it."""
        server = ServerEntry(**await self._registered(SERVERS, asked.server_name.upper()))
        entry = ServiceEntry(
            server_name=server.server_name,
            service_name=asked.service_name,
            url=f"{server.protocol}://{server.host}:{server.port}{asked.uri}",
            method=asked.method,
            params=asked.params,
            data=asked.data,
            headers=asked.headers,
        )
        await self._keep(SERVICES, _service_key(asked.server_name, asked.service_name), entry)
        return success()

    async def delete_service(self, _: web.Request, asked: OneService) -> web.Response:
        """Forget a service."""
        key = _service_key(asked.server_name, asked.service_name)
        await self._store.write(lambda store: store.delete_document(SERVICES, key))
        return success()

    async def site_info(self, _: web.Request, __: Nothing) -> web.Response:
        """Say who this daemon is."""
        settings = self._site.settings
        found = SiteInfo(
            party_id=settings.party_id,
            roles=[role.label for role in settings.roles],
            org=settings.org,
            standalone=settings.standalone,
            siblings=await self._siblings() if settings.standalone else [],
        )
        return success(found.model_dump(exclude=set() if settings.standalone else {"siblings"}))

    async def _siblings(self) -> list[Sibling]:
        path = self._site.settings.state_dir.parent / FEDERATION_FILE
        federation = json.loads(await asyncio.to_thread(path.read_text))
        return [Sibling(address=one["address"], url=one["url"]) for one in federation["parties"]]

    async def peers(self, _: web.Request, __: Nothing) -> web.Response:
        """Return every pinned peer: session, silence, what waits for it, its card's end."""
        found = []
        for me, node in self._site.nodes.items():
            for peer, pinned in node.peers.items():
                link = node.office.links.get(peer)
                found.append(
                    Peer(
                        me=str(me),
                        peer=str(peer),
                        fingerprint=str(pinned.fingerprint),
                        card_not_after=pinned.card.not_after,
                        card_expired=has_expired(pinned.card, now_s()),
                        established=bool(link and link.session.established),
                        silent=bool(link and link.is_suspect),
                        outbox_messages=len(link.waiting) if link else 0,
                        outbox_bytes=link.waiting_bytes if link else 0,
                    ).model_dump()
                )
        return success(found)

    async def backup(self, _: web.Request, asked: Backup) -> web.Response:
        """Write a backup of every store here into a new directory on this machine."""
        target = Path(asked.directory)
        if not target.is_absolute():
            raise BadRequest("directory must be an absolute path on the daemon's machine")
        for address, node in self._site.nodes.items():
            await node.store.backup_to(target / address.role.label)
        return success({"directory": str(target)})

    @property
    def _store(self) -> SiteStore:
        return self._site.node().store

    async def _registered(self, collection: str, key: str) -> dict[str, Any]:
        found = await self._store.read(lambda store: store.document(collection, key))
        if found is None:
            raise Refusal(f"nothing is registered as {key!r} here", status=404, number=FateCode.NO_SERVER)
        document = json.loads(found)
        assert isinstance(document, dict)
        return document

    async def _keep(self, collection: str, key: str, entry: BaseModel) -> None:
        packed = entry.model_dump_json().encode()
        rows = await self._store.read(lambda store: store.documents(collection, limit=MAX_SERVERS))
        if len(rows) >= MAX_SERVERS and key not in {row.key for row in rows}:
            raise Refusal(
                f"{MAX_SERVERS} are registered already; delete one", status=409, number=FateCode.FUNCTION_RESTRICTED
            )
        await self._store.write(lambda store: store.put_document(collection, key, packed))


def _service_key(server: str, service: str) -> str:
    return json.dumps([server.upper(), service])
