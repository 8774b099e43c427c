"""Round trips and the resend timer: RFC 6298's estimator with jittered exponential back-off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Uniform = Callable[[float, float], float]
"""Draws a number between two bounds, as ``random.Random.uniform`` does; injected so that tests repeat."""

JITTER = (0.8, 1.4)


@dataclass(slots=True)
class Backoff:
    """Waiting times that double from ``first_s`` to ``cap_s``, each times a jitter of 0.8 to 1.4."""

    uniform: Uniform
    first_s: float
    cap_s: float = 60.0
    _tries: int = 0

    def next(self) -> float:
        """Return the next waiting time."""
        delay = min(self.cap_s, self.first_s * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return min(self.cap_s, delay * self.uniform(*JITTER))

    def reset(self) -> None:
        """Begin again at ``first_s``."""
        self._tries = 0


class ResendTimer:
    """How long to wait for an acknowledgement: at least ``first_s``, more where round trips are long (RFC 6298 §2)."""

    def __init__(self, uniform: Uniform, first_s: float = 1.0, cap_s: float = 60.0) -> None:
        self._uniform = uniform
        self._first_s = first_s
        self._cap_s = cap_s
        self._doublings = 0
        self._jitter = 1.0
        self.smoothed_s: float | None = None
        self.variation_s = 0.0

    @property
    def timeout_s(self) -> float:
        """Present waiting time."""
        base = self._first_s
        if self.smoothed_s is not None:
            base = max(base, self.smoothed_s + 4 * self.variation_s)
        return float(min(self._cap_s, base * 2.0**self._doublings * self._jitter))

    def measured(self, round_trip_s: float) -> None:
        """Take in one round trip of something that was sent once only (Karn's rule is the caller's)."""
        if self.smoothed_s is None:
            self.smoothed_s, self.variation_s = round_trip_s, round_trip_s / 2
            return
        self.variation_s = 0.75 * self.variation_s + 0.25 * abs(self.smoothed_s - round_trip_s)
        self.smoothed_s = 0.875 * self.smoothed_s + 0.125 * round_trip_s

    def expired(self) -> None:
        """Double the waiting time, with fresh jitter."""
        self._doublings = min(self._doublings + 1, 16)
        self._jitter = self._uniform(*JITTER)

    def heard(self) -> None:
        """The peer gave a sign of life: no more back-off."""
        self._doublings = 0
        self._jitter = 1.0
