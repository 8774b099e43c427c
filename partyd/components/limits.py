"""The floors of a party: below them it takes no part, whatever the job says.

They come from the owner's policy. A component checks those that concern it before it gives anything out.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from partyd.errors import BelowFloor


class Limits(BaseModel):
    """What a task of this party must not go below; 0 asks for nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_rows: int = Field(default=0, ge=0)
    min_intersection: int = Field(default=0, ge=0)
    key_bits: int = Field(default=0, ge=0)
    min_batch: int = Field(default=0, ge=0)

    def insist_on_rows(self, rows: int) -> None:
        """Raise BelowFloor when a task's table has fewer rows than this party wants in one."""
        if rows < self.min_rows:
            raise BelowFloor(
                f"this party's table has {rows} rows and its policy asks for {self.min_rows}; use a larger table or "
                "ask its owner to lower min_rows"
            )

    def insist_on_intersection(self, rows: int) -> None:
        """Raise BelowFloor when parties have too few rows in common to hide anybody among them."""
        if rows < self.min_intersection:
            raise BelowFloor(
                f"the parties have {rows} ids in common and this party's policy asks for {self.min_intersection}; use "
                "larger tables or ask its owner to lower min_intersection"
            )

    def insist_on_batch(self, rows: int) -> None:
        """Raise BelowFloor when sums would be shown over fewer rows than this party wants in a batch."""
        if rows < self.min_batch:
            raise BelowFloor(
                f"a batch has {rows} rows and this party's policy asks for {self.min_batch}; raise batch_size or ask "
                "the party's owner to lower min_batch"
            )

    def insist_on_key(self, bits: int) -> None:
        """Raise BelowFloor for an encryption key that this party holds for too short."""
        if bits < self.key_bits:
            raise BelowFloor(
                f"the key has {bits} bits and this party's policy asks for {self.key_bits}; raise he_param.key_length"
            )


NO_LIMITS = Limits()
