"""What a task gave out at this party, under ``/v2/output``: metrics, models, tables; only to the party's owner."""

from __future__ import annotations

import asyncio
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp import web
from pydantic import Field

from partyd.api.endpoint import Access, Endpoint
from partyd.api.files import send_written
from partyd.api.replies import BadRequest, FateCode, Refusal, success
from partyd.api.site import Site
from partyd.api.sought import MAX_TEXT, AskedTask, FoundTask, find_task, models_of
from partyd.api.table_files import Preview, read_previews, send_tables
from partyd.api.views import finite
from partyd.components.base import JsonObject, Kind, stored_tables
from partyd.jobs.diary import Diary
from partyd.jobs.lineage import LINEAGE, read_lineage

PREVIEW_ROWS = 100
MAX_DOCUMENTS_BYTES = 16 << 20
"""Of a task's documents in one answer: the loop writes it, and a viewer may ask again and again."""
METRIC_TYPES = ("loss", "auc", "accuracy")
METRIC_FIELDS = ("name", "type", "groups", "step_axis")


class AskedMetrics(AskedTask):
    """Which metrics of a task; ``filters`` is FATE's: an object with any of name and type, as JSON."""

    filters: str = Field(default="", max_length=4096)
    name: str = Field(default="", max_length=MAX_TEXT)
    type: str = Field(default="", max_length=MAX_TEXT)


class AskedFile(AskedTask):
    """A task's outputs as a file; ``path`` is where FATE's client will put it, which is nothing to the daemon."""

    path: str = Field(default="", max_length=4096)


class AskedTables(AskedFile):
    """Which output tables of a task; none named means all."""

    output_key: str = Field(default="", max_length=MAX_TEXT)


class AskedRows(AskedTask):
    """Which rows of a task's output tables."""

    output_key: str = Field(default="", max_length=MAX_TEXT)
    begin: int = Field(default=0, ge=0, le=1 << 40)
    limit: int = Field(default=PREVIEW_ROWS, ge=0, le=PREVIEW_ROWS)


class Output:
    """The output endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        output, viewer, operator = "/v2/output", Access.VIEWER, Access.OPERATOR
        return [
            Endpoint("GET", f"{output}/metric/key/query", self.metric_keys, AskedTask, viewer, list[JsonObject]),
            Endpoint("GET", f"{output}/metric/query", self.metrics, AskedMetrics, viewer, list[JsonObject]),
            Endpoint("POST", f"{output}/metric/delete", self.delete_metrics, AskedTask, operator, bool),
            Endpoint("GET", f"{output}/model/query", self.model, AskedTask, viewer, JsonObject),
            Endpoint("GET", f"{output}/model/download", self.download_model, AskedFile, viewer, bytes),
            Endpoint("POST", f"{output}/model/delete", self.delete_model, AskedTask, operator, JsonObject),
            Endpoint("GET", f"{output}/data/download", self.download_data, AskedTables, operator, bytes),
            Endpoint("GET", f"{output}/data/table", self.tables, AskedTask, viewer, JsonObject),
            Endpoint("GET", f"{output}/data/display", self.display, AskedRows, operator, JsonObject),
        ]

    # -- metrics

    async def metric_keys(self, _: web.Request, asked: AskedTask) -> web.StreamResponse:
        """Return the names and types of a task's metrics."""
        found = await find_task(self._site, asked)
        metrics = await asyncio.to_thread(_metrics, found)
        return success([{field: metric[field] for field in METRIC_FIELDS} for metric in metrics])

    async def metrics(self, _: web.Request, asked: AskedMetrics) -> web.StreamResponse:
        """Return a task's metrics: values by step, and whole documents such as an evaluation."""
        found = await find_task(self._site, asked)
        wanted = _filters(asked)
        metrics = await asyncio.to_thread(_metrics, found)
        return success([m for m in metrics if all(m.get(name) == value for name, value in wanted.items())])

    async def delete_metrics(self, _: web.Request, asked: AskedTask) -> web.StreamResponse:
        """Erase a task's metrics at this party; ``data`` says whether there were any."""
        found = await find_task(self._site, asked)
        return success(await asyncio.to_thread(_delete_metrics, found))

    # -- models

    async def model(self, _: web.Request, asked: AskedTask) -> web.StreamResponse:
        """Return the models that a task gave out, by output key, its other documents, and where they come from."""
        found = await find_task(self._site, asked)
        documents = await asyncio.to_thread(_documents, found)
        if not documents:
            raise _no_output(found, "model", FateCode.TASK_NO_MODEL)
        lineage = await asyncio.to_thread(read_lineage, _folder(found))
        if lineage is not None and lineage.made:
            documents[LINEAGE] = lineage.model_dump(mode="json")
        return success(documents)

    async def download_model(self, request: web.Request, asked: AskedFile) -> web.StreamResponse:
        """Return the models that a task gave out as one ``tar``."""
        found = await find_task(self._site, asked)
        paths = await asyncio.to_thread(_model_paths, found)
        if not paths:
            raise _no_output(found, "model", FateCode.TASK_NO_MODEL)
        name = f"{found.record.job}_{found.task}_model.tar"
        return await send_written(
            request, self._site.layout, lambda stream: _tar(stream, paths), name, "application/x-tar"
        )

    async def delete_model(self, _: web.Request, asked: AskedTask) -> web.StreamResponse:
        """Erase the models that a task gave out, here and in the registry."""
        found = await find_task(self._site, asked)
        paths = await asyncio.to_thread(_model_paths, found)
        kept = [e for e in await models_of(found.node).query(job_id=found.record.job) if e.task_name == found.task]
        if not paths and not kept:
            raise _no_output(found, "model", FateCode.TASK_NO_MODEL)
        for entry in kept:
            await models_of(found.node).delete(entry.model_id, entry.model_version, entry.task_name)
        await asyncio.to_thread(_erase, list(paths.values()))
        return success({"count": len(paths)})

    # -- tables

    async def download_data(self, request: web.Request, asked: AskedTables) -> web.StreamResponse:
        """Return a task's output tables as CSV in one ``tar.gz``: ``<output key>/<n>.csv``."""
        found = await find_task(self._site, asked)
        outputs = _tables(found, asked.output_key)
        me = found.record.me
        name = f"{found.record.job}_{me.role.label}_{me.party_id}_{found.task}"
        return await send_tables(request, self._site.layout, outputs, name)

    async def tables(self, _: web.Request, asked: AskedTask) -> web.StreamResponse:
        """Return the names of a task's output tables, by output key."""
        found = await find_task(self._site, asked)
        outputs = _tables(found, "")
        namespace = f"output_data_{found.record.job}_{found.task}_{found.state.version}"
        named = {
            key: [{"namespace": namespace, "name": f"{key}_{index}"} for index, _ in enumerate(stored_tables(place))]
            for key, place in outputs.items()
        }
        return success(named, **named)

    async def display(self, _: web.Request, asked: AskedRows) -> web.StreamResponse:
        """Return rows of a task's output tables from row ``begin``, at most 100, to the owner."""
        found = await find_task(self._site, asked)
        outputs = _tables(found, asked.output_key)
        shown = {
            key: await asyncio.to_thread(read_previews, place, asked.begin, asked.limit)
            for key, place in outputs.items()
        }
        first = next(table for tables in shown.values() for table in tables)
        named = {key: [_shown(table) for table in tables] for key, tables in shown.items()}
        flat = {"count": first.count, "header": list(first.header), "rows": first.rows}
        return success({**named, **flat}, **named)


def _shown(table: Preview) -> JsonObject:
    return {"data": table.rows, "metadata": table.metadata, "total": table.count}


def _filters(asked: AskedMetrics) -> dict[str, Any]:
    """Return what a metric's fields must be."""
    try:
        given = json.loads(asked.filters) if asked.filters else {}
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or set(given) - set(METRIC_FIELDS):
        raise BadRequest(f"filters must be a JSON object with any of {', '.join(METRIC_FIELDS)}")
    named = {"name": asked.name, "type": asked.type}
    return {**given, **{name: value for name, value in named.items() if value}}


def _metrics(found: FoundTask) -> list[JsonObject]:
    """Return a task's metrics in FATE's form, what FATE's component would log first."""
    folder = found.node.runner.folder(found.record.job, found.task)
    series = [_series(name, points) for name, points in Diary(folder).series().items()]
    component = found.component.name
    documents = [
        {"name": name, "type": component, "groups": [], "step_axis": None, "data": document}
        for name, document in _documents(found).items()
        if name not in _keys(found, Kind.MODEL)
    ]
    for document in documents:
        if document["name"] == "metric":
            document["name"] = component
    return [*documents, *series] if component == "evaluation" else [*series, *documents]


def _series(name: str, points: list[tuple[int, float, float]]) -> JsonObject:
    data = [{"metric": finite(v), "val": finite(v), "step": step, "timestamp": ts} for step, v, ts in points]
    kind = next((kind for kind in METRIC_TYPES if name == kind or name.endswith(f"_{kind}")), "scalar")
    return {"name": name, "type": kind, "groups": [], "step_axis": "iterations", "data": data}


def _documents(found: FoundTask) -> JsonObject:
    """Return every JSON document that a task wrote, by name."""
    documents: JsonObject = {}
    left = MAX_DOCUMENTS_BYTES
    for path in sorted(_written(found), key=lambda path: (path.stat().st_size, path.name)):
        left -= path.stat().st_size
        if left < 0:
            documents[path.stem] = {"error": "too large to be shown; use flow output download-model"}
            continue
        documents[path.stem] = json.loads(path.read_bytes())
    return dict(sorted(documents.items()))


def _written(found: FoundTask) -> list[Path]:
    return [path for path in _folder(found).glob("*.json") if path.stem != LINEAGE]


def _delete_metrics(found: FoundTask) -> bool:
    folder = _folder(found)
    models = _keys(found, Kind.MODEL)
    documents = [path for path in _written(found) if path.stem not in models]
    _erase(documents)
    return Diary(folder).forget_metrics() or bool(documents)


def _folder(found: FoundTask) -> Path:
    folder: Path = found.node.runner.folder(found.record.job, found.task)
    return folder


def _keys(found: FoundTask, kind: Kind) -> list[str]:
    return [port.name for port in found.component.outputs if port.kind is kind]


def _model_paths(found: FoundTask) -> dict[str, Path]:
    """Return the models that a task gave out, by their names in an archive."""
    folder = _folder(found)
    named = {name: folder / name for key in _keys(found, Kind.MODEL) for name in (f"{key}.json", key)}
    return {name: path for name, path in named.items() if path.exists()}


def _tar(stream: BinaryIO, paths: Mapping[str, Path]) -> None:
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, path in paths.items():
            archive.add(path, name)


def _erase(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _tables(found: FoundTask, key: str) -> dict[str, Path]:
    """Return the places of a task's output tables by output key; raises Refusal where there is none."""
    folder, keys = _folder(found), _keys(found, Kind.DATA)
    if key and key not in keys:
        known = ", ".join(keys) or "none"
        raise Refusal(
            f"{found.component.name} gives out no table {key!r}; it gives {known}",
            status=400,
            number=FateCode.INVALID_PARAMETER,
        )
    places = {name: folder / name for name in keys if key in ("", name)}
    outputs = {name: place for name, place in places.items() if place.is_dir() and stored_tables(place)}
    if not outputs:
        raise _no_output(found, "table", FateCode.TABLE_NOT_FOUND)
    return outputs


def _no_output(found: FoundTask, what: str, number: FateCode) -> Refusal:
    status = found.state.status.value
    return Refusal(f"{found.place} has given out no {what}; the task is {status}", status=404, number=number)
