"""Private set intersection by RSA blind signatures: the hosts sign, the guest finds the ids that all of them have.

De Cristofaro and Tsudik, "Practical private set intersection protocols with linear complexity", Financial Cryptography
2010, figure 3 (`partyd.crypto.blind_rsa`), for parties whose rules ask for RSA. A host's ids y become tags K(H(y)^d),
d being its secret exponent, new in every attempt. The guest sends H(x) r^e for its ids x and random r, and makes the
same tags of the signatures that it gets back. All work but little is the host's, two signatures a row, and a core signs
some 1,000 a second under 2048 bits: `partyd.algorithms.psi` is twenty times as fast.

===========  ===========  =========================================================================================
message      from, to     what the receiver learns
===========  ===========  =========================================================================================
HostSize     host, guest  how many distinct ids the host has
SignerKey    host, guest  the host's RSA modulus, and a proof about it: nothing
Plan         guest, host  how many distinct ids the guest has
HostTags     host, guest  K(H(y)^d), shuffled: with Signed, which of its own ids this host has
Blinded      guest, host  H(x) r^e, shuffled: uniform, nothing
Signed       host, guest  H(x)^d r: the signatures on the guest's ids, one for each
CommonRows   guest, host  which of its own ids are common to *all* parties
Placed       guest, host  in a left join: which of its own ids the guest has
Cardinality  guest, host  never sent by this protocol
===========  ===========  =========================================================================================

Rounds 0 to R - 1 each send a chunk; rounds 1 to R sign the one that arrived before, and the last tells the result.
"""

from __future__ import annotations

import msgpack
import numpy as np
from pydantic import Field

from partyd.algorithms.psi_files import TAG_BYTES, Compared, Where, join
from partyd.algorithms.psi_parameters import PsiParams
from partyd.algorithms.psi_result import (
    DISCLOSED,
    ENDINGS,
    Found,
    HostSize,
    Plan,
    chunk,
    expected,
    plan_as_guest,
    plan_as_host,
    reordered,
    tell_hosts,
    told_by_guest,
)
from partyd.algorithms.psi_result import start as begin
from partyd.crypto.blind_rsa import KEY_BITS, SigningKey, VerifyKey, read_key
from partyd.errors import BadValue
from partyd.federation.algorithm import Algorithm, Disclosure, Program
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.codec import BigInt, Secret

DOMAIN = b"partyd rsa psi 1"
PART_ROWS = 256


class SignerKey(Message, sender=HOST, receiver=GUEST):
    """A host's modulus, and the roots which show that powers hide under it."""

    n: BigInt
    roots: list[BigInt]


class HostTags(Message, sender=HOST, receiver=GUEST):
    """A chunk of K(H(y)^d)."""

    tags: bytes


class Blinded(Message, sender=GUEST, receiver=HOST):
    """A chunk of H(x) r^e under one host's key."""

    numbers: bytes


class Signed(Message, sender=HOST, receiver=GUEST):
    """The signatures on the chunk of the round before."""

    numbers: bytes


class RsaFound(Found):
    """Where a party stands; a host's primes, and at the guest each host's modulus."""

    primes: Secret | None = None
    moduli: dict[str, BigInt] = Field(default_factory=dict)


async def start(party: Party, params: PsiParams, data: Compared) -> RsaFound:
    """Draw the seed of everything that is random at this party, and a host's key."""
    begun = await begin(party, params, data)
    return RsaFound(seed=begun.seed)


async def start_signer(party: Party, params: PsiParams, data: Compared) -> RsaFound:
    """Make a host's key as well."""
    begun = await begin(party, params, data)
    bits = params.rsa_params.key_bits
    key = SigningKey.generate(bits, party.rng("key"), insecure_for_tests=bits < KEY_BITS)
    return RsaFound(seed=begun.seed, primes=Secret(key.to_bytes()))


async def guest(party: Party, params: PsiParams, data: Compared, state: RsaFound) -> RsaFound:
    """Agree on keys and rounds, exchange a chunk with every host, and conclude in the last round."""
    if state.rounds < 0:
        state = await _begin_as_guest(party, params, data, state)
    rows, order = params.chunk_rows, state.order(data)
    mine = data.take(order[chunk(state.taken, rows)].astype(np.int64))
    before = data.take(order[chunk(state.taken - 1, rows)].astype(np.int64))
    for peer in party.peers(HOST) if mine else ():
        numbers = _key(state, peer).blind(mine, state.prg(f"blind {state.taken} {peer}"), DOMAIN)
        await party.send(Blinded(numbers=numbers), to=peer)
    for peer in party.peers(HOST):
        if wanted := expected(state.host_counts[str(peer)], state.taken, rows):
            tags = (await party.recv(HostTags, peer)).tags
            if len(tags) != wanted * TAG_BYTES:
                raise BadValue(f"{peer} sent {len(tags)} bytes for {wanted} tags; refuse its message")
            data.tags(f"theirs {_name(peer)}", state.host_counts[str(peer)]).write(state.taken * rows, tags)
        if before:
            signed, rng = (await party.recv(Signed, peer)).numbers, state.prg(f"blind {state.taken - 1} {peer}")
            own = _key(state, peer).unblind(signed, before, rng, DOMAIN)
            data.tags(f"own {_name(peer)}", len(data)).write((state.taken - 1) * rows, own)
    party.report.progress(state.taken + 1, state.rounds + 1, "comparing signed ids")
    if state.taken < state.rounds:
        return state.model_copy(update={"taken": state.taken + 1})
    return await _conclude(party, params, data, state)


async def host(party: Party, params: PsiParams, data: Compared, state: RsaFound) -> RsaFound:
    """Agree on key and rounds, sign a chunk of each side, and take the result in the last round."""
    assert state.primes is not None
    key = SigningKey.from_bytes(state.primes.to_bytes())
    if state.rounds < 0:
        await party.send(HostSize(count=len(data)))
        await party.send(SignerKey(n=int(key.public.n), roots=key.proof(party.context)))
        plan = await plan_as_host(party, params, data)
        state = state.model_copy(update={"rounds": plan.rounds, "guest_count": plan.count})
    rows, (peer,) = params.chunk_rows, party.peers(GUEST)
    if before := expected(state.guest_count, state.taken - 1, rows):
        pending = state.pending[str(peer)]
        await party.send(Signed(numbers=await _signed(party, key, pending, before)))
    mine = state.order(data)[chunk(state.taken, rows)].astype(np.int64)
    if len(mine):
        await party.send(HostTags(tags=await _tagged(party, key, data.take(mine))))
    arrived = dict[str, bytes]()
    if wanted := expected(state.guest_count, state.taken, rows):
        arrived[str(peer)] = (await party.recv(Blinded)).numbers
        if len(arrived[str(peer)]) != wanted * key.public.width:
            raise BadValue(f"the guest sent {len(arrived[str(peer)])} bytes for {wanted} numbers; refuse its message")
    party.report.progress(state.taken + 1, state.rounds + 1, "comparing signed ids")
    if state.taken < state.rounds:
        return state.model_copy(update={"taken": state.taken + 1, "pending": arrived})
    return RsaFound.model_validate(dict(await told_by_guest(party, params, data, state)))


async def _begin_as_guest(party: Party, params: PsiParams, data: Compared, state: RsaFound) -> RsaFound:
    """Check every host's key, and tell the rounds."""
    counts = {peer: m.count for peer, m in (await party.gather(HostSize)).items()}
    moduli = {}
    for peer, message in (await party.gather(SignerKey)).items():
        read_key(message.n, params.rsa_params.key_bits).insist_on_proof(message.roots, party.context)
        moduli[str(peer)] = message.n
    rounds = await plan_as_guest(party, params, data, counts)
    told = {str(peer): count for peer, count in counts.items()}
    return state.model_copy(update={"rounds": rounds, "guest_count": len(data), "host_counts": told, "moduli": moduli})


async def _conclude(party: Party, params: PsiParams, data: Compared, state: RsaFound) -> RsaFound:
    """Find the ids that every host has, and tell the hosts."""
    places = {peer: _compare(data, state, peer) for peer in party.peers(HOST)}
    common = await tell_hosts(party, params, state, places)
    update = {"taken": state.taken + 1, "finished": True, "count": int(common.sum())}
    order = state.order(data)
    told = {"placed": order.astype(np.int64)} if params.is_left_join else {"common": reordered(common, order)}
    return state.model_copy(update={**update, **told})


def _compare(data: Compared, state: RsaFound, peer: Address) -> Where:
    name = _name(peer)
    own, theirs = data.tags(f"own {name}", len(data)), data.tags(f"theirs {name}", state.host_counts[str(peer)])
    return join(own, theirs, data.folder / f"places {name}.npy", data.memory_bytes)


async def _signed(party: Party, key: SigningKey, numbers: bytes, count: int) -> bytes:
    """Sign a peer's numbers, on all cores."""
    key.public.read(numbers, count)
    step = PART_ROWS * key.public.width
    parts = [numbers[at : at + step] for at in range(0, len(numbers), step)]
    return b"".join(await party.engine.map(sign_part, [msgpack.packb([key.to_bytes(), part]) for part in parts]))


async def _tagged(party: Party, key: SigningKey, ids: list[bytes]) -> bytes:
    """Return the tags of own ids, on all cores."""
    parts = [ids[at : at + PART_ROWS] for at in range(0, len(ids), PART_ROWS)]
    return b"".join(await party.engine.map(tag_part, [msgpack.packb([key.to_bytes(), *part]) for part in parts]))


def sign_part(partition: bytes) -> bytes:
    """Sign a partition: a list of the key and the numbers."""
    packed, numbers = msgpack.unpackb(partition)
    key = SigningKey.from_bytes(packed)
    return key.sign(numbers, len(numbers) // key.public.width)


def tag_part(partition: bytes) -> bytes:
    """Make the tags of a partition: a list of the key and the ids."""
    packed, *ids = msgpack.unpackb(partition)
    return SigningKey.from_bytes(packed).tags(ids, DOMAIN)


def _key(state: RsaFound, peer: Address) -> VerifyKey:
    return read_key(state.moduli[str(peer)], state.moduli[str(peer)].bit_length())


def _name(peer: Address) -> str:
    return str(peer).replace("/", "-")


rsa_psi = Algorithm(
    name="rsa_psi",
    version="1",
    params=PsiParams,
    programs={GUEST: Program(RsaFound, start, guest), HOST: Program(RsaFound, start_signer, host)},
    messages=(HostSize, SignerKey, Plan, HostTags, Blinded, Signed, *ENDINGS),
    disclosures=(
        *DISCLOSED,
        Disclosure(GUEST, "the host's RSA modulus, made for this attempt, and a proof about it: nothing", SignerKey),
        Disclosure(
            GUEST,
            "which of its own ids each host has (with several hosts: of each host apart, beyond the common result)",
            HostTags,
        ),
        Disclosure(HOST, "nothing: the guest's ids, each multiplied by a random number under RSA, shuffled", Blinded),
        Disclosure(GUEST, "the signatures on its own ids: the other half of the comparison", Signed),
    ),
    coalitions=(
        "Several hosts together learn no more than each of them: all get the same ids (in a left join, each its own). "
        "The guest could name fewer rows than there are, and a party that puts in ids it does not have learns whether "
        "the others have them: sizes are shown to all for that reason."
    ),
)
