"""The page for FATE's users lists every endpoint that there is, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from tests.api.tables_site import TablesApi, on_tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fate-users.md"
ELSEWHERE = {("GET", f"/{name}") for name in ("livez", "readyz", "healthz", "metrics")}


def listed() -> set[tuple[str, str]]:
    """Return method and path of each endpoint in the page's table; a method counts for the paths after it."""
    rows = PAGE.read_text().split("## Endpoints")[1]
    found = set()
    for row in re.findall(r"^\| (`(?:GET|POST).*?) \|", rows, flags=re.MULTILINE):
        method = ""
        for entry in re.findall(r"`([^`]+)`", row):
            method, path = entry.split(" ") if " " in entry else (method, entry)
            found.add((method, f"/v2/{path}"))
    return found | {(method, f"/v2/app{path[3:]}") for method, path in found if path.split("/")[2] in APPS}


APPS = {"client", "site", "partner"}
OURS = {"/v2/app/site/info/query", "/v2/app/site/peers", "/v2/app/site/backup"}


def test_the_table_of_endpoints_is_complete_and_true(tmp_path: Path) -> None:
    found: set[tuple[str, str]] = set()

    async def work(api: TablesApi) -> None:
        _, made = await api.get("/v2/openapi.json")
        found.update((method.upper(), path) for path, methods in made["paths"].items() for method in methods)

    on_tables(tmp_path, work)
    expected = {(method, path) for method, path in listed() if path not in OURS}
    assert found - ELSEWHERE - {("GET", "/v2/openapi.json")} == expected
