"""The parameters of an intersection, and who learns what with each choice of them.

Names are FATE 2.2's, and FATE 1.x's where 2.2 has none. What a choice means stands in one place, the properties
below: the two protocols and the component ask them, so that all parties of a job come to the same answers.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from partyd.algorithms.parameters import FateParams, Settings, lower

MIB = 1 << 20


class RsaParams(Settings):
    """The key of ``rsa_psi``: its length in bits."""

    key_length: int = Field(default=2048, ge=2048, le=8192, multiple_of=16)

    @property
    def key_bits(self) -> int:
        """The length of the modulus in bits."""
        return self.key_length


class PsiParams(FateParams):
    """What is compared how, and who gets the result.

    ``chunk_rows`` ids are sent at a time, and at most twice so many are computed again after a crash; it must be the
    same at every party. ``memory_mb`` is what sorting and joining may take at this party; the rest lies on its disk.
    ``repeated_ids`` says what becomes of ids that stand in several rows: the first row is kept, or the task refuses.
    """

    protocol: Literal["ecdh_psi", "rsa_psi"] = "ecdh_psi"
    curve_type: Literal["curve25519"] = "curve25519"
    rsa_params: RsaParams = RsaParams()
    join_method: Literal["inner_join", "left_join"] = "inner_join"
    join_role: Literal["guest", "host"] = "guest"
    sync_intersect_ids: bool = True
    cardinality_only: bool = False
    sync_cardinality: bool = False
    only_output_key: bool = False
    repeated_ids: Literal["keep_first", "refuse"] = "keep_first"
    chunk_rows: int = Field(default=1 << 15, ge=1, le=1 << 18)
    memory_mb: int = Field(default=256, ge=16)

    @field_validator("protocol", "curve_type", "join_method", "join_role", "repeated_ids", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return lower(value)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.protocol == "rsa_psi" and (self.cardinality_only or not self.guest_learns_rows):
            raise ValueError(
                "rsa_psi shows the guest which of its ids are common; use ecdh_psi for cardinality_only, or for a "
                "result that goes to the host alone"
            )
        if self.is_left_join and (self.cardinality_only or not self.sync_intersect_ids or self.join_role != "guest"):
            raise ValueError(
                "left_join keeps every row of the guest and tells the hosts where theirs belong; it goes with "
                "join_role guest, with sync_intersect_ids true and without cardinality_only"
            )
        if self.sync_cardinality and not self.cardinality_only:
            raise ValueError("sync_cardinality says who learns a cardinality; set cardinality_only to true as well")
        return self

    @property
    def is_left_join(self) -> bool:
        """Whether every row of the guest is kept."""
        return self.join_method == "left_join"

    @property
    def guest_learns_rows(self) -> bool:
        """Whether the guest is told which of its ids are common."""
        return not self.cardinality_only and (self.sync_intersect_ids or self.join_role == "guest")

    @property
    def hosts_learn_rows(self) -> bool:
        """Whether the hosts are told which of their ids are common."""
        return not self.cardinality_only and (self.sync_intersect_ids or self.join_role == "host")

    @property
    def memory_bytes(self) -> int:
        """What sorting and joining may take."""
        return self.memory_mb * MIB

    def hides_order(self, hosts: int) -> bool:
        """Whether hosts return the guest's points in an order that the guest does not know (`ecdh_psi`)."""
        if self.is_left_join:
            return False
        return hosts > 1 or not self.guest_learns_rows
