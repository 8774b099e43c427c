from __future__ import annotations

import pytest

from partyd.dag.document import parse_dag_text, plain
from partyd.errors import JobRejected


def test_refuses_text_that_is_no_yaml_or_too_long() -> None:
    with pytest.raises(JobRejected, match="neither YAML nor JSON"):
        parse_dag_text("a: [", "dag.yaml")
    with pytest.raises(JobRejected, match="at most"):
        parse_dag_text("a" * (2 << 20), "dag.yaml")


@pytest.mark.parametrize(
    "text", ["a: &a [x]\nb: [*a, *a]", "[" * 100_000, "- " * 100_000, '{"a":' * 100_000, "1" * 5000, "2020-99-99"]
)
def test_texts_made_to_exhaust_the_reader_are_refused(text: str) -> None:
    with pytest.raises(JobRejected, match="neither YAML nor JSON"):
        parse_dag_text(text, "the file")


def test_flow_style_yaml_that_begins_like_json_is_read() -> None:
    assert parse_dag_text("{a: [1, 2], b: x}", "the file") == {"a": [1, 2], "b": "x"}


@pytest.mark.parametrize("text", ['{"a": {"b": 1, "b": 2}}', "a:\n  b: 1\n  b: 2\n", "{a: 1, a: 2}"])
def test_a_key_written_twice_is_refused(text: str) -> None:
    with pytest.raises(JobRejected, match="is written twice"):
        parse_dag_text(text, "the file")


def test_a_plain_document_is_copied_as_it_is() -> None:
    document = {"a": [1, 2.5, None, True, "x"], 7: {"b": ()}}
    assert plain(document) == {"a": [1, 2.5, None, True, "x"], "7": {"b": []}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "a.0: nan is no number"),
        (b"x", "a.0: a value of the type bytes is not read"),
        (1 << 200, "a.0: the number is too large"),
        ("\ud800", "half a character"),
        ({(1, 2): 3}, "a key is tuple, not text"),
    ],
)
def test_what_json_cannot_say_is_named_with_its_place(value: object, said: str) -> None:
    with pytest.raises(JobRejected) as caught:
        plain({"a": [value]})
    assert said in str(caught.value)
    assert len(caught.value.mistakes) == 1


def test_depth_and_size_are_bounded() -> None:
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(JobRejected, match="levels deep"):
        plain(deep)
    with pytest.raises(JobRejected, match="make it smaller"):
        plain([0] * 300_000)
    with pytest.raises(JobRejected, match="make it smaller"):
        plain(["x" * 100_000] * 20)
