from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.components import COMPONENTS
from partyd.errors import JobRejected
from partyd.jobs.spec import JobSpec, parse_dag_text, read_dag
from partyd.types import ARBITER, GUEST, HOST, Address

PARTIES = [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": [9999]}]


def dag(**changes: Any) -> dict[str, Any]:
    body = {
        "parties": PARTIES,
        "stage": "train",
        "tasks": {
            "reader_0": {"component_ref": "reader", "parameters": {"namespace": "ns", "name": "t"}},
            "toy_0": {"component_ref": "toy_example", "dependent_tasks": ["reader_0"]},
        },
    }
    return {"dag": body | changes, "schema_version": "2.2.0"}


def reason(document: object) -> str:
    with pytest.raises(JobRejected) as caught:
        read_dag(document, COMPONENTS)
    return str(caught.value)


def test_reads_addresses_order_and_party_parameters() -> None:
    groups = {"host_9999": {"parties": [PARTIES[1]], "tasks": {"reader_0": {"parameters": {"name": "other"}}}}}
    spec = read_dag(dag(party_tasks=groups), COMPONENTS)
    assert spec.dag.addresses() == [Address("10000", GUEST), Address("9999", HOST)]
    assert spec.dag.order() == ["reader_0", "toy_0"]
    assert spec.dag.parameters("reader_0", Address("10000", GUEST)) == {"namespace": "ns", "name": "t"}
    assert spec.dag.parameters("reader_0", Address("9999", HOST)) == {"namespace": "ns", "name": "other"}


def test_round_trips_through_json() -> None:
    spec = read_dag(dag(), COMPONENTS)
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


def test_names_every_mistake_with_its_path_and_the_nearest_name() -> None:
    tasks = {
        "a": {"component_ref": "toy_exampel"},
        "b": {"component_ref": "toy_example", "parameters": {"data_nun": 3}},
        "c": {"component_ref": "toy_example", "dependent_tasks": ["missing"]},
    }
    said = reason(dag(tasks=tasks))
    assert "dag.tasks.a.component_ref" in said
    assert "did you mean 'toy_example'?" in said
    assert "dag.tasks.b.parameters (10000/guest).data_nun: no such field; did you mean 'data_num'?" in said
    assert "dag.tasks.c.dependent_tasks: no task 'missing'" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parties": []}, "dag.parties"),
        ({"parties": [{"role": "judge", "party_id": ["1"]}]}, "dag.parties.0.role"),
        ({"parties": [{"role": "guest", "party_id": ["a/b"]}]}, "may hold only"),
        ({"parties": [PARTIES[0], PARTIES[0]]}, "named twice"),
        ({"parties": [PARTIES[1]]}, "needs a guest"),
        ({"stage": "trian"}, "dag.stage"),
        ({"tasks": {}}, "dag.tasks"),
        ({"nonsense": 1}, "dag.nonsense: no such field"),
    ],
)
def test_refuses_with_the_place(change: dict[str, Any], said: str) -> None:
    assert said in reason(dag(**change))


def test_refuses_a_circle() -> None:
    tasks = {
        "a": {"component_ref": "toy_example", "dependent_tasks": ["b"]},
        "b": {"component_ref": "toy_example", "dependent_tasks": ["a"]},
    }
    assert "in a circle" in reason(dag(tasks=tasks))


def test_refuses_text_that_is_no_yaml_or_too_long() -> None:
    with pytest.raises(JobRejected, match="neither YAML nor JSON"):
        parse_dag_text("a: [", "dag.yaml")
    with pytest.raises(JobRejected, match="at most"):
        parse_dag_text("a" * (2 << 20), "dag.yaml")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, JSON, JSON)
def test_any_document_is_read_or_rejected(parties: object, tasks: object, extra: object) -> None:
    for document in (extra, {"dag": extra}, {"dag": {"parties": parties, "tasks": tasks}}, dag(tasks={"x": tasks})):
        with pytest.raises(JobRejected):
            read_dag(document, COMPONENTS)


def test_knows_who_takes_part() -> None:
    spec = read_dag(dag(parties=[*PARTIES, {"role": "arbiter", "party_id": "1"}]), COMPONENTS)
    toy = COMPONENTS["toy_example"]
    assert spec.dag.takes_part("toy_0", Address("10000", GUEST), toy)
    assert not spec.dag.takes_part("toy_0", Address("1", ARBITER), toy)


@pytest.mark.parametrize("name", ["", "../x", "a b", "é", "x" * 129, "a\n"])
def test_a_tasks_name_must_fit_into_every_message_of_it(name: str) -> None:
    dag = {
        "parties": [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": ["9999"]}],
        "tasks": {name: {"component_ref": "toy_example"}},
    }
    with pytest.raises(JobRejected, match="a task's name is 1 to 128"):
        read_dag({"dag": dag}, COMPONENTS)


@pytest.mark.parametrize(
    "text", ["a: &a [x]\nb: [*a, *a]", "[" * 100_000, "- " * 100_000, '{"a":' * 100_000, "1" * 5000, "2020-99-99"]
)
def test_texts_made_to_exhaust_the_reader_are_refused(text: str) -> None:
    with pytest.raises(JobRejected, match="neither YAML nor JSON"):
        parse_dag_text(text, "the file")


def test_flow_style_yaml_that_begins_like_json_is_read() -> None:
    assert parse_dag_text("{a: [1, 2], b: x}", "the file") == {"a": [1, 2], "b": "x"}
