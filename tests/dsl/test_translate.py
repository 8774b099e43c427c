from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.dag.spec import read_dag
from partyd.dsl.modules import MODULES, WITHOUT
from partyd.dsl.translate import Translated, read_any, translate
from partyd.errors import JobRejected, Mistake
from partyd.types import GUEST, HOST, Address
from tests.dag.registry import REGISTRY

G, H = Address("9999", GUEST), Address("10000", HOST)


def node(module: str, *outputs: str, model: str = "", isometric: str = "", of: str = "", **data: str) -> dict[str, Any]:
    """Return a component that reads the tables ``data`` and the models named, with data outputs and perhaps a model."""
    made: dict[str, Any] = {"module": module, "input": {"data": {key: [value] for key, value in data.items()}}}
    made["output"] = {"data": list(outputs)}
    if model:
        made["output"]["model"] = [model]
    if of:
        made["input"]["model"] = [of]
    if isometric:
        made["input"]["isometric_model"] = [isometric]
    return made


def dsl() -> dict[str, Any]:
    return {
        "components": {
            "reader_0": node("Reader", "table"),
            "transform_0": node("DataTransform", "train", data="reader_0.table", model="t"),
            "intersection_0": node("Intersection", "train", data="transform_0.train"),
            "split_0": node("HeteroDataSplit", "train_data", "validate_data", "test_data", data="intersection_0.train"),
            "scale_0": node("FeatureScale", "out", data="split_0.train_data", model="s"),
            "scale_1": node("FeatureScale", "out", data="split_0.test_data", of="scale_0.s"),
            "binning_0": node("HeteroFeatureBinning", "out", data="scale_0.out", model="b"),
            "selection_0": node(
                "HeteroFeatureSelection", "out", data="binning_0.out", model="s", isometric="binning_0.b"
            ),
            "lr_0": node("HeteroLR", "out", train_data="selection_0.out", validate_data="scale_1.out", model="m"),
            "lr_1": node("HeteroLR", "out", test_data="scale_1.out", of="lr_0.m"),
            "evaluation_0": {
                "module": "Evaluation",
                "input": {"data": {"data": ["lr_0.out", "lr_1.out"]}},
                "output": {"data": ["x"]},
            },
        }
    }


LR = {
    "penalty": "L2",
    "optimizer": "nesterov_momentum_sgd",
    "alpha": 0.01,
    "max_iter": 3,
    "batch_size": -1,
    "learning_rate": 0.15,
    "decay": 0,
    "init_param": {"init_method": "zeros", "fit_intercept": True},
    "encrypt_param": {"method": "Paillier", "key_length": 2048},
    "cv_param": {"n_splits": 5, "shuffle": False, "random_seed": 103, "need_cv": False},
}


SUMMARY = ["sum", "mean", "std", "median", "min", "max", "var", "missing_count", "skewness", "kurtosis"]


def conf(**changes: Any) -> dict[str, Any]:
    return {
        "dsl_version": "2",
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000], "arbiter": [10000]},
        "job_parameters": {"common": {"job_type": "train", "task_parallelism": 2, "computing_partitions": 8}},
        "component_parameters": {
            "common": {"lr_0": copy.deepcopy(LR), "evaluation_0": {"eval_type": "binary"}},
            "role": {
                "guest": {"0": {"reader_0": {"table": {"name": "g", "namespace": "experiment"}}}},
                "host": {"0|1": {"reader_0": {"table": {"name": "h", "namespace": "experiment"}}}},
            },
        },
    } | changes


def common(**parameters: Any) -> dict[str, Any]:
    """Return a conf with these parameters for all parties."""
    made = conf()
    made["component_parameters"]["common"] = parameters
    return made


def mistakes(dsl: object, conf: object) -> list[Mistake]:
    with pytest.raises(JobRejected) as caught:
        translate(dsl, conf)
    assert caught.value.mistakes
    return list(caught.value.mistakes)


def said(translated: Translated) -> dict[str, str]:
    return {note.path: note.message for note in translated.notes}


def only(module: str, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what becomes of one module's parameters, and the notes by parameter."""
    made = {"components": {"reader_0": node("Reader", "t"), "x_0": node(module, "o", data="reader_0.t")}}
    translated = translate(made, common(x_0=parameters))
    where = "conf.component_parameters.common.x_0."
    notes = {path.removeprefix(where): note for path, note in said(translated).items() if path.startswith(where)}
    return translated.document["dag"]["tasks"]["x_0"]["parameters"], notes


def test_a_whole_job_becomes_one_that_read_dag_takes() -> None:
    translated = translate(dsl(), conf())
    spec = read_dag(translated.document, REGISTRY)
    tasks = spec.dag.tasks
    assert {name: task.component_ref for name, task in tasks.items()} == {
        "reader_0": "reader",
        "intersection_0": "psi",
        "split_0": "data_split",
        "scale_0": "feature_scale",
        "scale_1": "feature_scale",
        "binning_0": "hetero_feature_binning",
        "selection_0": "hetero_feature_selection",
        "lr_0": "coordinated_lr",
        "lr_1": "coordinated_lr",
        "evaluation_0": "evaluation",
    }
    assert [str(a) for a in spec.dag.addresses()] == ["9999/guest", "10000/host", "10000/arbiter"]
    assert spec.dag.parameters("reader_0", G) == {"namespace": "experiment", "name": "g"}
    assert spec.dag.parameters("reader_0", H) == {"namespace": "experiment", "name": "h"}
    assert {name: spec.dag.stage_of(name) for name in ("scale_0", "scale_1", "lr_0", "lr_1")} == {
        "scale_0": "train",
        "scale_1": "predict",
        "lr_0": "train",
        "lr_1": "predict",
    }
    assert (spec.dag.conf.task_parallelism, spec.dag.conf.computing_partitions) == (2, 8)


def sources(translated: Translated, task: str) -> dict[str, list[str]]:
    inputs = translated.document["dag"]["tasks"][task]["inputs"]
    found = {}
    for port, artifact in (inputs["data"] | inputs["model"]).items():
        listed = artifact["task_output_artifact"]
        listed = listed if isinstance(listed, list) else [listed]
        found[port] = [f"{s['producer_task']}.{s['output_artifact_key']}" for s in listed]
    return found


def test_inputs_are_connected_as_before() -> None:
    translated = translate(dsl(), conf())
    assert sources(translated, "intersection_0") == {"input_data": ["reader_0.output_data"]}
    assert sources(translated, "scale_0") == {"train_data": ["split_0.train_output_data"]}
    assert sources(translated, "scale_1") == {
        "test_data": ["split_0.test_output_data"],
        "input_model": ["scale_0.output_model"],
    }
    assert sources(translated, "selection_0") == {
        "train_data": ["binning_0.train_output_data"],
        "input_models": ["binning_0.output_model"],
    }
    assert sources(translated, "lr_0") == {
        "train_data": ["selection_0.train_output_data"],
        "validate_data": ["scale_1.test_output_data"],
    }
    assert sources(translated, "evaluation_0") == {"input_datas": ["lr_0.train_output_data", "lr_1.test_output_data"]}


def test_the_parameters_of_a_regression_mean_the_same() -> None:
    parameters = translate(dsl(), conf()).document["dag"]["tasks"]["lr_0"]["parameters"]
    assert parameters == {
        "epochs": 3,
        "batch_size": None,
        "optimizer": {
            "method": "sgd",
            "penalty": "l2",
            "alpha": 0.01,
            "optimizer_params": {"lr": 0.15, "momentum": 0.9, "nesterov": True},
        },
        "tol": 1e-4,
        "early_stop": "diff",
        "init_param": {"method": "zeros", "fit_intercept": True},
        "he_param": {"kind": "paillier", "key_length": 2048},
        "cv_param": {"n_splits": 5, "shuffle": False, "random_state": 103},
    }


def test_what_1x_takes_unsaid_is_written_out_and_what_it_does_besides_is_noted() -> None:
    translated = translate(dsl(), common())
    parameters = translated.document["dag"]["tasks"]["lr_0"]["parameters"]
    assert (parameters["epochs"], parameters["optimizer"]["method"]) == (100, "rmsprop")
    assert "1.x lowers the learning rate" in said(translated)["dsl.components.lr_0"]
    assert "dsl.components.lr_1" not in said(translated)


@pytest.mark.parametrize(
    ("module", "given", "expected", "noted"),
    [
        ("Intersection", {"intersect_method": "rsa", "sync_intersect_ids": True}, {}, {"intersect_method"}),
        (
            "Intersection",
            {"cardinality_only": True, "join_method": "left_join"},
            {},
            {"cardinality_only", "join_method"},
        ),
        (
            "HomoDataSplit",
            {"test_size": 0.3, "stratified": True, "split_points": [0.5], "shuffle": True},
            {"test_size": 0.3, "stratified": True, "hetero_sync": False},
            {"split_points"},
        ),
        (
            "FederatedSample",
            {"mode": "stratified", "method": "upsample", "fractions": [[0, 0.3], [1, 0.5]], "task_type": "homo"},
            {"frac": {"0": 0.3, "1": 0.5}, "replace": True, "hetero_sync": False},
            set(),
        ),
        ("FederatedSample", {"mode": "exact_by_weight"}, {}, {"mode"}),
        (
            "FeatureScale",
            {"method": "min_max_scale", "scale_col_indexes": -1, "scale_names": ["x0"], "feat_upper": [2]},
            {"method": "min_max", "scale_col": ["x0"]},
            {"feat_upper"},
        ),
        (
            "DataStatistics",
            {"statistics": ["count", "stddev", "95%"], "column_indexes": [1], "quantile_error": 0.01},
            {"metrics": ["count", "std", "95%"], "relative_error": 0.01},
            {"column_indexes"},
        ),
        (
            "HeteroFeatureBinning",
            {"method": "bucket", "bin_num": 5, "bin_indexes": [1], "transform_param": {"transform_type": "woe"}},
            {"method": "bucket", "n_bins": 5, "bin_idx": [1], "transform_method": "woe"},
            set(),
        ),
        (
            "HeteroFeatureSelection",
            {"filter_methods": ["iv_filter", "vif_filter"], "iv_param": {"threshold": [0.1]}, "vif_param": {"x": 1}},
            {"method": ["iv"], "iv_param": {"threshold": [0.1]}},
            {"filter_methods", "vif_param"},
        ),
        (
            "HeteroSecureBoost",
            {
                "task_type": "classification",
                "objective_param": {"objective": "cross_entropy"},
                "num_trees": 3,
                "tree_param": {"max_depth": 4},
                "run_goss": True,
                "use_missing": True,
            },
            {
                "objective": "binary:bce",
                "num_trees": 3,
                "max_depth": 4,
                "goss": True,
                "learning_rate": 0.3,
                "max_bin": 32,
                "l2": 0.1,
                "l1": 0,
                "min_impurity_split": 1e-3,
            },
            {"use_missing"},
        ),
        ("DataStatistics", {}, {"metrics": SUMMARY}, set()),
        ("FederatedSample", {"fractions": "half"}, {}, {"fractions"}),
        (
            "HeteroSecureBoost",
            {"objective_param": {"objective": "tweedie"}, "tree_param": {"criterion_params": 1}},
            {},
            {"objective_param.objective", "tree_param.criterion_params"},
        ),
        ("HeteroPearson", {"cross_parties": False}, {"local_only": True}, set()),
        ("HeteroLR", {"optimizer": "sqn", "nonsense": 1}, {}, {"optimizer", "nonsense"}),
        ("HeteroSSHELR", {"penalty": "L2", "max_iter": 5, "reveal_every_iter": True}, {}, {"penalty"}),
        ("HomoLR", {"aggregate_iters": 2, "early_stop": "diff"}, {}, {"aggregate_iters", "early_stop"}),
    ],
)
def test_parameters_with_a_counterpart_are_kept_and_others_noted(
    module: str, given: dict[str, Any], expected: dict[str, Any], noted: set[str]
) -> None:
    parameters, notes = only(module, given)
    assert {name: parameters[name] for name in expected} == expected
    assert set(notes) == noted
    assert all(len(note) > 20 for note in notes.values())


def test_a_party_sets_only_what_differs() -> None:
    made = conf()
    made["component_parameters"]["role"]["host"]["0"] = {"lr_0": {"learning_rate": 0.3, "metrics": ["auc"]}}
    translated = translate(dsl(), made)
    groups = translated.document["dag"]["party_tasks"]
    own = groups["host_10000"]["tasks"]["lr_0"]["parameters"]
    assert own == {
        "optimizer": {
            "method": "sgd",
            "penalty": "l2",
            "alpha": 0.01,
            "optimizer_params": {"lr": 0.3, "momentum": 0.9, "nesterov": True},
        }
    }
    assert groups["host_10000"]["parties"] == [{"role": "host", "party_id": ["10000"]}]
    assert "conf.component_parameters.role.host.0.lr_0.metrics" in said(translated)


def test_what_a_transform_says_of_columns_is_noted() -> None:
    made = conf()
    made["component_parameters"]["common"]["transform_0"] = {"label_name": "y", "missing_fill": True}
    made["component_parameters"]["role"]["guest"]["0"]["transform_0"] = {"with_label": True}
    notes = said(translate(dsl(), made))
    assert "uploaded" in notes["conf.component_parameters.common.transform_0.label_name"]
    assert "not filled in" in notes["conf.component_parameters.common.transform_0.missing_fill"]
    assert "conf.component_parameters.role.guest.0.transform_0.with_label" in notes


def test_cross_validation_is_a_stage() -> None:
    made = common(lr_0=LR | {"cv_param": {"need_cv": True, "n_splits": 3}})
    task = translate(dsl(), made).document["dag"]["tasks"]["lr_0"]
    assert task["stage"] == "cross_validation"
    assert "cv_data" in task["inputs"]["data"]
    assert task["parameters"]["cv_param"] == {"n_splits": 3}


def test_the_first_steps_tree_and_toy_run_too() -> None:
    components = {
        "secure_add_example_0": {"module": "SecureAddExample"},
        "reader_0": {"module": "Reader", "output": {"data": ["t"]}},
        "union_0": {
            "module": "Union",
            "input": {"data": {"data": ["reader_0.t", "reader_0.t"]}},
            "output": {"data": ["u"]},
        },
    }
    made = conf()
    made["component_parameters"]["common"] = {"secure_add_example_0": {"data_num": 10, "seed": 3}}
    spec, notes = read_any({"dsl": {"components": components}, "conf": made}, REGISTRY)
    assert spec.dag.parameters("secure_add_example_0", G) == {"data_num": 10}
    assert [note.path for note in notes] == ["conf.component_parameters.common.secure_add_example_0.seed"]


def predict_conf() -> dict[str, Any]:
    made = conf()
    made["job_parameters"]["common"] = {"job_type": "predict", "model_id": "m", "model_version": 7}
    made["component_parameters"]["common"] = {}
    return made


def test_a_prediction_reads_its_models_from_the_registry() -> None:
    made = dsl()["components"]
    del made["lr_1"], made["scale_1"], made["split_0"]
    made["scale_0"]["input"]["data"]["data"] = ["intersection_0.train"]
    del made["lr_0"]["input"]["data"]["validate_data"]
    made["lr_0"]["input"]["model"] = ["pipeline.hetero_lr_7.m"]
    made["evaluation_0"]["input"]["data"]["data"] = ["lr_0.out"]
    spec, notes = read_any({"job_dsl": {"components": made}, "job_runtime_conf": predict_conf()}, REGISTRY)
    assert spec.dag.stage == "predict"
    assert spec.dag.conf.model_warehouse.model_id == "m"
    assert spec.dag.conf.model_warehouse.model_version == "7"
    for task, stored, key in (
        ("scale_0", "scale_0", "output_model"),
        ("selection_0", "selection_0", "train_output_model"),
        ("lr_0", "hetero_lr_7", "output_model"),
    ):
        (model,) = spec.dag.tasks[task].inputs.model["input_model"].model_warehouse
        assert (model.producer_task, model.output_artifact_key) == (stored, key)
        assert list(spec.dag.tasks[task].inputs.data) == ["test_data"]
    assert any("1.x trained cannot be read" in note.message for note in notes)


def test_a_prediction_names_its_model() -> None:
    made = predict_conf()
    del made["job_parameters"]["common"]["model_id"]
    assert [m.path for m in mistakes(dsl(), made)] == ["conf.job_parameters.common.model_id"]


def test_a_prediction_without_its_dsl_says_how_to_get_one() -> None:
    with pytest.raises(JobRejected, match=r"dsl: is missing; add the DSL: for a prediction, what flow model get-pred"):
        read_any({"conf": predict_conf()}, REGISTRY)


def test_every_module_without_counterpart_is_named() -> None:
    made = dsl()
    made["components"]["kmeans_0"] = node("HeteroKmeans", "o", train_data="scale_0.out")
    made["components"]["nn_0"] = node("HeteroNN", "o", train_data="scale_0.out")
    made["components"]["lr_9"] = node("HeteroLr", "o", train_data="scale_0.out")
    found = {m.path: m.hint for m in mistakes(made, conf())}
    assert set(found) == {f"dsl.components.{name}.module" for name in ("kmeans_0", "nn_0", "lr_9")}
    assert found["dsl.components.lr_9.module"] == "did you mean 'HeteroLR'?"
    assert "write a DAG with hetero_nn" in found["dsl.components.nn_0.module"]
    assert not set(MODULES) & set(WITHOUT)


@pytest.mark.parametrize("first", [{}, {"dsl_version": 1}, {"dsl_version": "2", "role_parameters": {}}, None, "x"])
def test_the_first_version_of_the_dsl_is_refused_clearly(first: object) -> None:
    (mistake,) = mistakes(dsl(), first)
    if first not in (None, "x"):
        assert mistake.path == "conf.dsl_version"
        assert "only DSL version 2" in mistake.message


def change(path: str, value: object) -> tuple[dict[str, Any], dict[str, Any]]:
    made: dict[str, Any] = {"dsl": dsl(), "conf": conf()}
    *keys, last = path.split("/")
    here = made
    for key in keys:
        here = here[key]
    here[last] = value
    return made["dsl"], made["conf"]


@pytest.mark.parametrize(
    ("path", "value", "where", "message", "hint"),
    [
        (
            "dsl/components/scale_0/input/data/data",
            ["spit_0.o"],
            "dsl.components.scale_0.input.data.data.0",
            "no comp",
            "split_0",
        ),
        (
            "dsl/components/scale_0/input/data/data",
            ["split_0.train"],
            "dsl.components.scale_0.input.data.data.0",
            "no data output",
            "train_data",
        ),
        (
            "dsl/components/lr_1/input/model",
            ["lr_0.n"],
            "dsl.components.lr_1.input.model.0",
            "no model output 'n'",
            "m",
        ),
        (
            "dsl/components/lr_1/input/model",
            ["lr_7.m"],
            "dsl.components.lr_1.input.model.0",
            "no component 'lr_7'",
            "lr_",
        ),
        ("dsl/components/lr_0/module", 7, "dsl.components.lr_0.module", "valid string", ""),
        (
            "dsl/components/transform_0/input/data/data",
            ["transform_0.train"],
            "dsl.components.intersection_0.input.data.data.0",
            "circle",
            "Reader",
        ),
        ("dsl/components/transform_0/input/data", {}, "dsl.components.transform_0.input.data", "reads 0 tables", "one"),
        ("conf/role", [], "conf.role", "valid dict", ""),
        ("conf/initiator/party_id", 1, "conf.initiator", "1/guest is not among the roles", "name one"),
        (
            "conf/component_parameters/common/lr_00",
            {},
            "conf.component_parameters.common.lr_00",
            "no component",
            "lr_0",
        ),
        (
            "conf/job_parameters/common/job_type",
            ["x"],
            "conf.job_parameters.common.job_type",
            "neither train nor",
            "one of",
        ),
    ],
)
def test_mistakes_are_named_where_they_stand(path: str, value: object, where: str, message: str, hint: str) -> None:
    found = mistakes(*change(path, value))
    assert any(m.path == where and message in m.message and hint in m.hint for m in found), found


@pytest.mark.parametrize(
    ("path", "value", "noted"),
    [
        ("conf/provider", {"common": {"lr_0": "fate@1.9.0"}}, "conf.provider"),
        ("conf/job_parameters/common/eggroll_run", {"x": 1}, "conf.job_parameters.common.eggroll_run"),
        ("conf/job_parameters/role", {"guest": {"0": {"user": ""}}}, "conf.job_parameters.role.guest"),
        ("conf/role/local", [9999], "conf.role.local"),
        ("conf/something", 1, "conf.something"),
        ("dsl/components/lr_0/nonsense", 1, "dsl.components.lr_0.nonsense"),
        ("dsl/components/intersection_0/input/cache", ["x.cache"], "dsl.components.intersection_0.input.cache"),
        ("dsl/components/intersection_0/input/model", ["x.y"], "dsl.components.intersection_0.input.model"),
    ],
)
def test_what_is_lost_is_noted_where_it_stood(path: str, value: object, noted: str) -> None:
    assert noted in said(translate(*change(path, value)))


def test_inherited_tasks_go_without_those_that_are_folded_away() -> None:
    inherited = {"job_id": "2022", "component_list": ["reader_0", "transform_0"]}
    made = change("conf/job_parameters/common/inheritance_info", inherited)
    spec = read_dag(translate(*made).document, REGISTRY)
    assert spec.dag.conf.inheritance is not None
    assert spec.dag.conf.inheritance.task_list == ("reader_0",)


def test_every_form_of_a_job_is_recognised() -> None:
    document = translate(dsl(), conf()).document
    expected = read_dag(document, REGISTRY)
    forms: list[Any] = [document, {"dag_schema": document}, {"dsl": dsl(), "runtime_conf": conf()}]
    assert [read_any(form, REGISTRY)[0] for form in forms] == [expected] * 3
    for form in ([], None, {}, {"dsl": {}}, {"conf": {}}, {"dag": {}}, {"dag_schema": 3}):
        with pytest.raises(JobRejected):
            read_any(form, REGISTRY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.data())
def test_a_job_with_any_part_replaced_is_translated_or_rejected(data: st.DataObject) -> None:
    document: Any = {"dsl": dsl(), "conf": conf()}
    here: Any = document
    key: Any = data.draw(st.sampled_from(["dsl", "conf"]))
    for _ in range(data.draw(st.integers(0, 7))):
        below = here[key]
        if not isinstance(below, dict | list) or not below:
            break
        here, key = below, data.draw(st.sampled_from(list(below) if isinstance(below, dict) else range(len(below))))
    here[key] = data.draw(JSON)
    try:
        spec, notes = read_any(document, REGISTRY)
    except JobRejected as error:
        rejected = error
    else:
        assert spec.dag.tasks
        assert all(str(note) for note in notes)
        return
    assert rejected.mistakes


@given(st.sampled_from(sorted(MODULES)), st.data())
def test_no_value_of_a_parameter_crashes_the_translation(module: str, data: st.DataObject) -> None:
    names = sorted(MODULES[module].parameters)
    given = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    made = {"components": {"reader_0": node("Reader", "t"), "x_0": node(module, "o", data="reader_0.t")}}
    try:
        translated = translate(made, common(x_0=given))
    except JobRejected as error:
        rejected = error
    else:
        assert translated.document["dag"]["stage"] == "train"
        return
    assert rejected.mistakes
