"""A standalone federation's API answers for every party in it, as FATE's standalone server does.

For development only: all parties belong to one owner, on one machine. A request that names another party (``role`` and
``party_id``, a job that only it knows, a DAG whose guest it is) is passed on to that party's own daemon, and an
uploaded or bound table is shared with all parties unless the request names one. Outside ``partyd standalone`` there is
none.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, web
from pydantic import ValidationError

from partyd.api.auth import CALLER, LOWERED_HEADER, caller_of
from partyd.api.replies import Handler, read_text
from partyd.config import Settings
from partyd.dag.spec import Dag, parse_dag_text
from partyd.errors import DataError, JobRejected, PartydError
from partyd.layout import FEDERATION_FILE
from partyd.types import GUEST, Address

FORWARDED = ("/v2/job/", "/v2/output/", "/v2/log/", "/v2/table/", "/v2/data/", "/v2/model/", "/v2/audit/")
"""Where ``role`` and ``party_id`` say whose daemon is asked; elsewhere they mean a partner."""
BIND = "/v2/table/bind/path"
UPLOAD_STREAM = "/v2/data/component/upload/file"
FORWARDED_HEADER = "X-Partyd-Forwarded"
TIMEOUT = ClientTimeout(total=None, connect=5)
_DROPPED = frozenset({"host", "content-length", "transfer-encoding", "connection", "keep-alive", "origin"})
_CREDENTIALS = frozenset({"authorization", "appid", "username", "nonce", "timestamp", "signature"})
"""What the caller showed here: the sibling knows no app of ours."""


class SiblingAway(PartydError):
    """Another daemon of the federation does not answer."""

    code = "sibling_away"


@dataclass(frozen=True)
class Sibling:
    """Another party of the federation, and where its daemon answers."""

    address: Address
    url: str


class Siblings:
    """Passes requests on to the other parties of the federation; made only when the daemon is standalone."""

    def __init__(self, settings: Settings, knows: Callable[[str], Awaitable[bool]]) -> None:
        self._own = settings.addresses
        self._file = settings.state_dir.parent / FEDERATION_FILE
        self._knows = knows
        self._session: ClientSession | None = None

    async def lifetime(self, _: web.Application) -> AsyncIterator[None]:
        """Hold the connections while the application runs (a cleanup context)."""
        async with ClientSession(timeout=TIMEOUT, auto_decompress=False) as self._session:
            yield
        self._session = None

    async def listing(self) -> list[Sibling]:
        """Return the other parties."""
        federation = json.loads(await asyncio.to_thread(self._file.read_text))
        found = [Sibling(Address.parse(p["address"]), p["url"]) for p in federation["parties"]]
        return [sibling for sibling in found if sibling.address not in self._own]

    def middleware(self) -> Any:
        """Return the middleware that passes on what another party is asked."""

        @web.middleware
        async def forward(request: web.Request, handler: Handler) -> web.StreamResponse:
            if FORWARDED_HEADER in request.headers or not request.path.startswith(FORWARDED):
                return await handler(request)
            chosen = await self._meant(request)
            if chosen is not None:
                return await self._pass_on(request, chosen)
            response = await handler(request)
            if request.path == BIND and response.status == 200:
                await self._share_binding(request)
            return response

        return forward

    async def share_table(self, namespace: str, name: str, folder: Path, only: Mapping[str, str]) -> None:
        """Give a table that was stored here to the other parties, or to the one that ``only`` names."""
        for sibling in await self.listing():
            if only and not _fits(sibling.address, only):
                continue
            asked = {"namespace": namespace, "name": name, "path": str(folder), "adopt": True}
            await self._bind_at(sibling, asked)

    async def _share_binding(self, request: web.Request) -> None:
        """Have the other parties bind what was bound here, unless the request names a party."""
        asked = await self._values(request)
        for sibling in () if asked.get("role") or asked.get("party_id") else await self.listing():
            await self._bind_at(sibling, asked)

    async def _bind_at(self, sibling: Sibling, asked: Mapping[str, object]) -> None:
        table = f"{asked.get('namespace')}/{asked.get('name')}"
        try:
            async with self._http.post(sibling.url + BIND, json=asked, headers={FORWARDED_HEADER: "1"}) as answer:
                said = (await answer.text())[:500]
        except ClientError as error:
            raise SiblingAway(f"{sibling.address} did not take the table {table}: {error}") from error
        if answer.status != 200:
            raise DataError(f"{sibling.address} did not take the table {table}: {said}")

    @property
    def _http(self) -> ClientSession:
        assert self._session is not None, "the application has not started"
        return self._session

    async def _meant(self, request: web.Request) -> Sibling | None:
        """Return the other party that a request is for, None for this one."""
        values = await self._values(request)
        named = {key: str(values[key]) for key in ("role", "party_id") if values.get(key)}
        if named.get("role") == "local" or any(_fits(own, named) for own in self._own if named):
            return None
        siblings = await self.listing()
        if named:
            return next((s for s in siblings if _fits(s.address, named)), None)
        if request.path == "/v2/job/submit":
            return self._initiator(values, siblings)
        job = values.get("job_id")
        return await self._holder(str(job), siblings) if job and request.path != "/v2/job/list/query" else None

    async def _values(self, request: web.Request) -> Mapping[str, Any]:
        if not _is_document(request):
            return request.query
        try:
            document = await asyncio.to_thread(parse_dag_text, await read_text(request), "the request body")
        except JobRejected:
            return {}  # the handler says what is wrong
        return document if isinstance(document, dict) else {}

    def _initiator(self, values: Mapping[str, Any], siblings: Sequence[Sibling]) -> Sibling | None:
        """Return the other party that must begin a job in which this one has no part."""
        named = _addresses(values)
        if any(own in named for own in self._own):
            return None
        guests_first = sorted(named, key=lambda address: address.role != GUEST)
        return next((s for address in guests_first for s in siblings if s.address == address), None)

    async def _holder(self, job: str, siblings: Sequence[Sibling]) -> Sibling | None:
        """Return the other party that knows a job, None when this one does or nobody."""
        if await self._knows(job):
            return None
        for sibling in siblings:
            asked, headers = {"job_id": job}, {FORWARDED_HEADER: "1"}
            try:
                async with self._http.get(f"{sibling.url}/v2/job/query", params=asked, headers=headers) as answer:
                    if answer.status == 200:
                        return sibling
            except ClientError:
                continue  # it is not there: then another may know the job
        return None

    async def _pass_on(self, request: web.Request, sibling: Sibling) -> web.StreamResponse:
        hidden = _DROPPED | _CREDENTIALS
        headers = {name: value for name, value in request.headers.items() if name.lower() not in hidden}
        headers[FORWARDED_HEADER] = "1"
        if CALLER in request:  # the other daemon takes us for its owner
            headers[LOWERED_HEADER] = caller_of(request).access.name
        body = await request.read() if _is_document(request) else request.content if request.body_exists else None
        try:
            async with self._http.request(
                request.method, sibling.url + request.path_qs, headers=headers, data=body, allow_redirects=False
            ) as answer:
                return await _copied(request, answer)
        except ClientError as error:
            raise SiblingAway(
                f"{sibling.address} does not answer at {sibling.url} ({error}); is it still starting?"
            ) from error


def _is_document(request: web.Request) -> bool:
    """Return whether the body is a short JSON or YAML text, not a file to be streamed."""
    is_json = request.content_type == "application/json" and request.path != UPLOAD_STREAM
    return request.method == "POST" and (is_json or request.path == "/v2/job/submit")


async def _copied(request: web.Request, answer: ClientResponse) -> web.StreamResponse:
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _DROPPED}
    response = web.StreamResponse(status=answer.status, headers=kept)
    if answer.content_length is not None:
        response.content_length = answer.content_length
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _addresses(document: Mapping[str, Any]) -> list[Address]:
    """Return the parties that a DAG names, as far as they can be read: the handler says what is wrong with the rest."""
    inner = document.get("dag_schema", document)
    try:
        return Dag.model_validate(inner["dag"] | {"tasks": {"any": {"component_ref": "reader"}}}).addresses()
    except (TypeError, KeyError, ValidationError):
        return []


def _fits(address: Address, named: Mapping[str, str]) -> bool:
    return named.get("role", address.role.label) == address.role.label and (
        named.get("party_id", address.party_id) == address.party_id
    )
