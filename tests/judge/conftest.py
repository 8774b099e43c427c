"""One federation for the whole judge, started as the README says, and FATE's client pointed at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.federation import running
from tests.judge.client import Judge
from tests.judge.party_tables import write_tables


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """Give the client of a federation of guest 9999, host 10000 and arbiter 10000."""
    tables = tmp_path_factory.mktemp("tables")
    write_tables(tables)
    parties = ("--guest", "9999", "--host", "10000", "--arbiter", "10000")
    with running(tmp_path_factory.mktemp("judge") / "federation", parties=parties) as federation:
        yield Judge.of(federation.port, tables, tmp_path_factory.mktemp("client"))
