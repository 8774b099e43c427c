"""Tell everybody how many classes the label has, and so how many models are trained one against the rest.

==========  =====================  ===================================================================
message     from, to               what the receiver learns
==========  =====================  ===================================================================
ClassCount  guest, host, arbiter   how many classes the label has (1 where there are no more than two)
==========  =====================  ===================================================================
"""

from __future__ import annotations

from partyd.errors import BadValue
from partyd.federation.algorithm import Algorithm, Disclosure, Params, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import ARBITER, GUEST, HOST

MOST_CLASSES = 100


class ClassCountParams(Params):
    """None."""


class ClassCount(Message, sender=GUEST, receiver=HOST | ARBITER):
    """How many models there are to train."""

    count: int


class Classes(State):
    """How many models there are to train."""

    count: int


async def guest(party: Party, _params: ClassCountParams, count: int) -> Classes:
    """Tell the others."""
    await party.send(ClassCount(count=count))
    return Classes(finished=True, count=count)


async def other(party: Party, _params: ClassCountParams, _data: object) -> Classes:
    """Take what the guest says."""
    count = (await party.recv(ClassCount)).count
    if not 1 <= count <= MOST_CLASSES or count == 2:
        raise BadValue(f"the guest trains {count} models, not 1 or 3 to {MOST_CLASSES}; check its version")
    return Classes(finished=True, count=count)


class_count = Algorithm(
    name="class_count",
    version="1",
    params=ClassCountParams,
    programs={GUEST: Program(Classes, guest), HOST: Program(Classes, other), ARBITER: Program(Classes, other)},
    messages=(ClassCount,),
    disclosures=(
        Disclosure(HOST, "how many classes the label has, where there are more than two", ClassCount),
        Disclosure(ARBITER, "how many classes the label has, where there are more than two", ClassCount),
    ),
)
