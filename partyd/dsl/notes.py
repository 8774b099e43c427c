"""What is said about a translation: what is otherwise here, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from partyd.dag.places import nearest, shown
from partyd.errors import Mistake


@dataclass(frozen=True)
class Note:
    """Something of a 1.x job that is otherwise here: where it stood, and what that means."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class Log:
    """Notes and mistakes in the order found, each once."""

    notes: dict[Note, None] = field(default_factory=dict)
    mistakes: dict[Mistake, None] = field(default_factory=dict)

    def note(self, path: str, message: str) -> None:
        """Remember what is otherwise here."""
        self.notes[Note(path, message)] = None

    def wrong(self, path: str, message: str, hint: str) -> None:
        """Remember a mistake."""
        self.mistakes[Mistake(path, message, hint)] = None

    def unknown(self, path: str, what: str, name: str, known: Iterable[str]) -> None:
        """Remember a name that stands for nothing."""
        self.wrong(path, f"no {what} {shown(name)}", nearest(name, known))
