"""Carry frames between daemons through something that promises nothing.

A transport moves opaque frames between addresses. It may lose, repeat, delay and reorder them, and it may lie about
who sent them; ``partyd.wire`` repairs and detects all of that end to end. What is asked of a transport is only that it
keeps trying to be connected, says when it is, and never hides a dead connection behind a pending call.

Why so little: what a broker acknowledges is not what a peer has. A broker that is killed loses messages that it had
acknowledged, whatever its QoS, and a full queue drops them silently. So nothing is kept at the broker: no session, no
retained message, no queue for the absent. A publisher's acknowledgement paces the sender, and its reason code is a hint
(nobody listens; not allowed); the only acknowledgement that counts is the one that the peer makes after its own fsync.

**Topics** (a memory transport has the same addresses without the text)::

    partyd/1/<destination party>/<source party>/<destination role>/<source role>            frames
    partyd/1/<destination party>/<source party>/<destination role>/<source role>/presence   one byte: 1 here, 0 gone

The broker's rule is one line: party X publishes only under ``partyd/1/+/X/#`` and reads only under ``partyd/1/X/#``.
The source in the topic is therefore vouched for by the broker, and the encrypted channel proves it again. Whatever does
not parse is dropped.

**Presence** is an unauthenticated hint: it may bring a handshake forward and never decides anything. A daemon tells
each of its peers when it connects and when it leaves. When it dies without leaving, its last will would have to tell
them, but a will names one topic, and under the rule above no topic is readable by more than one party; so the will goes
to the first peer, and the others notice by their heartbeats (within 35 s). A shared presence topic would need a rule
that lets every party on the broker watch every other.

**Adding a transport**: one module with a class that has ``Transport``'s methods, one line in ``base.SCHEMES``; the
suite in ``tests/transport/test_transports.py`` runs on it.
"""
