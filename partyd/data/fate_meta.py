"""The ``meta`` of FATE's uploads: how a file is read, in FATE's words. No numpy here: the API reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partyd.data.formats import MISSING, Format
from partyd.errors import DataError

FORMATS: dict[str, Literal["auto", "svmlight", "tag", "parquet"]] = {
    "dense": "auto",
    "svmlight": "svmlight",
    "sparse": "svmlight",
    "tag": "tag",
    "parquet": "parquet",
}
Word = Annotated[str, Field(max_length=1024)]


class Meta(BaseModel):
    """FATE's fields, and after them those of ours that FATE has no word for."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    sample_id_name: Word | None = None
    match_id_name: Word | None = None
    match_id_list: tuple[Word, ...] | None = None
    """Columns of ids; FATE uses the one that ``match_id_name`` names and refuses several without it, which here make
    one match id together (`partyd.data.ids`)."""
    match_id_range: int = 0
    """The same for so many columns after the sample id."""
    label_name: Word | None = None
    label_type: Word = "float64"
    """FATE's default, int32, cuts fractions off; here only a type that is asked for is enforced."""
    weight_name: Word | None = None
    weight_type: Word = "float64"
    header: Word | tuple[Word, ...] | None = None
    delimiter: Word = ","
    dtype: Word | dict[str, Word] = "float32"
    na_values: Word | tuple[Word, ...] | dict[str, object] | None = None
    input_format: Word = "dense"
    tag_with_value: bool = False
    tag_value_delimiter: Word = ":"
    encoding: Word = "utf-8"
    on_bad_row: Literal["refuse", "skip"] = "refuse"
    on_duplicate: Literal["refuse", "skip"] = "refuse"
    storage: Literal["float64", "float32"] = "float64"


def form_of(meta: Meta, *, head: bool, extend_sid: bool) -> Format:
    """Return how a file is read; raises DataError naming what cannot be done here."""
    if meta.input_format not in FORMATS:
        raise DataError(f"meta.input_format {meta.input_format!r} is unknown; known: {', '.join(FORMATS)}")
    header = meta.header.split(meta.delimiter) if isinstance(meta.header, str) else list(meta.header or ())
    try:
        return Format.model_validate(
            {
                "input_format": FORMATS[meta.input_format],
                "delimiter": meta.delimiter,
                "head": head,
                "header": () if head else tuple(name.strip() for name in header),
                "encoding": meta.encoding,
                "sample_id": meta.sample_id_name or None,
                "match_id": meta.match_id_name or None,
                "match_id_list": meta.match_id_list or (),
                "match_id_range": meta.match_id_range,
                "label": meta.label_name or None,
                "weight": meta.weight_name or None,
                "guess": False,
                "extend_sid": extend_sid,
                "missing": _missing(meta),
                "dtype": meta.dtype,
                "label_type": meta.label_type,
                "weight_type": meta.weight_type,
                "storage": meta.storage,
                "tag_with_value": meta.tag_with_value,
                "tag_value_delimiter": meta.tag_value_delimiter,
                "on_bad_row": meta.on_bad_row,
                "on_duplicate": meta.on_duplicate,
            }
        )
    except ValidationError as error:
        said = "; ".join(f"meta.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise DataError(said) from error


def _missing(meta: Meta) -> tuple[str, ...]:
    match meta.na_values:
        case None | "":
            return MISSING
        case str() as word:
            return (*MISSING, word)
        case dict():
            raise DataError("meta.na_values by column is not known here; give the words for all columns as a list")
        case words:
            return (*MISSING, *words)
