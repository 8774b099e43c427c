"""Compare two parties' numbers, a vector at a time: both learn less, equal or greater for each pair and nothing else.

The messages of `partyd.crypto.comparison` (a garbled circuit fed by oblivious transfers, steps 1 to 5), with guest and
host as its garbler and evaluator. One call is one exchange: four messages, to be made inside one round of an algorithm.

=============  ===========  =======================================================================================
message        from, to     what the receiver learns
=============  ===========  =======================================================================================
BaseRequest    guest, host  how many pairs are compared; of the numbers nothing
BitChoice      host, guest  nothing
GarbledGates   guest, host  for each pair which number is greater, or that they are equal
OutputLabels   host, guest  the same
=============  ===========  =======================================================================================

All randomness comes from the round's own streams, so a repeated round makes the same circuit again; the streams of
another round are others, which matters: labels that served two inputs would give both away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partyd.crypto import comparison
from partyd.errors import DataError
from partyd.federation.algorithm import Disclosure
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Octets, Words

Numbers = NDArray[np.uint64]
Order = NDArray[np.int8]


class BaseRequest(Message, sender=GUEST, receiver=HOST):
    """Step 1: the requests of 128 base transfers, for ``count`` comparisons of ``total`` in all exchanges."""

    count: int
    total: int
    points: bytes


class BitChoice(Message, sender=HOST, receiver=GUEST):
    """Step 2: the host's bits, hidden in the transfers' columns."""

    point: bytes
    columns: Octets


class GarbledGates(Message, sender=GUEST, receiver=HOST):
    """Step 3: the circuit, and what opens its outputs."""

    key: bytes
    seed: bytes
    tables: Words
    colours: Octets


class OutputLabels(Message, sender=HOST, receiver=GUEST):
    """Step 4: the labels of the outputs."""

    labels: Words


MESSAGES = (BaseRequest, BitChoice, GarbledGates, OutputLabels)
DISCLOSURES = (
    Disclosure(HOST, "how many pairs are compared", BaseRequest),
    Disclosure(GUEST, "nothing: the host's bits are hidden in oblivious transfers", BitChoice),
    Disclosure(HOST, "for each pair which of the two numbers is greater, or that they are equal", GarbledGates),
    Disclosure(GUEST, "for each pair which of the two numbers is greater, or that they are equal", OutputLabels),
)


async def compare_as_guest(party: Party, numbers: Numbers, total: int) -> Order:
    """Return, for each of the guest's numbers against the host's: -1 less, 0 equal, 1 greater.

    ``total`` counts the numbers of all exchanges, so that unequal ones are noticed before the first is compared.
    """
    sender = comparison.request(party.rng("transfers"))
    await party.send(BaseRequest(count=len(numbers), total=total, points=sender.request.points))
    message = await party.recv(BitChoice)
    choice = comparison.Choice(message.point, message.columns)
    zeros, garbled = comparison.garble(sender, numbers, choice, party.rng("circuit"))
    await party.send(GarbledGates(key=garbled.key, seed=garbled.seed, tables=garbled.tables, colours=garbled.colours))
    answer = comparison.Answer((await party.recv(OutputLabels)).labels)
    return comparison.finish(sender, zeros, answer)


async def compare_as_host(party: Party, numbers: Numbers, total: int) -> Order:
    """Return the same order: -1 where the *guest's* number is less, 0 equal, 1 where it is greater."""
    asked = await party.recv(BaseRequest)
    if (asked.count, asked.total) != (len(numbers), total):
        raise DataError(f"the guest compares {asked.total} numbers, this host has {total}; bring equally many")
    labels, choice = comparison.choose(numbers, comparison.Request(asked.points), party.rng("choice"))
    await party.send(BitChoice(point=choice.point, columns=choice.columns))
    message = await party.recv(GarbledGates)
    garbled = comparison.Garbled(message.key, message.seed, message.tables, message.colours)
    order, answer = comparison.evaluate(labels, garbled)
    await party.send(OutputLabels(labels=answer.labels))
    return order
