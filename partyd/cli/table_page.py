"""How a table's description looks to people."""

from __future__ import annotations

from collections.abc import Iterable

from partyd.client import StoredTable

MAX_FEATURES = 50


def page(found: StoredTable) -> Iterable[str]:
    """Yield size, columns that mean something, and features."""
    state = ", disabled" if found.is_disabled else ""
    yield f"{found.namespace}/{found.name}: {found.count} rows, {len(found.features)} features{state}"
    named = (("id", found.sample_id), ("match id", found.match_id), ("label", found.label), ("weight", found.weight))
    yield "  " + ", ".join(f"{what} {column}" for what, column in named if column)
    if found.features:
        more = len(found.features) - MAX_FEATURES
        yield "  features " + ", ".join(found.features[:MAX_FEATURES]) + (f" and {more} more" if more > 0 else "")
