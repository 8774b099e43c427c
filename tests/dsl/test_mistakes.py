from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.dag.spec import read_dag
from partyd.dsl.modules import MODULES
from partyd.dsl.translate import read_any, translate
from partyd.errors import JobRejected
from tests.dag.registry import REGISTRY
from tests.dsl.jobs import common, conf, dsl, mistakes, node, said


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
