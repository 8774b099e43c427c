"""What a table's columns are called and hold. No numpy here: the daemon reads schemas, and only workers read tables."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from partyd.types import Address


class Schema(BaseModel):
    """Names of a table's columns, and what was found in them; ``rows`` is their common length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    sample_id: str = "id"
    match_id: str | None = None
    label: str | None = None
    weight: str | None = None
    features: tuple[str, ...] = ()
    types: dict[str, str] = {}
    """What features were said to be, where not float64; kept as numbers of floating point all the same."""
    label_type: str = "float64"
    weight_type: str = "float64"
    missing: dict[str, int] = {}
    """How many values each feature lacks, where it lacks any; counted when the table was read from its source."""

    def pinned(self) -> bytes:
        """Return what a digest covers: what has been added since tables exist only where it says something."""
        unsaid = {name for name in _ADDED if getattr(self, name) == Schema.model_fields[name].default}
        return self.model_dump_json(exclude=unsaid).encode()


_ADDED = ("types", "label_type", "weight_type", "missing")


def anonymous_names(schema: Schema, address: Address) -> tuple[str, ...]:
    """Return what peers call a party's features (``guest_10000_x0``): they say whose and which one, never what."""
    return tuple(f"{address.role.label}_{address.party_id}_x{i}" for i in range(len(schema.features)))
