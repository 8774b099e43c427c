"""How the rows of a source are to be read: which columns mean what, what is missing, what to do with bad rows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MISSING = ("", "na", "nan", "null", "none", "n/a", "?")
ENCODINGS = ("utf-8", "latin-1", "cp1252", "gbk", "gb18030", "big5", "shift_jis")
MAX_ID_BYTES = 256
MAX_ID_PARTS = 16
TYPES = {
    "float32": "float32",
    "float64": "float64",
    "float": "float64",
    "double": "float64",
    "int32": "int32",
    "int64": "int64",
    "int": "int64",
    "long": "int64",
    "int8": "int32",
    "int16": "int32",
    "bool": "int32",
}
"""The types that a column may be said to have, and what each is recorded as."""


def _character(text: str) -> str:
    character = {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)
    if len(character) != 1 or not character.isascii() or character in '\r\n"\0':
        raise ValueError("a delimiter is one ASCII character, or tab or space")
    return character


def _type(text: str) -> str:
    if text not in TYPES:
        raise ValueError(f"{text!r} is no type of numbers; known: {', '.join(TYPES)}")
    return TYPES[text]


Character = Annotated[str, AfterValidator(_character)]
NumberType = Annotated[str, AfterValidator(_type)]
Name = Annotated[str, Field(min_length=1, max_length=1024)]


class Format(BaseModel):
    """How to read a source; with ``guess``, ids and labels that are not named are found by their usual names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_format: Literal["auto", "dense", "parquet", "svmlight", "tag"] = "auto"
    """auto: Parquet by its first bytes, otherwise dense text (CSV)."""
    delimiter: Character = ","
    quote: Literal['"', ""] = '"'
    """What may stand around a field; empty: quotes mean nothing."""
    head: bool = True
    """Whether the first line names the columns; otherwise `header` does, or they are id, x0, x1 ..."""
    header: tuple[str, ...] = ()
    encoding: Literal["utf-8", "latin-1", "cp1252", "gbk", "gb18030", "big5", "shift_jis"] = "utf-8"
    """A byte-order mark of UTF-8 is passed over."""
    sample_id: Name | None = None
    match_id: Name | None = None
    match_id_list: tuple[Name, ...] = Field(default=(), max_length=MAX_ID_PARTS)
    """Columns that are ids of a row. One that `match_id` names is used and the others are left out; without a name all
    of them together are the match id, in this order (`partyd.data.ids`)."""
    match_id_range: int = Field(default=0, ge=0, le=MAX_ID_PARTS)
    """The same for the first columns after the sample id, as many as this says."""
    label: Name | None = None
    weight: Name | None = None
    guess: bool = True
    """``id``, ``sample_id`` or ``sid`` is the sample id, ``y`` or ``label`` the label, unless others are named."""
    extend_sid: bool = False
    """Give every row a sample id of our making; the file's id is then what parties match on."""
    strip_ids: bool = True
    """Whether white space around an id is no part of it."""
    missing: tuple[Annotated[str, Field(max_length=256)], ...] = MISSING
    """Words that stand for a missing value, in any case; NaN always does."""
    dtype: NumberType | dict[str, NumberType] = "float64"
    """What the features are, all of them or by name; whole-number types refuse fractions."""
    label_type: NumberType = "float64"
    weight_type: NumberType = "float64"
    storage: Literal["float64", "float32"] = "float64"
    """How features lie on the disk; float32 halves it and keeps about seven digits."""
    tag_with_value: bool = False
    tag_value_delimiter: Character = ":"
    on_bad_row: Literal["refuse", "skip"] = "refuse"
    on_duplicate: Literal["refuse", "skip"] = "refuse"
    """What to do with a row whose sample id came before: refuse the table, or keep the first one only."""

    def type_of(self, feature: str) -> str:
        """Return the type that a feature was said to have."""
        return self.dtype if isinstance(self.dtype, str) else self.dtype.get(feature, "float64")
