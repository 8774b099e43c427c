"""Which tables a task reads."""

from __future__ import annotations

from partyd.components import COMPONENTS
from partyd.dag.spec import read_dag
from partyd.governance.datasets import tables_of
from partyd.governance.policy_rules import DatasetName
from partyd.types import GUEST, Address

ME = Address("9999", GUEST)


def test_a_transformer_reads_the_table_that_is_connected_not_the_one_that_it_makes() -> None:
    table = {"data_warehouse": {"namespace": "raw", "name": "rows"}}
    tasks = {
        "made": {
            "component_ref": "dataframe_transformer",
            "parameters": {"namespace": "experiment", "name": "made"},
            "inputs": {"data": {"table": table}},
        },
        "read": {"component_ref": "reader", "parameters": {"namespace": "credit", "name": "customers"}},
    }
    parties = [{"role": "guest", "party_id": ["9999"]}]
    document = {"schema_version": "2.2.0", "dag": {"parties": parties, "stage": "default", "tasks": tasks}}
    dag = read_dag(document, COMPONENTS).dag
    assert list(tables_of(dag, "made", ME)) == [DatasetName("raw", "rows")]
    assert list(tables_of(dag, "read", ME)) == [DatasetName("credit", "customers")]
