"""The floors of a party: below them it takes no part, whatever the job says.

They come from the owners' policies, the highest of all parties'. A component checks those that concern it before it
gives anything out. How much there is stays here: the sentence that goes to the other parties tells only the floor.
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
    models_apart: int = Field(default=0, ge=0, le=2)
    """Of hosts' halves of a model: 0 may be merged with columns' names, 1 without, 2 not at all."""

    def insist_on_rows(self, rows: int) -> None:
        """Raise BelowFloor when a task's table has fewer rows than this party wants in one."""
        if rows < self.min_rows:
            raise BelowFloor(
                f"the table has fewer rows than the {self.min_rows} that a policy asks for; use a larger table or ask "
                "the owner of that policy to lower min_rows",
                f"the table has {rows} rows",
            )

    def insist_on_intersection(self, rows: int) -> None:
        """Raise BelowFloor when parties have too few rows in common to hide anybody among them."""
        if rows < self.min_intersection:
            raise BelowFloor(
                f"the parties have fewer ids in common than the {self.min_intersection} that a policy asks for; use "
                "larger tables or ask the owner of that policy to lower min_intersection",
                f"{rows} ids are common",
            )

    def insist_on_batch(self, rows: int) -> None:
        """Raise BelowFloor when sums would be shown over fewer rows than this party wants in a batch."""
        if rows < self.min_batch:
            raise BelowFloor(
                f"a batch has fewer rows than the {self.min_batch} that a policy asks for; raise batch_size or ask the "
                "owner of that policy to lower min_batch",
                f"the smallest batch has {rows} rows",
            )

    def insist_on_merging(self, apart: int) -> None:
        """Raise BelowFloor unless halves may be merged that are ``apart``: 0 with columns' names, 1 without."""
        if apart < self.models_apart:
            raise BelowFloor(_MERGING[self.models_apart])

    def insist_on_key(self, bits: int) -> None:
        """Raise BelowFloor for an encryption key that this party holds for too short."""
        if bits < self.key_bits:
            raise BelowFloor(
                f"the key has {bits} bits and a policy asks for {self.key_bits}; raise he_param.key_length"
            )


_MERGING = {
    1: "a policy lets models be merged only under anonymous names of the columns; set host_names to anonymous",
    2: "a policy does not let the halves of a model be merged; ask its owner for merge_models in policy.toml",
}
NO_LIMITS = Limits()
