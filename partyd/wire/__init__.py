"""The wire: everything between a message that a protocol wants to send and the bytes that a broker carries.

The broker is a stranger. It sees who writes to whom, when, and how long the frames are (padded), and it may drop,
delay, repeat, reorder and invent as it likes. What it must never do is read a payload, change one, or make a party act
on one twice. Three layers see to that, each a set of state machines without sockets, clocks or tasks: bytes and times
go in, events and bytes come out, and the daemon does the rest.

**Values.** ``strict`` is bounded msgpack; ``codec`` builds typed messages and tensors on it. There is no pickle, and
no length is believed before it is compared with a limit.

**The channel** ("PARTYD-E2E/1"). ``card`` says who an address is, signed; trust comes from a fingerprint that two
people compared. ``noise`` is one handshake, Noise_IKpsk2_25519_ChaChaPoly_SHA256. ``hello`` is what both sides say
inside it, ``keyring`` which keys and cards may be used, ``keypair`` seals and opens data frames with the result,
``frame`` is the clear header and the replay window, ``padding`` hides lengths. ``channel`` joins them: handshakes,
retries, simultaneous starts, epochs, rekeying, expiry. Keys live in memory only, so a restart is a new handshake and a
nonce can never come again.

**Delivery.** Above the channel, records carry messages in chunks, with acknowledgements after the receiver's fsync,
resends until then, and credits. A lost frame is delivery's business, never the channel's.

Peers get constant answers or silence, never a reason: ``Rejected`` events are for our own counters.
``docs/wire-format.md`` has every byte, with a worked example that the tests rebuild.
"""
