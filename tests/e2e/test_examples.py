"""Every job file of ``conf/examples`` runs on real daemons as its comment says: ``flow job submit -c FILE --watch``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from partyd.cli import demo_tables, example_tables, flow
from partyd.cli.example_tables import AT_BANK
from partyd.client import Client, Party, Rows
from partyd.components import NAMES
from partyd.components.scorecard import CREDIT_SCORE
from partyd.data.render import PREDICT_SCORE
from partyd.errors import PartydError
from tests.e2e.federation import ROOT, Federation, Json, running

EXAMPLES = ROOT / "conf" / "examples"
FILES = {path.stem: path for path in sorted(EXAMPLES.glob("*.yaml"))}
GUEST, HOST = 0, 1
AT_GUEST, AT_HOST = Party("guest", "10000"), Party("host", "9999")
WORKED = "credit_scoring"
SCORING = (
    *("reader_0", "psi_0", "hetero_feature_selection_0", "hetero_feature_binning_1"),
    *("coordinated_lr_0", "scorecard_0"),
)
"""The tasks of the worked example that score new customers, as docs/credit-scoring.md says."""


def read(path: Path) -> Json:
    """Return a job file's DAG."""
    return yaml.safe_load(path.read_text())["dag"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Give a federation of guest 10000, host 9999 and arbiter 9998 that has the examples' tables."""
    folder = tmp_path_factory.mktemp("tables")
    with running(tmp_path_factory.mktemp("examples") / "f", "embedded") as federation:
        cut = demo_tables.cut(demo_tables.load_users(), folder)
        breast = [(GUEST, cut.guest, "breast_guest", "y"), (HOST, cut.host, "breast_host", "")]
        roles = {"guest": GUEST, "host": HOST}
        others = [(roles[t.role], t.file, t.name, t.label) for t in example_tables.write_tables(folder)]
        for at, file, name, label in breast + others:
            form = {"label": label} if label else {}
            federation.upload(at, file.read_text(), "demo", name, sample_id="id", **form)
        for at, name in ((GUEST, "guest-10000"), (HOST, "host-9999")):
            federation.upload(at, f"id,value\nfortune,{at + 5}000000\n", "millionaires", name)
        yield federation


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def url(federation: Federation, at: int) -> str:
    return f"http://127.0.0.1:{federation.port + at}"


def submitted(federation: Federation, file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command of the files' comments, and return the id of the job, which has succeeded."""
    status = flow.run(["--url", url(federation, GUEST), "job", "submit", "-c", str(file), "--watch"])
    said = capsys.readouterr()
    assert status == 0, said.out + said.err
    return next(line.split()[1] for line in said.out.splitlines() if line.startswith("job "))


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
    job = submitted(federation, FILES[name], capsys)
    (view,) = federation.get("/v2/job/query", job_id=job)
    assert view["status"] == "success"


def test_the_credit_pipeline_ends_in_a_scorecard(
    federation: Federation, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    job = submitted(federation, FILES[WORKED], capsys)
    with Client(url(federation, GUEST)) as guest, Client(url(federation, HOST)) as host:
        for task in ("coordinated_lr_0", "hetero_secureboost_0"):
            held_out = guest.metrics(job, "evaluation_0", AT_GUEST)[f"{task}_validate_set_auc"].last
            assert 0.8 < held_out < 0.95
        assert {"income", "debt_ratio", "card_use"} <= selected(guest, job, AT_GUEST) < set(AT_BANK) - {"housing"}
        assert selected(host, job, AT_HOST) == {"late_bills", "contract_months", "monthly_bill", "top_ups"}
        for client, party in ((guest, AT_GUEST), (host, AT_HOST)):
            for task, port in (("1", "train_output_data"), ("2", "test_output_data")):
                weighed = client.rows(job, f"hetero_feature_binning_{task}", party, port=port)
                assert set(weighed.header) - {"id", "default"} == selected(client, job, party)
                assert all(abs(value) < 5 for name in selected(client, job, party) for value in numbers(weighed, name))
        insist_on_scorecard(guest.rows(job, "scorecard_0", AT_GUEST))
        with pytest.raises(PartydError, match="has given out no table"):
            host.rows(job, "scorecard_0", AT_HOST)
        deployed = tmp_path / "predict.yaml"
        command = ["--url", url(federation, GUEST), "model", "deploy", "-mid", job, "-mv", "0", "-o", str(deployed)]
        assert flow.run([*command, *(word for task in SCORING for word in ("--task", task))]) == 0
        again = submitted(federation, deployed, capsys)
        scores = guest.rows(again, "scorecard_0", AT_GUEST)
        insist_on_scorecard(scores)
        assert scores.count > guest.rows(job, "coordinated_lr_0", AT_GUEST, port="validate_output_data").count


def insist_on_scorecard(cards: Rows) -> None:
    """Insist on scores that fall as the risk rises."""
    by_risk = np.argsort(numbers(cards, PREDICT_SCORE))
    assert np.all(np.diff(np.array(numbers(cards, CREDIT_SCORE))[by_risk]) <= 0)
    assert len(set(numbers(cards, CREDIT_SCORE))) > 20


def selected(client: Client, job: str, party: Party) -> set[str]:
    """Return the columns that this party is left with."""
    model: Json = client.documents(job, "hetero_feature_selection_0", party)["train_output_model"]
    return {name for name, stays in model["data"]["selected_mask"].items() if stays}


def numbers(rows: Rows, name: str) -> list[float]:
    return [float(str(value)) for value in rows.column(name)]
