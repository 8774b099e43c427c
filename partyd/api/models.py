"""The model registry under ``/v2/model``: list, carry to another daemon, delete, deploy; FATE's paths, and ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from partyd.api.endpoint import Access, Endpoint, parse
from partyd.api.files import send_written
from partyd.api.forms import Spool, read_form
from partyd.api.model_requests import (
    MAX_UPLOAD_BYTES,
    AskedAny,
    AskedDelete,
    AskedDeploy,
    AskedExport,
    AskedImport,
    AskedMigrate,
    AskedModel,
    AskedModels,
    merged,
)
from partyd.api.replies import BadRequest, FateCode, Refusal, success
from partyd.api.site import Site, SiteNode
from partyd.api.sought import models_of, named_nodes
from partyd.components import COMPONENTS
from partyd.components.base import JsonObject
from partyd.errors import DataError
from partyd.jobs.record import ModelJob
from partyd.layout import make_private_dir
from partyd.models import archive
from partyd.models.deploy import deploy
from partyd.models.entry import ModelEntry
from partyd.types import Address, Role

EXPORTS, STORED = "exports", "model-store"
"""Below the state directory: exports to a path that is not absolute, and what ``store`` keeps."""


class Models:
    """The model endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        model, viewer, operator = "/v2/model", Access.VIEWER, Access.OPERATOR
        return [
            Endpoint("GET", f"{model}/query", self.query, AskedModels, viewer, list[JsonObject]),
            Endpoint("POST", f"{model}/load", self.load, AskedAny, operator, JsonObject, body="text"),
            Endpoint("POST", f"{model}/migrate", self.migrate, AskedAny, operator, bytes | JsonObject, body="text"),
            Endpoint("POST", f"{model}/export", self.export, AskedExport, operator, bytes | JsonObject),
            Endpoint("GET", f"{model}/download", self.download, AskedModel, operator, bytes),
            Endpoint("POST", f"{model}/import", self.take_in, AskedImport, operator, JsonObject, body="form"),
            Endpoint("POST", f"{model}/delete", self.delete, AskedDelete, operator, JsonObject),
            Endpoint("POST", f"{model}/store", self.store, AskedModels, operator, list[JsonObject]),
            Endpoint("POST", f"{model}/restore", self.restore, AskedModels, operator, list[JsonObject]),
            Endpoint("POST", f"{model}/deploy", self.deploy, AskedDeploy, viewer, JsonObject),
        ]

    async def query(self, _: web.Request, asked: AskedModels) -> web.StreamResponse:
        """Return the models here, with the tasks that gave them and what each file is."""
        return success([_shown(job, entries) for _, job, entries in await self._models(asked)])

    async def load(self, _: web.Request, __: AskedAny) -> web.StreamResponse:
        """Say that no FATE-Serving stands here to load a model into."""
        raise Refusal(
            "partyd pushes no models to FATE-Serving; predict with a job made by flow model deploy, "
            "or carry the model elsewhere with flow model export",
            status=400,
            number=FateCode.FUNCTION_RESTRICTED,
        )

    async def deploy(self, __: web.Request, asked: AskedDeploy) -> web.StreamResponse:
        """Return the job that predicts with a model, as the DAG and as YAML."""
        _, job, _ = await self._model(asked)
        tasks = (*asked.tasks, *asked.task_list)
        schema = deploy(job.spec, COMPONENTS, asked.model_id, asked.model_version, tasks)
        plain = json.loads(json.dumps(schema))  # nothing in it twice, for a job's YAML may hold no aliases
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        return success({"dag_schema": schema, "yaml": text})

    async def export(self, request: web.Request, asked: AskedExport) -> web.StreamResponse:
        """Write a model as one zip into a directory of this machine, or send it when no path is named."""
        node, job, entries = await self._model(asked)
        if not asked.path:
            return await self._send(request, node, job, entries)
        return success(await self._write(node, job, entries, self._directory(asked.path)))

    async def download(self, request: web.Request, asked: AskedModel) -> web.StreamResponse:
        """Send a model as one zip."""
        node, job, entries = await self._model(asked)
        return await self._send(request, node, job, entries)

    async def migrate(self, request: web.Request, asked: AskedAny) -> web.StreamResponse:
        """Write a model, as an export does, for a federation in which one party has another id."""
        wanted = await merged(request, asked, AskedMigrate)
        role = _role(wanted.role)
        node, job, entries = await self._model(AskedModel(model_id=wanted.model_id, model_version=wanted.model_version))
        old = wanted.old_party_id or _old_id(node, job, role)
        changed = archive.migrated(job, wanted.role, old, wanted.party_id)
        me = Address(wanted.party_id, role) if node.address == Address(old, role) else node.address
        moved_job, moved = archive.rename(changed, entries, me, job.model_id, job.model_version)
        if not wanted.dir_path:
            return await self._send(request, node, moved_job, entries, moved)
        return success(await self._write(node, moved_job, entries, self._directory(wanted.dir_path), moved))

    async def delete(self, _: web.Request, asked: AskedDelete) -> web.StreamResponse:
        """Delete a model at this party, or one task's, or one output; ``count`` says how many outputs that were."""
        count = 0
        for node in named_nodes(self._site, asked):
            count += await models_of(node).delete(
                asked.model_id, asked.model_version, asked.task_name, asked.output_key
            )
        if not count:
            raise _no_model(asked)
        return success({"count": count})

    async def take_in(self, request: web.Request, asked: AskedImport) -> web.StreamResponse:
        """Take in an exported model, after checking every file in it against its digest."""
        spool = self._site.layout.state_dir / "uploads"
        await asyncio.to_thread(make_private_dir, spool)
        file = spool / f"{secrets.token_hex(16)}.zip"
        try:
            given, has_file = await read_form(
                request, Spool(file, MAX_UPLOAD_BYTES, "models are smaller; export it again", self._is_low)
            )
            wanted = parse(AskedImport, {**asked.model_dump(exclude_unset=True), **given})
            if not has_file:
                raise Refusal(
                    "the form has no file; send the zip as the field file", status=400, number=FateCode.NO_FILE
                )
            return success(await self._import(file, wanted.model_id, wanted.model_version))
        finally:
            await asyncio.to_thread(file.unlink, True)

    async def store(self, _: web.Request, asked: AskedModels) -> web.StreamResponse:
        """Keep models as zips in the daemon's store of models, where deleting them from the registry leaves them."""
        found = await self._models(asked)
        folder = self._site.layout.state_dir / STORED
        return success([await self._write(node, job, entries, folder) for node, job, entries in found])

    async def restore(self, _: web.Request, asked: AskedModels) -> web.StreamResponse:
        """Take models back from the daemon's store of models."""
        folder = self._site.layout.state_dir / STORED
        files = await asyncio.to_thread(lambda: sorted(folder.glob("*.zip")))
        taken = []
        for file in files:
            model = await self._import(file, "", "", wanted=asked)
            if model is not None:
                taken.append(model)
        if asked.model_id and not taken:
            raise Refusal(
                f"the store has no model {asked.model_id[:64]}; keep one with: flow model store",
                status=404,
                number=FateCode.TASK_NO_MODEL,
            )
        return success(taken)

    # -- what they share

    def _is_low(self) -> bool:
        return any(node.store.is_low() for node in self._site.nodes.values())

    async def _models(self, asked: AskedModels) -> list[tuple[SiteNode, ModelJob, list[ModelEntry]]]:
        found = []
        for node in named_nodes(self._site, asked):
            groups: dict[tuple[str, str], list[ModelEntry]] = {}
            for entry in await models_of(node).query(asked.model_id, asked.model_version, asked.job_id):
                groups.setdefault((entry.model_id, entry.model_version), []).append(entry)
            found += [(node, await models_of(node).job(*name), entries) for name, entries in groups.items()]
        return found

    async def _model(self, asked: AskedModel) -> tuple[SiteNode, ModelJob, list[ModelEntry]]:
        wanted = AskedModels(**asked.model_dump(include={"model_id", "model_version", "role", "party_id"}))
        found = await self._models(wanted)
        if not found:
            raise _no_model(asked)
        return found[0]

    async def _send(
        self,
        request: web.Request,
        node: SiteNode,
        job: ModelJob,
        entries: list[ModelEntry],
        moved: list[ModelEntry] | None = None,
    ) -> web.StreamResponse:
        placed = [(new, models_of(node).place(old)) for old, new in zip(entries, moved or entries, strict=True)]
        return await send_written(
            request,
            self._site.layout,
            lambda stream: archive.write_zip(stream, job, placed),
            archive.file_name(job),
            "application/zip",
        )

    async def _write(
        self,
        node: SiteNode,
        job: ModelJob,
        entries: list[ModelEntry],
        folder: Path,
        moved: list[ModelEntry] | None = None,
    ) -> JsonObject:
        placed = [(new, models_of(node).place(old)) for old, new in zip(entries, moved or entries, strict=True)]
        target = folder / archive.file_name(job)
        try:
            digest = await asyncio.to_thread(archive.write_archive, target, job, placed)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            cause = (error.strerror or "input or output failed").lower()
            raise DataError(f"{str(target)[:500]} cannot be written ({cause}); name another directory") from error
        return {"status": "success", "path": str(target), "sha256": digest, "model_id": job.model_id,
                "model_version": job.model_version, "role": job.role, "party_id": job.party_id}  # fmt: skip

    async def _import(self, file: Path, model_id: str, model_version: str, wanted: AskedModels | None = None) -> Any:
        async with self._draft() as draft:
            manifest, entries = await asyncio.to_thread(archive.read_archive, file, draft)
            job = manifest.job
            if wanted is not None and not _fits(wanted, job):
                return None
            node = self._owner(job)
            new_id, new_version = model_id or job.model_id, model_version or job.model_version
            moved_job, moved = archive.rename(job, [entry for entry, _ in entries], node.address, new_id, new_version)
            await models_of(node).put(
                moved_job, [(new, folder) for new, (_, folder) in zip(moved, entries, strict=True)]
            )
            return _shown(moved_job, moved)

    def _owner(self, job: ModelJob) -> SiteNode:
        for address, node in self._site.nodes.items():
            if (address.role.label, address.party_id) == (job.role, job.party_id):
                return node
        here = ", ".join(map(str, self._site.nodes))
        raise DataError(
            f"the model is {job.party_id}/{job.role}'s, and this daemon is {here}; import it at that party, or have it "
            "written for this one with: flow model migrate"
        )

    @contextlib.asynccontextmanager
    async def _draft(self) -> AsyncIterator[Path]:
        draft = self._site.layout.state_dir / "uploads" / secrets.token_hex(16)
        await asyncio.to_thread(make_private_dir, draft)
        try:
            yield draft
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)

    def _directory(self, path: str) -> Path:
        """Return the directory that a request means: one that is not absolute is below the daemon's exports.

        Raises BadRequest for any other below the state directory: keys, stores and models lie there.
        """
        state = self._site.layout.state_dir
        folder = state / EXPORTS / path
        real, exports = folder.resolve(), (state / EXPORTS).resolve()
        is_elsewhere = Path(path).is_absolute() and not real.is_relative_to(state.resolve())
        if not is_elsewhere and not real.is_relative_to(exports):
            raise BadRequest("path leads out of the daemon's exports; name an absolute directory outside its state")
        return folder


def _shown(job: ModelJob, entries: list[ModelEntry]) -> JsonObject:
    tasks = [
        {
            "task_name": entry.task_name,
            "component": entry.component,
            "component_version": entry.component_version,
            "output_keys": list(entry.keys),
            "digest": entry.digest,
            "schema_version": entry.schema_version,
            "lineage": None if entry.lineage is None else entry.lineage.model_dump(mode="json"),
            "files": [file.model_dump() for file in entry.files],
        }
        for entry in entries
    ]
    return {
        "model_id": job.model_id,
        "model_version": job.model_version,
        "job_id": job.job_id,
        "role": job.role,
        "party_id": job.party_id,
        "parties": list(archive.parties_of(job)),
        "create_time": int(max(entry.created_at for entry in entries) * 1000),
        "tasks": tasks,
    }


def _fits(wanted: AskedModels, job: ModelJob) -> bool:
    pairs = (
        (wanted.model_id, job.model_id),
        (wanted.model_version, job.model_version),
        (wanted.role, job.role),
        (wanted.party_id, job.party_id),
        (wanted.job_id, job.job_id),
    )
    return all(want in ("", has) for want, has in pairs)


def _no_model(asked: AskedModel) -> Refusal:
    return Refusal(
        f"there is no model {asked.model_id[:64]!r} version {asked.model_version[:64]!r} here; "
        "list those there are with: flow model query",
        status=404,
        number=FateCode.TASK_NO_MODEL,
    )


def _role(label: str) -> Role:
    try:
        return Role.from_label(label)
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _old_id(node: SiteNode, job: ModelJob, role: Role) -> str:
    """Return the id that a role's only party has now, this party's own before all others."""
    if node.address.role is role:
        return node.address.party_id
    named = [Address.parse(party) for party in archive.parties_of(job)]
    ids = [address.party_id for address in named if address.role is role]
    if len(ids) != 1:
        raise BadRequest(f"the model's job has {len(ids)} parties with the role {role.label}; say old_party_id")
    return ids[0]
