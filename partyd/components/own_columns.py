"""Of the columns that a job names for all its parties by their anonymous names, those of one party."""

from __future__ import annotations

import re
from collections.abc import Sequence

from partyd.components.columns import named
from partyd.data.table import Table
from partyd.types import Address

ANONYMOUS = re.compile(r"(?P<owner>(guest|host)_[^/\s]+)_x\d+\Z")


def own(names: Sequence[str], me: Address) -> tuple[str, ...]:
    """Return the anonymous names that are not another party's."""
    mine = f"{me.role.label}_{me.party_id}"
    return tuple(name for name in names if not (m := ANONYMOUS.match(name)) or m["owner"] == mine)


def own_named(table: Table, names: Sequence[str], me: Address, parameter: str, *, anonymous: bool) -> tuple[str, ...]:
    """Return the features that ``names`` mean here, each once; raises DataError for one that the table lacks."""
    mine = own(names, me) if anonymous else tuple(names)
    return tuple(dict.fromkeys(named(table, mine, me, parameter, anonymous=anonymous)))
