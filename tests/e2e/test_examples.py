"""Every job file of ``conf/examples`` runs on real daemons as its comment says: ``flow job submit -c FILE --watch``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from partyd.cli import demo_tables, example_tables, flow
from partyd.components import NAMES
from partyd.components.scorecard import CREDIT_SCORE
from tests.e2e.federation import ROOT, Federation, Json, running

EXAMPLES = ROOT / "conf" / "examples"
FILES = {path.stem: path for path in sorted(EXAMPLES.glob("*.yaml"))}
GUEST, HOST = 0, 1
AT = {GUEST: {"role": "guest", "party_id": "10000"}, HOST: {"role": "host", "party_id": "9999"}}
WORKED = "credit_scoring"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Give a federation of guest 10000, host 9999 and arbiter 9998 that has the examples' tables."""
    folder = tmp_path_factory.mktemp("tables")
    with running(tmp_path_factory.mktemp("examples") / "f", "embedded") as federation:
        cut = demo_tables.cut(demo_tables.load_users(), folder)
        breast = [(GUEST, cut.guest, "breast_guest", "y"), (HOST, cut.host, "breast_host", "")]
        sides = {"guest": GUEST, "host": HOST}
        others = [(sides[t.role], t.file, t.name, t.label) for t in example_tables.write_tables(folder)]
        for at, file, name, label in breast + others:
            form = {"label": label} if label else {}
            federation.upload(at, file.read_text(), "demo", name, sample_id="id", **form)
        for at in (GUEST, HOST):
            name = f"{AT[at]['role']}-{AT[at]['party_id']}"
            federation.upload(at, f"id,value\nfortune,{at + 5}000000\n", "millionaires", name)
        yield federation


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def submitted(federation: Federation, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command of the file's comment, and return the id of the job, which has succeeded."""
    url = f"http://127.0.0.1:{federation.port}"
    status = flow.run(["--url", url, "job", "submit", "-c", str(FILES[name]), "--watch"])
    said = capsys.readouterr()
    assert status == 0, said.out + said.err
    return next(line.split()[1] for line in said.out.splitlines() if line.startswith("job "))


def rows(federation: Federation, job: str, task: str, port: str, at: int = GUEST) -> list[dict[str, Any]]:
    """Return the rows of an output table at the party that has it."""
    found: Json = federation.get(
        "/v2/output/data/display", at, job_id=job, task_name=task, output_key=port, limit=100, **AT[at]
    )
    (table,) = found.values() if isinstance(found, dict) else (found,)
    return [dict(zip(table["header"], row, strict=True)) for row in table["data"]]


def model(federation: Federation, job: str, task: str, at: int = GUEST) -> Json:
    """Return the data of a task's model at a party."""
    (found,) = federation.get("/v2/output/model/query", at, job_id=job, task_name=task, **AT[at]).values()
    return found["data"]


def test_every_component_has_an_example() -> None:
    used = {task["component_ref"] for path in FILES.values() for task in read(path)["tasks"].values()}
    assert set(NAMES) == used
    alone = {"reader", "toy_example"}
    assert set(NAMES) - alone <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_comment_says_how_to_run_it(name: str) -> None:
    comment = [line for line in FILES[name].read_text().splitlines() if line.startswith("#")]
    assert comment[-1].endswith(f"flow job submit -c conf/examples/{name}.yaml --watch")


@pytest.mark.parametrize("name", [name for name in FILES if name != WORKED])
def test_the_example_succeeds(federation: Federation, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    job = submitted(federation, name, capsys)
    (view,) = federation.get("/v2/job/query", job_id=job)
    assert view["status"] == "success"


def read(path: Path) -> Json:
    """Return a job file's DAG."""
    return yaml.safe_load(path.read_text())["dag"]
