"""Tables under ``/v2/data`` and ``/v2/table``: upload, query, delete; and what the site says of itself.

An uploaded file is streamed to disk, then read by a process of its own: the daemon's loop never parses a file.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from partyd import __version__
from partyd.api.replies import BadRequest, NotFound, read_json, required, success
from partyd.api.site import Site
from partyd.data.formats import CsvFormat
from partyd.errors import DataError, StoreFull
from partyd.jobs.tasks import TABLES
from partyd.layout import FEDERATION_FILE, make_private_dir
from partyd.trust import has_expired, now_s

CHUNK_BYTES = 1 << 20
MAX_NAME = 128
FORMAT_FIELDS = ("delimiter", "sample_id", "match_id", "label", "weight", "on_bad_row")


class Data:
    """The data and site endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/v2/data/component/upload/file", self.upload),
            web.get("/v2/table/query", self.query),
            web.post("/v2/table/delete", self.delete),
            web.get("/v2/site/info/query", self.site_info),
            web.get("/v2/site/peers", self.peers),
            web.post("/v2/site/backup", self.backup),
            web.get("/v2/server/fateflow", self.server),
        ]

    async def upload(self, request: web.Request) -> web.Response:
        """Store the CSV in the body as the table that the query names, at one node; replaces a table of that name."""
        query = request.query
        namespace, name = self._name(query)
        node = self._site.node(query.get("role"), query.get("party_id"))
        form = CsvFormat.model_validate({key: query[key] for key in FORMAT_FIELDS if query.get(key)})
        if any(n.store.is_low() for n in self._site.nodes.values()):
            raise StoreFull("the disk is almost full; free some space, then upload again")
        spool = self._site.layout.state_dir / "uploads"
        make_private_dir(spool)
        suffix = ".csv.gz" if query.get("gzip") == "1" else ".csv"
        file = spool / (secrets.token_hex(16) + suffix)
        try:
            with file.open("wb") as stream:
                async for chunk in request.content.iter_chunked(CHUNK_BYTES):
                    stream.write(chunk)
            document = await self._ingest(file, form, self._site.layout.tables_dir(namespace, name))
        finally:
            file.unlink(missing_ok=True)
        document |= {"namespace": namespace, "name": name, "created_at": time.time()}
        packed = json.dumps(document).encode()
        await node.store.write(lambda store: store.put_document(TABLES, f"{namespace}/{name}", packed))
        return success(document)

    async def _ingest(self, file: Path, form: CsvFormat, folder: Path) -> dict[str, Any]:
        make_private_dir(folder.parent)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "partyd.data.ingest",
            str(file),
            str(folder),
            form.model_dump_json(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode != 0:
            said = err.decode("utf-8", "replace").strip()[-4000:].replace(str(file), "the uploaded file")
            raise DataError(said or f"the process that read the file ended with status {process.returncode}")
        document = json.loads(out)
        assert isinstance(document, dict)
        return document

    async def query(self, request: web.Request) -> web.Response:
        """Return one table's schema, or all tables."""
        query = request.query
        node = self._site.node(query.get("role"), query.get("party_id"))
        if "name" in query:
            namespace, name = self._name(query)
            found = await node.store.read(lambda store: store.document(TABLES, f"{namespace}/{name}"))
            if found is None:
                raise NotFound(f"there is no table {namespace}/{name}; upload it with: flow data upload")
            return success(json.loads(found))
        rows = await node.store.read(lambda store: store.documents(TABLES, limit=10_000))
        return success([json.loads(row.document) for row in rows])

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a table; jobs that have read it keep what they read."""
        body = await read_json(request)
        namespace, name = self._name(body)
        node = self._site.node(body.get("role"), body.get("party_id"))
        if not await node.store.write(lambda store: store.delete_document(TABLES, f"{namespace}/{name}")):
            raise NotFound(f"there is no table {namespace}/{name}; list them with: flow data query")
        await asyncio.to_thread(shutil.rmtree, self._site.layout.tables_dir(namespace, name), True)
        return success({"namespace": namespace, "name": name})

    async def site_info(self, _: web.Request) -> web.Response:
        """Say who this daemon is."""
        settings = self._site.settings
        roles = [role.label for role in settings.roles]
        found = {"party_id": settings.party_id, "roles": roles, "org": settings.org, "standalone": settings.standalone}
        if settings.standalone:
            path = settings.state_dir.parent / FEDERATION_FILE
            federation = json.loads(await asyncio.to_thread(path.read_text))
            found["siblings"] = [{"address": p["address"], "url": p["url"]} for p in federation["parties"]]
        return success(found)

    async def peers(self, _: web.Request) -> web.Response:
        """Return every pinned peer: session, silence, what waits for it, its card's end."""
        found = []
        for me, node in self._site.nodes.items():
            for peer, pinned in node.peers.items():
                link = node.office.links.get(peer)
                found.append(
                    {
                        "me": str(me),
                        "peer": str(peer),
                        "fingerprint": str(pinned.fingerprint),
                        "card_not_after": pinned.card.not_after,
                        "card_expired": has_expired(pinned.card, now_s()),
                        "established": bool(link and link.session.established),
                        "silent": bool(link and link.is_suspect),
                        "outbox_messages": len(link.waiting) if link else 0,
                        "outbox_bytes": link.waiting_bytes if link else 0,
                    }
                )
        return success(found)

    async def backup(self, request: web.Request) -> web.Response:
        """Write a backup of every store here into a new directory on this machine."""
        body = await read_json(request)
        target = Path(required(body, "directory"))
        if not target.is_absolute():
            raise BadRequest("directory must be an absolute path on the daemon's machine")
        for address, node in self._site.nodes.items():
            await node.store.backup_to(target / address.role.label)
        return success({"directory": str(target)})

    async def server(self, _: web.Request) -> web.Response:
        """Say what answers, to clients that look for FATE Flow."""
        return success({"host": self._site.settings.http.host, "port": self._site.pulse.port, "version": __version__})

    @staticmethod
    def _name(query: Any) -> tuple[str, str]:
        namespace, name = required(query, "namespace"), required(query, "name")
        if any(len(part) > MAX_NAME or "/" in part or not part.isprintable() for part in (namespace, name)):
            raise BadRequest(f"namespace and name are at most {MAX_NAME} printable characters without /")
        return namespace, name
