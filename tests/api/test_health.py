"""Probes that flip when something is bad, and metrics that Prometheus reads."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from partyd.api.health import MAX_LAG_S
from partyd.api.site import BROKER_GRACE_S
from partyd.errors import StoreError
from tests.api.frame import Api, on_api

LINE = re.compile(r'[a-z_]+(\{([a-z]+="(\\.|[^"\\\n])*",?)+\})? -?([0-9.]+(e[+-]?[0-9]+)?|inf|nan)')


def test_health_flips_when_something_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(api: Api) -> None:
        async def verdicts() -> tuple[int, int, str]:
            async with api.http.get("/livez") as live, api.http.get("/readyz?verbose") as ready:
                return live.status, ready.status, await ready.text()

        monkeypatch.setattr(api.node.store, "is_low", lambda: False)
        assert (await verdicts())[:2] == (200, 200)
        api.pulse.is_connected = False
        assert (await verdicts())[:2] == (200, 200)
        api.pulse.connection_changed_at = time.monotonic() - BROKER_GRACE_S - 1
        live, ready, text = await verdicts()
        assert (live, ready, "[-]broker failed" in text) == (200, 503, True)
        api.pulse.is_connected = True
        api.pulse.beat(MAX_LAG_S + 1)
        assert (await verdicts())[:2] == (503, 200)
        api.pulse.beat(0)
        monkeypatch.setattr(api.node.store, "is_low", lambda: True)
        assert "[-]disk failed" in (await verdicts())[2]
        monkeypatch.undo()

        async def broken() -> float:
            raise StoreError("the disk is gone")

        monkeypatch.setattr(api.node.store, "ping", broken)
        assert (await verdicts())[1] == 503
        monkeypatch.undo()
        await api.node.store.close()
        assert (await verdicts())[:2] == (503, 503)

    on_api(tmp_path, work)


def test_a_probe_is_short_unless_it_is_asked(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for query, expected in (("", "ok\n"), ("?verbose", "[+]loop ok\n[+]store ok\nok\n")):
            async with api.http.get(f"/livez{query}") as reply:
                assert (await reply.text(), reply.content_type) == (expected, "text/plain")

    on_api(tmp_path, work)


def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for link in api.node.office.links.values():
            link.rejected['a "strange"\nreason\\'] = 7
        async with api.http.get("/metrics") as reply:
            text = await reply.text()
            assert reply.headers["Content-Type"].startswith("text/plain")
        families: dict[str, str] = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in families
                families[name] = kind
            elif not line.startswith("# HELP "):
                assert LINE.fullmatch(line), line
                assert re.split(r"[{ ]", line)[0] in families
        assert {"gauge", "counter"} == set(families.values())
        assert all(name.endswith("_total") for name, kind in families.items() if kind == "counter")
        (free,) = re.findall(r"partyd_disk_free_bytes\{.*\} (.*)", text)
        assert float(free) == int(float(free)) > 1e6

    on_api(tmp_path, work)
