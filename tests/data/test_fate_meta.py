"""FATE's upload metadata, as its own examples write it."""

from __future__ import annotations

from typing import Any

import pytest

from partyd.data.fate_meta import Meta, form_of
from partyd.errors import DataError

EXAMPLE: dict[str, Any] = {
    "delimiter": ",",
    "dtype": "float32",
    "input_format": "dense",
    "label_type": "int32",
    "label_name": "y",
    "match_id_name": "id",
    "match_id_range": 0,
    "sample_id_name": "id",
    "tag_value_delimiter": ":",
    "tag_with_value": False,
    "weight_type": "float32",
}


def form(**meta: Any) -> Any:
    return form_of(Meta.model_validate(meta), head=True, extend_sid=False)


def test_fates_own_example_is_understood() -> None:
    found = form(**EXAMPLE)
    assert (found.sample_id, found.match_id, found.label, found.guess) == ("id", "id", "y", False)
    assert (found.dtype, found.label_type, found.delimiter) == ("float32", "int32", ",")


def test_ids_of_several_columns() -> None:
    found = form(sample_id_name="sid", match_id_list=["kind", "number"])
    assert (found.match_id, found.match_id_list) == (None, ("kind", "number"))
    assert form(match_id_list=["kind", "number"], match_id_name="number").match_id == "number"
    assert form(match_id_range=3).match_id_range == 3


def test_types_words_and_headers() -> None:
    assert form(dtype={"x0": "int", "x1": "double"}).dtype == {"x0": "int64", "x1": "float64"}
    assert form(na_values="-9").missing[-1] == "-9"
    assert form(na_values=[-9, "none"]).missing[-2:] == ("-9", "none")
    headless = form_of(Meta(header="id, y,x0"), head=False, extend_sid=True)
    assert (headless.header, headless.extend_sid) == (("id", "y", "x0"), True)
    assert form(input_format="sparse").input_format == "svmlight"


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"match_id_range": 17}, "match_id_range"),
        ({"match_id_list": ["a"] * 17}, "match_id_list"),
        ({"input_format": "image"}, "known: dense"),
        ({"dtype": "object"}, "no type of numbers"),
        ({"delimiter": "ab"}, "one ASCII character"),
        ({"na_values": {"a": 1}}, "as a list"),
        ({"encoding": "klingon"}, "meta.encoding"),
    ],
)
def test_what_cannot_be_done_is_named(meta: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        form(**meta)
