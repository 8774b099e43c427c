"""The whole application: every endpoint of every part is declared, documented, and guarded as its kind deserves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from partyd.api.app import make_app
from partyd.api.endpoint import Access, Endpoint
from partyd.api.openapi import document
from partyd.api.site import Pulse, Site
from partyd.layout import Layout
from partyd.tables.local import LocalJobs
from tests.api.test_openapi import references
from tests.nodes import BANK, Idle, town

READING_POSTS = {"/v2/job/log/download", "/v2/model/deploy"}
"""POSTs that change nothing, which FATE's client sends as such."""
FATE = """
job/submit job/query job/stop job/rerun job/list/query job/task/query job/task/list/query job/log/download
job/queue/clean job/clean job/data/view job/notes/add job/dag/dependency data/component/upload
data/component/upload/file data/component/download data/component/dataframe/transformer data/download table/query
table/delete table/bind/path output/metric/key/query output/metric/query output/metric/delete output/model/query
output/model/download output/model/delete output/data/download output/data/table output/data/display model/load
model/migrate model/export model/import model/delete model/store model/restore log/count log/query provider/register
provider/query provider/delete permission/grant permission/delete permission/query permission/role/query
permission/resource/grant permission/resource/delete permission/resource/query client/create client/delete
client/query site/create site/delete site/query partner/create partner/delete partner/query app/client/create
app/client/delete app/client/query app/site/create app/site/delete app/site/query app/partner/create
app/partner/delete app/partner/query server/fateflow server/query/all server/query server/registry server/delete
server/service/query server/service/registry server/service/delete site/info/query
"""


def declared(folder: Path) -> list[Endpoint[Any]]:
    """Return every endpoint of the application."""

    async def scenario() -> list[Endpoint[Any]]:
        async with town(folder, are_running=False) as place:
            node = await place.start(BANK)
            local = LocalJobs({}, {})
            site = Site(node.settings, Layout(node.settings.state_dir), {BANK: node}, Idle(), Pulse(), local)
            routes = make_app(site).router.routes()
            return [getattr(route.handler, "endpoint") for route in routes]  # noqa: B009

    return asyncio.run(scenario())


def test_every_endpoint_of_fates_client_group_is_there(tmp_path: Path) -> None:
    paths = {endpoint.path for endpoint in declared(tmp_path)}
    assert {f"/v2/{path}" for path in FATE.split()} - paths == set()


def test_whoever_may_only_look_changes_nothing(tmp_path: Path) -> None:
    for endpoint in declared(tmp_path):
        if endpoint.method == "POST" and endpoint.path not in READING_POSTS:
            assert endpoint.access >= Access.OPERATOR, endpoint.path
        if endpoint.access is Access.OPEN:
            assert endpoint.path in {"/livez", "/readyz", "/healthz"}


def test_the_document_of_the_whole_is_sound(tmp_path: Path) -> None:
    endpoints = declared(tmp_path)
    made = document(endpoints)
    operations = [operation for methods in made["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(endpoints)
    assert all(operation["summary"].endswith((".", "?")) for operation in operations)
    names = {reference.rpartition("/")[2] for reference in references(made)}
    assert names <= made["components"]["schemas"].keys()
