"""The requests about apps, permissions, providers and the model registry, as FATE Flow has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from partyd.client.call import ANY_PARTY, Call, Download, Party, data_of, object_of
from partyd.client.calls import get, given, post
from partyd.client.calls_data import Form

AppKind = Literal["client", "site", "partner"]
Data = Call[object]
"""A request whose answer is shown as it came."""


# -- apps


def create_app(kind: AppKind, **fields: str) -> Data:
    """Create an app: ``app_name`` of a client, ``party_id`` of a site, and ``app_id``, ``app_token`` of a partner."""
    return post(f"/v2/app/{kind}/create", data_of, fields)


def delete_app(kind: AppKind, **fields: str) -> Data:
    """Delete an app by ``app_id`` (a client) or ``party_id``."""
    return post(f"/v2/app/{kind}/delete", data_of, fields)


def query_app(kind: AppKind, **fields: str) -> Data:
    """Ask for apps."""
    return get(f"/v2/app/{kind}/query", data_of, **fields)


# -- permissions


def grant(app_id: str, role: str) -> Data:
    """Give an app a role."""
    return post("/v2/permission/grant", data_of, {"app_id": app_id, "role": role})


def revoke(app_id: str, role: str) -> Data:
    """Take a role from an app."""
    return post("/v2/permission/delete", data_of, {"app_id": app_id, "role": role})


def permissions(app_id: str) -> Data:
    """Ask for an app's roles."""
    return get("/v2/permission/query", data_of, app_id=app_id)


def roles() -> Data:
    """Ask which roles there are."""
    return get("/v2/permission/role/query", data_of)


def grant_resource(document: Mapping[str, object]) -> Data:
    """Let a party use a component or a data set."""
    return post("/v2/permission/resource/grant", data_of, document)


def revoke_resource(document: Mapping[str, object]) -> Data:
    """Forbid a party a component or a data set."""
    return post("/v2/permission/resource/delete", data_of, document)


def resources(party_id: str) -> Data:
    """Ask what a party may use."""
    return get("/v2/permission/resource/query", data_of, party_id=party_id)


# -- providers


def components(name: str = "") -> Data:
    """Ask which components there are, or what one takes."""
    return get("/v2/component/query", data_of, name=name)


def register_provider(document: Mapping[str, object]) -> Data:
    """Register a provider of components."""
    return post("/v2/provider/register", data_of, document)


def providers(**wanted: str) -> Data:
    """Ask for providers by name, device, version, provider_name."""
    return get("/v2/provider/query", data_of, **wanted)


def delete_provider(**wanted: str) -> Data:
    """Forget a provider."""
    return post("/v2/provider/delete", data_of, wanted)


# -- models


def models(party: Party = ANY_PARTY, **wanted: str) -> Data:
    """Ask for models by model_id and model_version."""
    return get("/v2/model/query", data_of, **wanted, **party.query())


def delete_model(model_id: str, version: str, party: Party = ANY_PARTY, **part: str) -> Data:
    """Delete a model, or what ``task_name`` and ``output_key`` name of it."""
    return post("/v2/model/delete", data_of, _model(model_id, version) | party.query() | part)


def deploy_model(model_id: str, version: str, party: Party, tasks: Sequence[str]) -> Call[Mapping[str, object]]:
    """Ask for the job that predicts with a model: ``dag_schema``, and the same as ``yaml``."""
    return post(
        "/v2/model/deploy", object_of, {**_model(model_id, version), **party.query(), "tasks": list(tasks) or None}
    )


def keep_models(action: Literal["store", "restore"], party: Party = ANY_PARTY, **wanted: str) -> Data:
    """Keep models in the daemon's store of models, or take them back from there."""
    return post(f"/v2/model/{action}", data_of, {**wanted, **party.query()})


def import_model(model_id: str, version: str) -> Form[object]:
    """Take a model in that was exported elsewhere; its own id and version where none are given."""
    fields = {key: value for key, value in _model(model_id, version).items() if value}
    return Form("/v2/model/import", fields, data_of)


def export_model(model_id: str, version: str, party: Party) -> Download:
    """Fetch a model as one zip."""
    return Download("GET", "/v2/model/download", _model(model_id, version) | party.query())


def migrate_model(model_id: str, version: str, party: Party, old_party_id: str = "") -> Download:
    """Fetch a model as one zip, for a federation in which the party of a role has another id."""
    fields = given({**_model(model_id, version), **party.query(), "old_party_id": old_party_id})
    return Download("POST", "/v2/model/migrate", body=json.dumps(fields).encode())


def _model(model_id: str, version: str) -> dict[str, str]:
    return {"model_id": model_id, "model_version": version}
