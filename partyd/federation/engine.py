"""What an algorithm may ask of the machine: the same function over many partitions, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Partition = bytes
Function = Callable[[Partition], Partition]
"""A function of a module under ``partyd``, from bytes to bytes: it is known to the pool by its name."""


class Engine(Protocol):
    """Maps over partitions; the result's order is the partitions' order, whatever ran where."""

    @property
    def parallelism(self) -> int:
        """How many partitions are worked on at once: a hint for how many to make."""

    async def map(self, function: Function, partitions: Sequence[Partition]) -> list[Partition]:
        """Return ``function`` of each partition; raises TaskFailed when one cannot be computed."""


class Inline:
    """Maps in the calling process: what tests use, and what a pool is compared with."""

    parallelism = 1

    async def map(self, function: Function, partitions: Sequence[Partition]) -> list[Partition]:
        """Return ``function`` of each partition, one after another."""
        return [function(partition) for partition in partitions]
