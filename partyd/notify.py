"""Tell systemd how the daemon is: ready, stopping, alive (sd_notify(3), sd_watchdog_enabled(3)).

Each message is one datagram to ``$NOTIFY_SOCKET``; without the variable every call does nothing. The watchdog is fed
from the event loop, every third of ``WatchdogSec``, only while the loop keeps time and ``probe`` (the store's writer)
answers: a daemon that can no longer make progress is restarted, one that waits for a peer is not.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger()
MAX_LAG_S = 5.0
"""A loop that wakes later than this is not fed as alive."""
FAILPOINT = "PARTYD_FAILPOINT"


@dataclass(frozen=True)
class Notifier:
    """The service manager that started us, if any."""

    address: str = ""
    watchdog_s: float = 0.0
    """How long systemd waits for a sign of life; 0 when it does not."""
    failpoint: str = ""
    """``$PARTYD_FAILPOINT``: ``block_loop`` or ``block_probe`` hang the feeder after its first ping, for tests."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int | None = None) -> Notifier:
        """Read what systemd told this process (``pid``: ours); children that inherit the variables stay silent."""
        given, usec = environ.get("NOTIFY_SOCKET", ""), environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid() if pid is None else pid))
        address = given if given.startswith("/") else f"\0{given[1:]}" if given.startswith("@") else ""
        watchdog_s = int(usec) / 1e6 if address and ours and usec.isascii() and usec.isdigit() else 0.0
        return cls(address, watchdog_s, environ.get(FAILPOINT, ""))

    def send(self, *lines: str) -> bool:
        """Send one datagram; say whether it went out. A service manager that is gone is no reason to stop."""
        if not self.address:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as stream:
            try:
                stream.sendto("\n".join(lines).encode(), self.address)
            except OSError as error:
                log.warning("notify_failed", error=error)
                return False
        return True

    def ready(self, status: str = "") -> bool:
        """Say that the store is recovered, the identity loaded and the API listening."""
        return self.send("READY=1", *self._status(status))

    def status(self, text: str) -> bool:
        """Show ``text`` in ``systemctl status``."""
        return self.send(*self._status(text or "running"))

    def stopping(self, status: str = "") -> bool:
        """Say that we are going down on purpose."""
        return self.send("STOPPING=1", *self._status(status))

    def extend(self, seconds: float) -> bool:
        """Ask for ``seconds`` more from now, while recovery or shutting down takes long."""
        return self.send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> bool:
        """Feed the watchdog."""
        return self.send("WATCHDOG=1")

    async def feed_watchdog(
        self, probe: Callable[[], Awaitable[bool]], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Feed the watchdog until cancelled; returns at once when systemd does not watch us.

        ``probe`` says whether the store's writer answered.
        """
        if not self.watchdog_s:
            return
        period_s = self.watchdog_s / 3
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + period_s
            await sleep(period_s)
            lag_s = clock() - due
            if lag_s < min(MAX_LAG_S, self.watchdog_s) and await _answers(probe, period_s):
                self.alive()
            else:
                log.warning("watchdog_not_fed", lag_s=round(lag_s, 3))
            if self.failpoint == "block_loop":
                threading.Event().wait()
            if self.failpoint == "block_probe":
                probe = _never

    @staticmethod
    def _status(text: str) -> tuple[str, ...]:
        return (f"STATUS={' '.join(text.split())[:512]}",) if text else ()


async def _answers(probe: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await probe()
    except TimeoutError:
        return False


async def _never() -> bool:
    await asyncio.Event().wait()
    return False
