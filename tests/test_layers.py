"""Imports point one way (architecture section 3): a layer imports the layers before it, and what is listed here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORDER: tuple[tuple[str, ...], ...] = (
    ("types", "errors", "signing"),
    ("layout", "config", "config_sources", "config_example", "log", "notify", "pidfile", "client"),
    ("data",),
    ("crypto",),
    ("wire",),
    ("trust",),
    ("federation",),
    ("protocols",),
    ("algorithms",),
    ("components",),
    ("dag",),
    ("dsl", "governance"),
    ("jobs",),
    ("models", "tables"),
    ("api", "board"),
    ("cards", "housekeeping", "node", "daemon", "standalone"),
    ("cli",),
    ("__main__",),
)
"""From left to right; within a group any order."""
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
PLUGS = frozenset({"engine", "store", "transport"})
"""Folders that implement interfaces of others: only these places put them in."""
SOCKETS = frozenset({"daemon", "node", "cli", "jobs/worker", "standalone"})
PLUGS_MAY = frozenset(
    {"types", "errors", "wire", "federation", "algorithms", "dag", "governance", "jobs", "layout", "crypto"}
)
EXCEPTIONS = {
    ("standalone", "cli"): "a standalone federation is set up with the commands that an operator would type",
}


def modules(package: str) -> Iterator[tuple[str, str]]:
    """Yield each import of each module of ``package``: the module's path without suffix, and what it imports."""
    for path in sorted((ROOT / package).rglob("*.py")):
        module = path.relative_to(ROOT / package).with_suffix("").as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                yield module, node.module or ""
            elif isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names)


def inner() -> Iterator[tuple[str, str, str]]:
    """Yield (module, its layer, the layer it imports) for imports that cross layers inside partyd."""
    for module, imported in modules("partyd"):
        if imported.startswith("partyd."):
            layer, target = module.split("/")[0], imported.split(".")[1]
            if layer != target:
                yield module, layer, target


def may(module: str, layer: str, target: str) -> bool:
    if layer == "__init__":
        return False
    if target in PLUGS:
        return layer in SOCKETS or module in SOCKETS
    if layer in PLUGS:
        return target in PLUGS_MAY
    return RANK[target] <= RANK[layer]


def test_every_module_has_its_place() -> None:
    names = {
        path.stem for path in (ROOT / "partyd").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert names - set(RANK) - PLUGS - {"__init__"} == set()


def test_imports_point_left() -> None:
    wrong = {(m, t) for m, layer, t in inner() if not may(m, layer, t)}
    assert {f"{m} imports {t}" for m, t in wrong - EXCEPTIONS.keys()} == set()


def test_no_exception_outlives_its_cause() -> None:
    present = {(m, t) for m, _, t in inner()}
    assert set(EXCEPTIONS) - present == set()


def test_broker_and_partyd_never_import_each_other() -> None:
    assert not [m for m, imported in modules("partyd") if imported.split(".")[0] == "broker"]
    assert not [m for m, imported in modules("broker") if imported.split(".")[0] == "partyd"]


def test_crypto_and_wire_do_no_io_and_read_no_clock() -> None:
    banned = {"asyncio", "socket", "time", "datetime", "os", "pathlib", "subprocess", "sqlite3", "apsw", "aiohttp"}
    banned |= {"random", "pickle", "tempfile", "threading"}
    used = {(m, i) for m, i in modules("partyd") if m.split("/")[0] in ("crypto", "wire") and i.split(".")[0] in banned}
    assert used <= {("wire/card", "datetime")}, "a card formats dates; it is told what time it is"


def test_nothing_is_ever_pickled() -> None:
    banned = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    assert not [m for package in ("partyd", "broker") for m, i in modules(package) if i.split(".")[0] in banned]
