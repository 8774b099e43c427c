"""What an algorithm sees of the other parties, and how its messages get there.

`Message` classes, the `Party` through which a role's coroutine speaks, the `Algorithm` declaration, and the driver
that gives every algorithm its rounds, checkpoints and resumption. `simulate` runs all roles in one process. Below
that door, in the daemon, the `PostOffice` keeps the durable mailbox of one address and delivers it over one session a
peer.
"""
