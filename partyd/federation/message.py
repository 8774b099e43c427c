"""What parties exchange: a frozen class, whose keywords say which role may send it and which may receive it."""

from __future__ import annotations

from typing import Any, ClassVar

from partyd.errors import LocalProtocolError
from partyd.types import Role
from partyd.wire.codec import Record, coders


class Message(Record):
    """Base of everything parties exchange; the class is the tag, the fields are the payload.

    ``class Residual(Message, sender=GUEST, receiver=HOST): d: Ciphertexts``
    """

    sender: ClassVar[Role]
    receiver: ClassVar[Role]

    def __init_subclass__(cls, *, sender: Role, receiver: Role, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.sender, cls.receiver = sender, receiver

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse, at import, a message with a field that may not travel."""
        for name, coder in coders(cls).items():
            if coder.local_only:
                raise LocalProtocolError(f"{cls.__name__}.{name} holds a type that may not leave this party")
