"""Add up vectors of several parties so that nobody, the arbiter included, sees more than their sum.

Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", CCS 2017, section 6 and figure
4, without I/O: `Member` is a party that has a vector, `opened_sum` what the arbiter does; the messages that carry
what they give and take are in `partyd.protocols.aggregation`. In words of the paper, for one round:

1. *Offer.* Each of the n members u draws a seed b_u and an X25519 key s_u for this round alone, and shares both with
   all members by Shamir's scheme, t of n (`partyd.crypto.shamir`). The two shares for member v are sealed (ChaCha20
   and Poly1305) under a key that u and v agreed on once, over their own channel, and travel through the arbiter, with
   the public half S_u and a digest of b_u. The seal binds round, both ends, S_u and the digest: an arbiter that puts a
   key of its own in the place of S_u is found out.
2. *Masked vector.* Those whose offers arrived are the participants. Participant u sends the arbiter, modulo 2^64,

       y_u = x_u + PRG(b_u) + sum over participants v of  +-PRG(agreed(s_u, S_v))    (+ where u < v, - where u > v)

3. *Survivors.* The arbiter names those whose y_u arrived. Each participant tells all others, over their own channels, a
   digest of what it was told (the paper's consistency check), and goes on when t of them, itself counted, were told
   the same.
4. *Opening.* Each participant gives the arbiter its share of b_u for every survivor u, and of s_u for every participant
   that dropped out: **never both of one member in one round**, and for one set of survivors alone (`Member.open`).
   With t openings the arbiter takes PRG(b_u) and the streams of the dropped-out off, and is left with the sum of
   the survivors' x_u. What it put together it compares with the digests and with S_u: a wrong share is noticed.

A party may fall silent after any step as long as t answer; below t nothing can be opened, and nothing is. Where nobody
may drop out (`Member.open_all`) every member insists that all are there and opens no key, ever: then the masks of pairs
vanish from the sum of all and from no other, whatever the arbiter says, and step 3 is left out.

What t must be. Two sets of t members must have an honest one in common, or an arbiter that names other survivors to one
half than to the other gets both secrets of a member. Against an arbiter alone t > n/2 does that, which is the least
that `Setting` takes and the default. When up to c members may help it, t > (n + c) / 2: with t > 2n/3, any c < n/3.
Members and arbiter that keep to the protocol (semi-honest) learn from any t only sums of at least t vectors. A member's
wrong vector makes a wrong sum, as with every method that hides vectors. For n = 2 the threshold is 2, no drop-out is
survived, and the sum tells each member the other's vector.

All randomness of a member comes from one ``root`` and the round's number, so a round repeated after a restart is the
same round; keys and seeds of other rounds are others, and opening one round says nothing of another.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray
from pydantic import Field

from partyd.crypto import shamir
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, LocalProtocolError, TaskFailed
from partyd.wire.codec import Record

Ring = NDArray[np.uint64]
KEY_BYTES = 32
MOST_MEMBERS = 256
FIELD_PRIME = 2**255 - 19
NONCE_BYTES = 12
SEALED_BYTES = 2 * shamir.SHARE_BYTES + 16
"""Two shares and the tag of the seal."""


@dataclass(frozen=True)
class Setting:
    """Who takes part (names in order), how many must answer, and what job this is (``context``).

    Raises TaskFailed for a threshold of half the members or fewer, and for fewer than two members.
    """

    members: tuple[str, ...]
    threshold: int
    context: bytes

    def __post_init__(self) -> None:
        n, t = len(self.members), self.threshold
        if tuple(sorted(set(self.members))) != self.members or not 2 <= n <= MOST_MEMBERS:
            raise TaskFailed(
                f"secure aggregation takes 2 to {MOST_MEMBERS} parties with data, each once; there are {n}"
            )
        if not n < 2 * t <= 2 * n:
            raise TaskFailed(f"a threshold of {t} of {n} parties is not safe; take {n // 2 + 1} to {n}")

    @classmethod
    def of(cls, members: Sequence[str], threshold: int | None, context: bytes) -> Setting:
        """Return the setting of ``members`` in any order; without a threshold it is the smallest majority."""
        return cls(tuple(sorted(members)), threshold or len(members) // 2 + 1, context)

    def point(self, name: str) -> int:
        """Return the Shamir point of a member."""
        return self.members.index(name) + 1

    def insist_on(self, names: Sequence[str], within: Sequence[str]) -> None:
        """Raise BadValue unless ``names`` are at least ``threshold`` different ones of ``within``."""
        if len(set(names)) != len(names) or not set(names) <= set(within) or len(names) < self.threshold:
            raise BadValue(
                f"{len(names)} parties are named where {self.threshold} to {len(within)} of {', '.join(within)} are "
                "needed; do not go on with this arbiter"
            )


class Promise(Record):
    """What everybody may see of an offer: the round's public key S_u, and the digest of the seed b_u."""

    public: bytes = Field(min_length=KEY_BYTES, max_length=KEY_BYTES)
    commitment: bytes = Field(min_length=KEY_BYTES, max_length=KEY_BYTES)


class Offer(Record):
    """Step 1: the promise, and for each other member its two shares, sealed."""

    promise: Promise
    sealed: dict[str, bytes]


class Opening(Record):
    """Step 4: shares of the seeds of those who survived, and of the keys of those who dropped out."""

    seeds: dict[str, bytes]
    keys: dict[str, bytes]


@dataclass
class Member:
    """One party's side of one round; ``agreed`` holds the public keys that the others gave for all rounds."""

    setting: Setting
    me: str
    root: bytes = field(repr=False)
    agreed: Mapping[str, bytes]
    round: int
    _promises: Mapping[str, Promise] = field(default_factory=dict, repr=False)
    _shares: dict[str, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)
    _opened: frozenset[str] | None = None

    @cached_property
    def _seed(self) -> bytes:
        return self._stream("seed").take(KEY_BYTES)

    @cached_property
    def _key(self) -> bytes:
        return self._stream("key").take(KEY_BYTES)

    @cached_property
    def _dealt(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """The shares of this member's seed and key, by point."""
        count, t = len(self.setting.members), self.setting.threshold
        seeds = shamir.split(self._seed, t, count, self._stream("seed shares"))
        return seeds, shamir.split(self._key, t, count, self._stream("key shares"))

    @property
    def promise(self) -> Promise:
        """What everybody may see of this member's offer."""
        return Promise(public=public_of(self._key), commitment=commitment_of(self._seed))

    def _stream(self, purpose: str) -> Prg:
        return Prg(self.root, "aggregation", str(self.round), purpose)

    def offer(self) -> Offer:
        """Return step 1: this round's promise, and the shares for the others."""
        promise = self.promise
        return Offer(promise=promise, sealed={v: self._seal(v, promise) for v in self.setting.members if v != self.me})

    def accept(self, promises: Mapping[str, Promise], sealed: Mapping[str, bytes]) -> None:
        """Take the participants' promises and the shares that they sealed for this member.

        Raises BadValue for too few participants or strangers, and for a seal that does not hold.
        """
        self.setting.insist_on(tuple(promises), self.setting.members)
        if promises.get(self.me) != self.promise or set(sealed) != set(promises) - {self.me}:
            raise BadValue("the arbiter did not pass on what each participant offered; its round cannot be used")
        self._promises = {name: promises[name] for name in sorted(promises)}
        self._shares = {u: self._unseal(u, promises[u], sealed[u]) for u in sorted(sealed)}
        self._shares[self.me] = self._own_shares(self.me)

    def mask(self, vector: Ring) -> Ring:
        """Return step 2: y_u of x_u."""
        if self.me not in self._promises:
            raise LocalProtocolError("a vector is masked before the participants are known")
        masked: Ring = vector + _stream_of(self._seed, len(vector))
        for name, promise in self._promises.items():
            if name != self.me:
                seed = pair_seed(self.setting, self.round, self._key, promise, self.me, name)
                _shift(masked, _stream_of(seed, len(vector)), up=self.me < name)
        return masked

    def witness(self, survivors: Sequence[str]) -> bytes:
        """Return step 3: the digest of the round as this member was told it."""
        told = [str(self.round), *(f"{u} {p.public.hex()} {p.commitment.hex()}" for u, p in self._promises.items())]
        words = [self.setting.context, *(word.encode() for word in [*told, "survivors", *sorted(survivors)])]
        return hashlib.sha256(b"".join(len(word).to_bytes(4, "big") + word for word in words)).digest()

    def open(self, survivors: Sequence[str], witnesses: Mapping[str, bytes]) -> Opening:
        """Return step 4, once: the seeds' shares of the survivors, the keys' shares of all other participants.

        ``witnesses`` are what other participants say of step 3. Raises BadValue for too few or strange survivors,
        when a witness was told otherwise or too few speak, and when other survivors are named than the first time.
        """
        self.setting.insist_on(survivors, tuple(self._promises))
        named, own = frozenset(survivors), self.witness(survivors)
        if self._opened not in (None, named):
            raise BadValue("the arbiter names other survivors than before in the same round; do not go on with it")
        heard = {name: told for name, told in witnesses.items() if name in self._promises and name != self.me}
        if not all(hmac.compare_digest(told, own) for told in heard.values()):
            raise BadValue("the arbiter told other survivors or keys to another party; do not go on with this arbiter")
        if len(heard) + 1 < self.setting.threshold:
            raise BadValue(f"{len(heard) + 1} parties vouch for the survivors, {self.setting.threshold} must")
        return self._opening(named)

    def open_all(self) -> Opening:
        """Return step 4 where nobody may drop out: the seeds' shares of all members, no key's share of any.

        There is one story only, so nobody has to be asked what it was told. Raises BadValue when a member is missing.
        """
        missing = set(self.setting.members) - set(self._promises)
        if missing:
            raise BadValue(f"the arbiter goes on without {', '.join(sorted(missing))}, which this job does not allow")
        if self._opened not in (None, frozenset(self.setting.members)):
            raise BadValue("a member was told that others had dropped out, and now that nobody has; do not go on")
        return self._opening(frozenset(self.setting.members))

    def _opening(self, named: frozenset[str]) -> Opening:
        self._opened = named
        return Opening(
            seeds={u: shares[0] for u, shares in self._shares.items() if u in named},
            keys={u: shares[1] for u, shares in self._shares.items() if u not in named},
        )

    def _own_shares(self, of: str) -> tuple[bytes, bytes]:
        """Return the shares of this member's seed and key that belong to ``of``."""
        point, (seeds, keys) = self.setting.point(of), self._dealt
        return seeds[point], keys[point]

    def _seal(self, receiver: str, promise: Promise) -> bytes:
        cipher = ChaCha20Poly1305(self._channel(self.me, receiver))
        return cipher.encrypt(self._nonce, b"".join(self._own_shares(receiver)), _binding(promise))

    def _unseal(self, sender: str, promise: Promise, sealed: bytes) -> tuple[bytes, bytes]:
        if len(sealed) != SEALED_BYTES:
            raise BadValue(f"the shares of {sender} have {len(sealed)} bytes under their seal, not {SEALED_BYTES}")
        try:
            shares = ChaCha20Poly1305(self._channel(sender, self.me)).decrypt(self._nonce, sealed, _binding(promise))
        except InvalidTag as error:
            raise BadValue(f"the shares of {sender} were changed on their way through the arbiter") from error
        return shares[: shamir.SHARE_BYTES], shares[shamir.SHARE_BYTES :]

    @property
    def _nonce(self) -> bytes:
        """The round: a key seals one message a round, and a repeated round seals the same one."""
        return self.round.to_bytes(NONCE_BYTES, "big")

    def _channel(self, sender: str, receiver: str) -> bytes:
        """Return the key under which ``sender``, or this member, seals for the other of the two."""
        other = receiver if sender == self.me else sender
        if other not in self.agreed:
            raise LocalProtocolError(f"{other} has given no key")
        shared = agree(lasting_key(self.root), self.agreed[other])
        return Prg(shared, "aggregation seal", self.setting.context.hex(), sender, receiver).take(KEY_BYTES)


def opened_sum(
    setting: Setting,
    round_: int,
    promises: Mapping[str, Promise],
    survivors: Sequence[str],
    masked: Ring,
    openings: Mapping[str, Opening],
) -> Ring:
    """Return the sum of the survivors' vectors from the sum of their ``masked`` ones: what the arbiter does.

    Raises BadValue for fewer openings than the threshold, and for shares that do not give what was promised.
    """
    setting.insist_on(survivors, tuple(promises))
    used = dict(sorted((name, o) for name, o in openings.items() if name in promises)[: setting.threshold])
    if len(used) < setting.threshold:
        raise BadValue(f"{len(used)} parties opened the round, {setting.threshold} must; nothing is opened")
    total = masked.copy()
    for u in sorted(survivors):
        seed = _joined(setting, u, {name: opening.seeds for name, opening in used.items()})
        if not hmac.compare_digest(commitment_of(seed), promises[u].commitment):
            raise BadValue(f"the shares do not give the seed that {u} promised; one of {', '.join(used)} is wrong")
        _shift(total, _stream_of(seed, len(total)), up=False)
    for gone in sorted(set(promises) - set(survivors)):
        key = _joined(setting, gone, {name: opening.keys for name, opening in used.items()})
        if public_of(key) != promises[gone].public:
            raise BadValue(f"the shares do not give the key that {gone} promised; one of {', '.join(used)} is wrong")
        for u in sorted(survivors):
            seed = pair_seed(setting, round_, key, promises[u], gone, u)
            _shift(total, _stream_of(seed, len(total)), up=gone < u)
    return total


def _joined(setting: Setting, of: str, given: Mapping[str, Mapping[str, bytes]]) -> bytes:
    lacking = [name for name, shares in given.items() if of not in shares]
    if lacking:
        raise BadValue(f"{lacking[0]} gave no share of what {of} promised")
    return shamir.join({setting.point(name): shares[of] for name, shares in given.items()}, setting.threshold)


def lasting_key(root: bytes) -> bytes:
    """Return the private key with which a member agrees on seals, for all rounds of ``root``."""
    return Prg(root, "aggregation", "lasting key").take(KEY_BYTES)


def public_of(private: bytes) -> bytes:
    """Return the public half of an X25519 key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def commitment_of(seed: bytes) -> bytes:
    """Return the digest under which a seed is promised; of 32 random bytes it tells nothing."""
    return hashlib.sha256(b"partyd aggregation seed" + seed).digest()


def agree(private: bytes, public: bytes) -> bytes:
    """Return X25519(private, public); raises BadValue for a key that is not canonical or of low order."""
    if len(public) != KEY_BYTES or int.from_bytes(public, "little") >= FIELD_PRIME:
        raise BadValue("a public key is no field element in its one form (RFC 7748 section 5)")
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise BadValue("a public key is of low order; do not go on with whoever sent it") from error


def pair_seed(setting: Setting, round_: int, private: bytes, promise: Promise, one: str, other: str) -> bytes:
    """Return the seed of a round's stream of two members, from one's private key and the other's public one."""
    ends, shared = sorted((one, other)), agree(private, promise.public)
    return Prg(shared, "aggregation pair", setting.context.hex(), str(round_), *ends).take(KEY_BYTES)


def _stream_of(seed: bytes, words: int) -> Ring:
    """Return what `Prg.uint64` would, without copying it: it is added once and dropped."""
    return np.frombuffer(Prg(seed, "aggregation stream").take(8 * words), dtype="<u8")


def _shift(vector: Ring, stream: Ring, *, up: bool) -> None:
    """Add ``stream`` to ``vector`` in its place, or take it off."""
    if up:
        vector += stream
    else:
        vector -= stream


def _binding(promise: Promise) -> bytes:
    return promise.public + promise.commitment
