"""The DAGs of ``flow test`` and the demo: accepted as written, and the same as the files in ``conf/examples``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from partyd.cli import sample_jobs
from partyd.components import COMPONENTS
from partyd.dag.spec import read_dag

EXAMPLES = Path(__file__).resolve().parents[2] / "conf" / "examples"
DAGS = {
    "toy": sample_jobs.toy("10000", "9999"),
    "millionaires": sample_jobs.millionaires("10000", "9999"),
    "breast_lr": sample_jobs.breast_lr("10000", "9999", "9998"),
}


@pytest.mark.parametrize("name", DAGS)
def test_the_dag_is_accepted_and_the_same_as_its_file(name: str) -> None:
    written = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    assert read_dag(DAGS[name], COMPONENTS) == read_dag(written, COMPONENTS)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_accepted(path: Path) -> None:
    assert read_dag(yaml.safe_load(path.read_text()), COMPONENTS).dag.order()


def test_the_toy_may_be_between_two_roles_of_one_party() -> None:
    spec = read_dag(sample_jobs.toy("10000", "10000", task_cores=2), COMPONENTS)
    assert [str(address) for address in spec.dag.addresses()] == ["10000/guest", "10000/host"]
    assert spec.dag.conf.cores == 2


def test_the_demo_runs_its_tasks_in_order() -> None:
    order = read_dag(DAGS["breast_lr"], COMPONENTS).dag.order()
    assert order[0] == "reader_0"
    assert order.index("psi_0") < order.index("coordinated_lr_0") < order.index("evaluation_1")
