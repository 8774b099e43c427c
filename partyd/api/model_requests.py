"""What requests to the model registry may say, and the form that brings a model."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web
from pydantic import Field

from partyd.api.endpoint import Asked, parse
from partyd.api.replies import read_json
from partyd.api.sought import MAX_TEXT, AskedOfParty
from partyd.models.entry import MAX_ID, MAX_MODEL_BYTES

MAX_UPLOAD_BYTES = MAX_MODEL_BYTES + (16 << 20)
MAX_FIELD_BYTES = 4096
M = TypeVar("M", bound=Asked)


class AskedModel(AskedOfParty):
    """A model."""

    model_id: str = Field(min_length=1, max_length=MAX_ID)
    model_version: str = Field(min_length=1, max_length=MAX_ID)


class AskedModels(AskedOfParty):
    """Which models; none named means all."""

    model_id: str = Field(default="", max_length=MAX_ID)
    model_version: str = Field(default="", max_length=MAX_ID)
    job_id: str = Field(default="", max_length=MAX_TEXT)


class AskedExport(AskedModel):
    """A model, and the directory on the daemon's machine to write it to (none: it is the answer)."""

    path: str = Field(default="", max_length=4096)


class AskedImport(Asked):
    """Under which id and version a model is taken in; as fields of the form, with the file as ``file``."""

    model_id: str = Field(default="", max_length=MAX_ID)
    model_version: str = Field(default="", max_length=MAX_ID)
    path: str = Field(default="", max_length=MAX_FIELD_BYTES)


class AskedDelete(AskedModel):
    """A model, or part of it."""

    task_name: str = Field(default="", max_length=MAX_TEXT)
    output_key: str = Field(default="", max_length=MAX_TEXT)


class AskedMigrate(AskedModel):
    """A model of which the party of one role has another id from now on; ``dir_path`` is as ``path`` of an export."""

    role: str = Field(min_length=1, max_length=MAX_TEXT)
    party_id: str = Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")
    old_party_id: str = Field(default="", max_length=64)
    dir_path: str = Field(default="", max_length=4096)


class AskedAny(Asked):
    """Fields in the query; they may also be a JSON object in the body."""

    model_id: str = Field(default="", max_length=MAX_ID)
    model_version: str = Field(default="", max_length=MAX_ID)
    role: str = Field(default="", max_length=MAX_TEXT)
    party_id: str = Field(default="", max_length=64)
    old_party_id: str = Field(default="", max_length=64)
    dir_path: str = Field(default="", max_length=4096)


class AskedDeploy(AskedModel):
    """A model, and the tasks of its job to keep (none named: all that have a part in prediction)."""

    tasks: tuple[str, ...] = Field(default=(), max_length=500)
    task_list: tuple[str, ...] = Field(default=(), max_length=500)


async def merged(request: web.Request, asked: AskedAny, model: type[M]) -> M:
    """Return the fields of the query and of a JSON object in the body together."""
    body = await read_json(request) if request.body_exists else {}
    return parse(model, {**asked.model_dump(exclude_unset=True), **body})
