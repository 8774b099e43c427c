"""Health and metrics: ``/livez``, ``/readyz``, ``/healthz``, ``/metrics``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from partyd import __version__
from partyd.api.endpoint import Access, Asked, Endpoint, Nothing
from partyd.api.site import Site
from partyd.errors import PartydError

MAX_LAG_S = 5.0


class Probe(Asked):
    """A question of a supervisor or a load balancer."""

    verbose: Annotated[str, Field(max_length=16)] | None = None
    """Lists the checks, whatever it says."""


class Health:
    """Answers probes; a missing peer never makes this daemon unready."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        return [
            Endpoint("GET", "/livez", self.livez, Probe, Access.OPEN, str),
            Endpoint("GET", "/healthz", self.livez, Probe, Access.OPEN, str),
            Endpoint("GET", "/readyz", self.readyz, Probe, Access.OPEN, str),
            Endpoint("GET", "/metrics", self.metrics, Nothing, Access.VIEWER, str),
        ]

    async def livez(self, _: web.Request, asked: Probe) -> web.Response:
        """Say whether the process can make progress; failing means: restart me."""
        lag = max(self._site.pulse.lag_s, time.monotonic() - self._site.pulse.beat_at - 1.0)
        checks = {"loop": lag < MAX_LAG_S, "store": all(node.store.is_alive for node in self._site.nodes.values())}
        return _verdict(asked, checks)

    async def readyz(self, _: web.Request, asked: Probe) -> web.Response:
        """Say whether work may be sent here: store writable, broker there (30 s grace), disk above its watermark."""
        checks = {
            "store": await self._store_writes(),
            "broker": not self._site.pulse.broker_is_missing,
            "disk": not any(node.store.is_low() for node in self._site.nodes.values()),
        }
        return _verdict(asked, checks)

    async def _store_writes(self) -> bool:
        try:
            async with asyncio.timeout(MAX_LAG_S):
                for node in self._site.nodes.values():
                    await node.store.ping()
        except (PartydError, TimeoutError):
            return False
        return True

    async def metrics(self, _: web.Request, __: Nothing) -> web.Response:
        """Answer Prometheus; labels are bounded: peers, states and reasons, never jobs."""
        lines = [line for family in self._families() for line in family]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain", charset="utf-8")

    def _families(self) -> Iterable[list[str]]:
        pulse, nodes = self._site.pulse, self._site.nodes
        yield _family("build_info", "gauge", "Version of the daemon.", [({"version": __version__}, 1)])
        yield _family("uptime_seconds", "gauge", "Since the start.", [({}, time.monotonic() - pulse.started_at)])
        yield _family("broker_connected", "gauge", "1 while connected to the broker.", [({}, int(pulse.is_connected))])
        yield _family("loop_lag_seconds", "gauge", "How late the event loop last was.", [({}, pulse.lag_s)])
        yield _family("workers", "gauge", "Worker processes at work.", [({}, self._site.workers.count)])
        jobs = [
            ({"me": str(a), "state": s}, n) for a, node in nodes.items() for s, n in node.supervisor.counts().items()
        ]
        yield _family("jobs", "gauge", "Jobs by state.", jobs)
        links = [(str(a), str(p), link) for a, node in nodes.items() for p, link in node.office.links.items()]
        yield _family(
            "outbox_messages", "gauge", "Messages not yet on the peer's disk.",
            [({"me": me, "peer": peer}, len(link.waiting)) for me, peer, link in links],
        )  # fmt: skip
        yield _family(
            "outbox_bytes", "gauge", "Their bytes.",
            [({"me": me, "peer": peer}, link.waiting_bytes) for me, peer, link in links],
        )  # fmt: skip
        yield _family(
            "session_established", "gauge", "1 while there is a session.",
            [({"me": me, "peer": peer}, int(link.session.established)) for me, peer, link in links],
        )  # fmt: skip
        yield _family(
            "frames_rejected_total", "counter", "Frames and records that were refused.",
            [({"me": me, "peer": peer, "reason": r}, n) for me, peer, link in links for r, n in link.rejected.items()],
        )  # fmt: skip
        yield _family(
            "store_bytes",
            "gauge",
            "Bytes of database and log.",
            [({"me": str(a)}, n.store.size_bytes()) for a, n in nodes.items()],
        )
        yield _family(
            "disk_free_bytes",
            "gauge",
            "Free on the state's disk.",
            [({"me": str(a)}, n.store.free_bytes()) for a, n in nodes.items()],
        )


def _family(name: str, kind: str, help_text: str, samples: Sequence[tuple[dict[str, str], float]]) -> list[str]:
    head = [f"# HELP partyd_{name} {help_text}", f"# TYPE partyd_{name} {kind}"]
    return head + [f"partyd_{name}{_labels(labels)} {float(value)!r}" for labels, value in samples]


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    escaped = (f'{key}="{_escape(value)}"' for key, value in labels.items())
    return "{" + ",".join(escaped) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _verdict(asked: Probe, checks: dict[str, bool]) -> web.Response:
    """Return 200 or 503; ``?verbose`` lists the checks for people."""
    is_ok = all(checks.values())
    lines = [f"[{'+' if ok else '-'}]{name} {'ok' if ok else 'failed'}" for name, ok in checks.items()]
    text = (
        "\n".join([*lines, "ok" if is_ok else "failed"]) if asked.verbose is not None else "ok" if is_ok else "failed"
    )
    return web.Response(text=text + "\n", status=200 if is_ok else 503)
