from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.components import COMPONENTS
from partyd.dag.spec import JobSpec, ModelSource, Source, TableSource, TaskConf, read_dag, remarks
from partyd.errors import JobRejected
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.dag.registry import REGISTRY

DAGS = sorted((Path(__file__).parent / "dags").glob("*.json"))
"""What FATE's own client sends for pipelines written in its documented style."""
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
    assert "dag.tasks.b.parameters.data_nun: no such field; did you mean 'data_num'?" in said
    assert "dag.tasks.c.dependent_tasks.0: no task 'missing'" in said


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


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a b", "é", "x" * 129, "a\n"])
def test_a_tasks_name_must_fit_into_every_message_of_it(name: str) -> None:
    dag = {
        "parties": [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": ["9999"]}],
        "tasks": {name: {"component_ref": "toy_example"}},
    }
    with pytest.raises(JobRejected, match="a task's name is 1 to 128"):
        read_dag({"dag": dag}, COMPONENTS)


def pipeline(name: str) -> Any:
    return json.loads((Path(__file__).parent / "dags" / f"{name}.json").read_text())


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_takes_what_fates_client_sends(path: Path) -> None:
    spec = read_dag(json.loads(path.read_text()), REGISTRY)
    assert read_dag(spec.model_dump(mode="json"), REGISTRY) == spec
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert read_dag(json.loads(spec.to_json()), REGISTRY) == spec
    assert len(spec.to_json()) < len(path.read_text())
    for task in spec.dag.tasks.values():
        assert REGISTRY[task.component_ref].name == task.component_ref


def test_an_input_may_differ_by_party() -> None:
    spec = read_dag(pipeline("several_hosts"), REGISTRY)
    (guest,) = spec.dag.artifacts("psi_0", Address("9999", GUEST), REGISTRY)["input_data"]
    (host,) = spec.dag.artifacts("psi_0", Address("10001", HOST), REGISTRY)["input_data"]
    assert isinstance(guest, TableSource)
    assert isinstance(host, TableSource)
    assert (guest.namespace, guest.name, host.name) == ("experiment", "breast_hetero_guest", "breast_hetero_host")
    both = spec.dag.artifacts("union_0", Address("10000", HOST), REGISTRY)["input_datas"]
    assert [o.producer_task for o in both if isinstance(o, Source)] == ["sample_0", "sample_1"]


def test_of_producers_that_run_elsewhere_nothing_is_read() -> None:
    document = pipeline("asymmetric")
    for source in document["dag"]["tasks"]["psi_0"]["inputs"]["data"]["input_data"]["task_output_artifact"]:
        source.pop("parties")
    spec = read_dag(document, REGISTRY)
    for address, expected in ((Address("9999", GUEST), "reader_0"), (Address("10000", HOST), "union_0")):
        (origin,) = spec.dag.artifacts("psi_0", address, REGISTRY)["input_data"]
        assert isinstance(origin, Source)
        assert origin.producer_task == expected
    assert spec.dag.dependencies("psi_0") == {"reader_0", "union_0"}


def test_a_stored_model_is_the_one_that_the_conf_names() -> None:
    spec = read_dag(pipeline("lr_predict"), REGISTRY)
    (model,) = spec.dag.artifacts("lr_0", Address("10000", HOST), REGISTRY)["input_model"]
    assert isinstance(model, ModelSource)
    assert (model.model_id, model.model_version, model.producer_task, model.output_artifact_key) == (
        "202601010000000000000",
        "0",
        "lr_0",
        "output_model",
    )
    assert spec.dag.stage == spec.dag.stage_of("lr_0") == "predict"
    assert spec.dag.stage_of("psi_0") == "default"
    assert "lr_0" not in spec.dag.dependencies("lr_0")


def test_a_party_may_name_its_own_input() -> None:
    document = pipeline("asymmetric")
    table = {"data_warehouse": {"namespace": "n", "name": "t", "roles": ["guest"]}}
    group = document["dag"]["party_tasks"] = {}
    group["g"] = {
        "parties": [{"role": "guest", "party_id": 9999}],
        "tasks": {"psi_0": {"inputs": {"data": {"input_data": table}}}},
    }
    spec = read_dag(document, REGISTRY)
    (own,) = spec.dag.artifacts("psi_0", Address("9999", GUEST), REGISTRY)["input_data"]
    (other,) = spec.dag.artifacts("psi_0", Address("10000", HOST), REGISTRY)["input_data"]
    assert isinstance(own, TableSource)
    assert isinstance(other, Source)


def test_the_conf_of_a_task_is_what_the_nearest_place_says() -> None:
    spec = read_dag(pipeline("lr_train"), REGISTRY)
    guest = Address("9999", GUEST)
    assert spec.dag.task_conf("lr_0", guest) == TaskConf(timeout_s=3600, cores=2, auto_retries=1, provider=None)
    spec = read_dag(pipeline("several_hosts"), REGISTRY)
    assert spec.dag.task_conf("psi_0", guest) == TaskConf()
    other = Address("10001", HOST)
    assert spec.dag.task_conf("sample_0", other) == TaskConf(timeout_s=60, provider="fate:2.2.0@local")


def test_the_cores_of_a_job_are_shared_by_its_tasks() -> None:
    conf = {"cores": 8, "task_parallelism": 3, "task": {"auto_retries": 4}, "timeout": 5, "priority": 9}
    spec = read_dag(dag(conf=conf), COMPONENTS)
    found = spec.dag.task_conf("toy_0", Address("10000", GUEST))
    assert (found.cores, found.auto_retries, spec.dag.conf.timeout, spec.dag.conf.priority) == (2, 4, 5, 9)


def test_says_which_settings_change_nothing() -> None:
    conf = {
        "sync_type": "poll",
        "scheduler_party_id": 9999,
        "computing_partitions": 8,
        "engine": {"name": "spark"},
        "task": {"launcher_name": "default", "provider": "fate:2.2.0@local", "engine_run": {"nodes": 2, "cores": 1}},
        "zzz": 1,
    }
    said = remarks(read_dag(dag(conf=conf), COMPONENTS))
    assert [sentence.split(":")[0] for sentence in said] == [
        "dag.conf.scheduler_party_id",
        "dag.conf.computing_partitions",
        "dag.conf.sync_type",
        "dag.conf.engine",
        "dag.conf.zzz",
        "dag.conf.task.provider",
        "dag.conf.task.engine_run.nodes",
    ]
    assert remarks(read_dag(dag(), COMPONENTS)) == []
    of_parties = remarks(read_dag(pipeline("several_hosts"), REGISTRY))
    assert of_parties[0] == (
        "dag.party_tasks.host_10000.tasks.sample_0.conf.provider: has no effect here: "
        "every component is run by this installation"
    )


def test_null_is_the_same_as_absent_but_in_parameters() -> None:
    document = dag(conf=None, party_tasks=None, stage=None)
    document |= {"kind": None, "schema_version": None}
    document["dag"]["tasks"]["toy_0"] |= {
        "inputs": None,
        "outputs": {"data": None},
        "parties": None,
        "conf": {"x": None},
    }
    document["dag"]["parties"][0]["party_id"] = 10000
    assert read_dag(document, COMPONENTS) == read_dag(dag(), COMPONENTS)
    document = pipeline("lr_train")
    parameters = read_dag(document, REGISTRY).dag.parameters("lr_0", Address("9999", GUEST))
    assert parameters["batch_size"] is None


@pytest.mark.parametrize("version", ["2.0.0.alpha", "2.0.0.beta", "2.2.0", 2.2, 2])
def test_every_2x_is_read(version: object) -> None:
    assert read_dag(dag() | {"schema_version": version}, COMPONENTS).kind == "fate"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": "1.11"}, "schema_version: version '1.11' is not read"),
        ({"schema_version": "20"}, "write the job for schema_version 2.x"),
        ({"kind": "bfia"}, "kind: jobs of the kind bfia are not run"),
        ({"kind": "fete"}, "there is no kind 'fete'"),
        ({"schema_versoin": "2.2.0"}, "schema_versoin: no such field; did you mean 'schema_version'?"),
    ],
)
def test_other_kinds_and_versions_are_refused(change: dict[str, Any], said: str) -> None:
    assert said in reason(dag() | change)


def test_one_answer_holds_the_mistakes_of_form_and_of_sense() -> None:
    document = pipeline("lr_train")
    tasks = document["dag"]["tasks"]
    tasks["psi_0"]["inptus"] = tasks["psi_0"].pop("inputs")
    tasks["lr_0"]["component_ref"] = "cordinated_lr"
    tasks["statistics_0"]["inputs"]["data"]["input_data"]["task_output_artifact"]["producer_task"] = "feature_scal_0"
    document["dag"]["conf"]["cores"] = 0
    with pytest.raises(JobRejected) as caught:
        read_dag(document, REGISTRY)
    assert {mistake.path: mistake.hint for mistake in caught.value.mistakes} == {
        "dag.tasks.psi_0.inptus": "did you mean 'inputs'?",
        "dag.conf.cores": "it is 0",
        "dag.tasks.lr_0.component_ref": "did you mean 'coordinated_lr'?",
        "dag.tasks.statistics_0.inputs.data.input_data.task_output_artifact.producer_task": (
            "did you mean 'feature_scale_0'?"
        ),
    }
    assert str(caught.value) == "; ".join(map(str, caught.value.mistakes))


def test_an_answer_is_bounded() -> None:
    tasks = {f"t{i}": {"component_ref": "x" * 1_000} for i in range(500)}
    with pytest.raises(JobRejected) as caught:
        read_dag(dag(tasks=tasks), COMPONENTS)
    assert len(caught.value.mistakes) == 101
    assert len(str(caught.value)) < 100_000
    assert "400 more mistakes" in str(caught.value)


@given(st.data())
def test_a_job_with_any_part_replaced_is_read_or_rejected(data: st.DataObject) -> None:
    document = copy.deepcopy(pipeline(data.draw(st.sampled_from(["lr_train", "several_hosts", "lr_predict"]))))
    here = parent = document
    key: Any = "dag"
    for _ in range(data.draw(st.integers(0, 9))):
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list):
            here[key] = data.draw(JSON)
            break
        parent, here = here, here[key]
    else:
        parent[key] = data.draw(JSON)
    try:
        spec = read_dag(document, REGISTRY)
    except JobRejected as error:
        rejected, spec = error, None
    if spec is None:
        assert rejected.mistakes
    else:
        assert read_dag(json.loads(spec.to_json()), REGISTRY) == spec


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "x" * 257, "a\n"])
@pytest.mark.parametrize("field", ["model_id", "model_version", "producer_task", "output_artifact_key"])
def test_no_name_of_a_stored_model_means_something_in_a_path(field: str, name: str) -> None:
    document = pipeline("lr_predict")
    model = document["dag"]["tasks"]["lr_0"]["inputs"]["model"]["input_model"]["model_warehouse"]
    model[field] = name
    with pytest.raises(JobRejected) as caught:
        read_dag(document, REGISTRY)
    assert [m.path for m in caught.value.mistakes] == [
        f"dag.tasks.lr_0.inputs.model.input_model.model_warehouse.{field}"
    ]


def test_the_model_ids_of_fate_are_read() -> None:
    document = pipeline("lr_predict")
    document["dag"]["conf"]["model_warehouse"] = {"model_id": "arbiter-10000#guest-9999#host-10000#model"}
    (model,) = read_dag(document, REGISTRY).dag.artifacts("lr_0", Address("9999", GUEST), REGISTRY)["input_model"]
    assert isinstance(model, ModelSource)
    assert (model.model_id, model.model_version) == ("arbiter-10000#guest-9999#host-10000#model", "0")
