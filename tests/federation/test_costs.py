"""A task's seconds by what they went into."""

from __future__ import annotations

import asyncio

import pytest

from partyd.federation.costs import NAMES, Costs, counted


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def costs(clock: Clock) -> Costs:
    return Costs(clock)


def test_what_is_not_spent_on_anything_is_computing(clock: Clock, costs: Costs) -> None:
    clock.now += 2
    with costs.spent("wait"):
        clock.now += 5
    clock.now += 1
    assert costs.summary()["compute_s"] == 3
    assert costs.summary()["wait_s"] == 5


def test_two_things_at_once_are_counted_once(clock: Clock, costs: Costs) -> None:
    with costs.spent("wait"):
        clock.now += 1
        with costs.spent("encrypt"), costs.spent("encrypt"):
            clock.now += 4
        with costs.spent("transfer"):
            clock.now += 2
    told = costs.summary()
    assert (told["encrypt_s"], told["transfer_s"], told["wait_s"]) == (4, 2, 1)
    assert sum(value for name, value in told.items() if name.endswith("_s")) == 7


def test_time_counts_when_what_was_done_fails(clock: Clock, costs: Costs) -> None:
    def fail() -> None:
        with costs.spent("decrypt"):
            clock.now += 3
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    clock.now += 1
    assert (costs.summary()["decrypt_s"], costs.summary()["compute_s"]) == (3, 1)


def test_bytes_add_up_each_way(costs: Costs) -> None:
    for size in (3, 4):
        costs.sent(size)
    costs.received(10)
    assert (costs.summary()["sent_bytes"], costs.summary()["received_bytes"]) == (7, 10)


def test_a_counted_method_counts_on_its_owners_costs(clock: Clock, costs: Costs) -> None:
    class Encryptor:
        def __init__(self) -> None:
            self.costs = costs

        @counted("encrypt")
        async def encrypt(self, number: int) -> int:
            """Take three seconds."""
            clock.now += 3
            return number + 1

    assert asyncio.run(Encryptor().encrypt(4)) == 5
    assert costs.summary()["encrypt_s"] == 3
    assert Encryptor.encrypt.__doc__ == "Take three seconds."


def test_a_summary_has_the_names_that_a_daemon_knows(costs: Costs) -> None:
    assert set(costs.summary()) == NAMES
