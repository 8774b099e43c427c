"""What an algorithm may ask of the machine: the same function over many partitions, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, overload

Partition = bytes
Function = Callable[[Partition], Partition]
"""A function of a module under ``partyd``, from bytes to bytes: it is known to the pool by its name."""
SharedFunction = Callable[[bytes, Partition], Partition]
"""The same with what all partitions have in common before the partition, a key for instance."""


class Engine(Protocol):
    """Maps over partitions; the result's order is the partitions' order, whatever ran where."""

    @property
    def parallelism(self) -> int:
        """How many partitions are worked on at once: a hint for how many to make."""

    @overload
    async def map(self, function: Function, partitions: Sequence[Partition]) -> list[Partition]: ...

    @overload
    async def map(self, function: SharedFunction, partitions: Sequence[Partition], shared: bytes) -> list[Partition]:
        """Return ``function`` of each partition, told what is ``shared`` first unless that is empty.

        What is shared goes to each process once, not with every partition. Raises the function's own PartydError, and
        TaskFailed when a partition cannot be computed for another reason.
        """


class Inline:
    """Maps in the calling process: what tests use, and what a pool is compared with."""

    parallelism = 1

    async def map(
        self, function: Callable[..., Partition], partitions: Sequence[Partition], shared: bytes = b""
    ) -> list[Partition]:
        """Return ``function`` of each partition, one after another."""
        if shared:
            return [function(shared, partition) for partition in partitions]
        return [function(partition) for partition in partitions]
