"""One JSON object of a reply, read field by field: a stranger's reply is named, not guessed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from partyd.client.errors import StrangeReply

_HOW = "check that a partyd daemon of this version listens there"


@dataclass(frozen=True)
class Fields:
    """One JSON object of a reply; every reader raises StrangeReply naming the field."""

    values: Mapping[str, object]
    where: str

    @classmethod
    def of(cls, value: object, where: str) -> Fields:
        """Return the object ``value``."""
        if not isinstance(value, dict):
            raise StrangeReply(f"a reply holds {type(value).__name__} instead of an object", where=where, how=_HOW)
        return cls(value, where)

    def text(self, name: str) -> str:
        """Return a text; absent and null are the empty text, numbers their digits."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
        raise self._strange(name, value, "a text")

    def number(self, name: str) -> float:
        """Return a number; absent and null are 0."""
        value = self.values.get(name, 0)
        if value is None:
            return 0.0
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise self._strange(name, value, "a number")

    def whole(self, name: str) -> int:
        """Return a whole number; absent and null are 0."""
        return int(self.number(name))

    def flag(self, name: str) -> bool:
        """Return a truth value; absent is false."""
        value = self.values.get(name, False)
        if isinstance(value, bool):
            return value
        raise self._strange(name, value, "true or false")

    def sequence(self, name: str) -> Sequence[object]:
        """Return a list; absent and null are empty."""
        value = self.values.get(name)
        if value is None:
            return ()
        if isinstance(value, list):
            return value
        raise self._strange(name, value, "a list")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(str(item) for item in self.sequence(name))

    def parts(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        return [Fields.of(item, f"{self.where}, {name}") for item in self.sequence(name)]

    def part(self, name: str) -> Fields:
        """Return an object; absent and null are empty."""
        value = self.values.get(name)
        return Fields.of({} if value is None else value, f"{self.where}, {name}")

    def _strange(self, name: str, value: object, wanted: str) -> StrangeReply:
        return StrangeReply(f"the reply's field {name!r} is {value!r:.80}, not {wanted}", where=self.where, how=_HOW)
