"""What the two handshake messages say inside their encryption.

    payload 1 = [epoch, sender_index, boot_id, store_id, window, max_frame, proto_min, proto_max, features]
    payload 2 = [status, last_seen_epoch, version, sender_index, boot_id, store_id, window, max_frame,
                 proto_min, proto_max, features]

No user data is in either: message 1 can be replayed by whoever recorded it (Noise §7.7), which is what the epoch is
for. ``boot_id`` changes with every start of the daemon, ``store_id`` with every new store: a peer that sees another
``store_id`` knows that the cursors it remembers mean nothing any more.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from partyd.errors import BadValue, LocalProtocolError
from partyd.wire.card import PROTO_MAX, PROTO_MIN
from partyd.wire.frame import MAX_FRAME
from partyd.wire.strict import U8, U16, U32, U64, Fields, Limits, Value, pack, unpack

CONTRACTS: Final = "contracts"
"""The feature of a daemon that runs jobs under signed contracts; without it the two share a wire and no jobs."""
ID_BYTES: Final = 16
LEAST_MAX_FRAME: Final = 1024
_HELLO_FIELDS: Final = 7
_LIMITS: Final = Limits(total=2048, depth=2, items=32, text=32, binary=ID_BYTES)


class Status(enum.IntEnum):
    """What a responder says to message 1."""

    OK = 0
    STALE_EPOCH = 1
    NO_COMMON_VERSION = 2


@dataclass(frozen=True)
class Hello:
    """What a side tells about itself at every handshake.

    ``window`` is how many unacknowledged frames it takes; ``max_frame`` the longest frame, header included.
    """

    boot_id: bytes
    store_id: bytes
    window: int
    max_frame: int
    proto_min: int = PROTO_MIN
    proto_max: int = PROTO_MAX
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a hello that the peer would refuse; raises LocalProtocolError."""
        try:
            _take_hello(Fields(self._values(), "hello", _HELLO_FIELDS))
        except BadValue as error:
            raise LocalProtocolError(str(error)) from error

    def _values(self) -> list[Value]:
        head: list[Value] = [self.boot_id, self.store_id, self.window, self.max_frame, self.proto_min, self.proto_max]
        return [*head, list(self.features)]

    def common_version(self, peer: Hello) -> int | None:
        """Return the highest protocol version that both speak."""
        highest = min(self.proto_max, peer.proto_max)
        return highest if highest >= max(self.proto_min, peer.proto_min) else None


@dataclass(frozen=True)
class InitPayload:
    epoch: int
    sender_index: int
    hello: Hello

    def encode(self) -> bytes:
        return pack([self.epoch, self.sender_index, *self.hello._values()])

    @classmethod
    def decode(cls, data: bytes) -> InitPayload:
        """Read payload 1; raises BadValue."""
        fields = Fields(unpack(data, _LIMITS), "init", 2 + _HELLO_FIELDS)
        return cls(fields.uint("epoch", U64), fields.uint("sender_index", U32, 1), _read_hello(fields))


@dataclass(frozen=True)
class ResponsePayload:
    status: Status
    last_seen_epoch: int
    version: int
    sender_index: int
    hello: Hello

    def encode(self) -> bytes:
        head: list[Value] = [int(self.status), self.last_seen_epoch, self.version, self.sender_index]
        return pack([*head, *self.hello._values()])

    @classmethod
    def decode(cls, data: bytes) -> ResponsePayload:
        """Read payload 2; raises BadValue."""
        fields = Fields(unpack(data, _LIMITS), "response", 4 + _HELLO_FIELDS)
        return cls(
            Status(fields.uint("status", max(Status))),
            fields.uint("last_seen_epoch", U64),
            fields.uint("version", U16),
            fields.uint("sender_index", U32, 1),
            _read_hello(fields),
        )


def _read_hello(fields: Fields) -> Hello:
    values = _take_hello(fields)
    boot_id, store_id, window, max_frame, proto_min, proto_max, features = values
    return Hello(boot_id, store_id, window, max_frame, proto_min, proto_max, features)


def _take_hello(fields: Fields) -> tuple[bytes, bytes, int, int, int, int, tuple[str, ...]]:
    values = (
        fields.binary("boot_id", exactly=ID_BYTES),
        fields.binary("store_id", exactly=ID_BYTES),
        fields.uint("window", U32, 1),
        fields.uint("max_frame", MAX_FRAME, LEAST_MAX_FRAME),
        fields.uint("proto_min", U8),
        fields.uint("proto_max", U8),
        fields.texts("features"),
    )
    if values[4] > values[5]:
        raise BadValue("hello: proto_min is above proto_max")
    return values
