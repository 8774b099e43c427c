from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from partyd.api.app import MAX_BODY_BYTES, make_app
from partyd.api.health import MAX_LAG_S
from partyd.api.replies import number
from partyd.api.site import BROKER_GRACE_S, Pulse, Site
from partyd.config import HttpSettings
from partyd.errors import ConfigError, StoreError
from partyd.layout import Layout
from partyd.node import Node
from tests.nodes import BANK, TOY, Idle, town

TOKEN = "a-long-random-token"


@dataclass
class Api:
    """One daemon's API, served on a real socket, and what stands behind it."""

    http: Any
    node: Node
    pulse: Pulse
    state_dir: Path

    async def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> tuple[int, Any]:
        async with self.http.get(path, params=query, headers=headers or {}) as reply:
            return reply.status, form(await reply.text())

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None, **query: Any) -> tuple[int, Any]:
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.http.post(path, params=query, data=data, headers=headers or {}) as reply:
            return reply.status, form(await reply.text())

    async def upload(self, text: str | bytes, **query: Any) -> tuple[int, Any]:
        body = text if isinstance(text, bytes) else text.encode()
        return await self.post("/v2/data/component/upload/file", body, **{"namespace": "n", "name": "t", **query})


def form(text: str) -> Any:
    """Return a reply, which has FATE Flow's form whatever happened, and shows nobody a traceback."""
    assert "Traceback" not in text
    assert 'File "' not in text
    reply = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert {"code", "message", "data"} <= set(reply)
    return reply


@contextlib.asynccontextmanager
async def serving(folder: Path, token: bool = False) -> AsyncIterator[Api]:
    async with town(folder, are_running=False) as place:
        node = await place.start(BANK)
        settings = node.settings
        if token:
            (folder / "token").write_text(TOKEN)
            settings = settings.model_copy(update={"http": HttpSettings(token_file=folder / "token")})
        pulse = Pulse(is_connected=True)
        layout = Layout(settings.state_dir)
        site = Site(settings, layout, {BANK: node}, Idle(), pulse)
        async with TestClient(TestServer(make_app(site))) as http:
            yield Api(http, node, pulse, settings.state_dir)


def on_api(folder: Path, work: Callable[[Api], Awaitable[None]], *, token: bool = False) -> None:
    async def scenario() -> None:
        async with serving(folder, token) as api:
            await work(api)

    asyncio.run(scenario())


# -- who may ask


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9380", "127.0.0.1.evil.example", "", "[::1", "169.254.1.1"]
)
def test_another_host_name_is_refused(tmp_path: Path, host: str) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.get("/v2/job/query", {"Host": host})
        assert (status, reply["code"]) == (421, 101)

    on_api(tmp_path, work)


@pytest.mark.parametrize("host", ["localhost:9380", "127.0.0.1", "[::1]:9380", "127.0.0.2:1"])
def test_this_machines_own_names_are_answered(tmp_path: Path, host: str) -> None:
    async def work(api: Api) -> None:
        assert (await api.get("/v2/job/query", {"Host": host}))[0] == 200
        assert (await api.get("/v2/job/query", {"Host": host, "Origin": f"http://{host}"}))[0] == 200

    on_api(tmp_path, work)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:8000", "http://[", "", "file://", "http://localhost"]
)
def test_another_site_is_refused(tmp_path: Path, origin: str) -> None:
    async def work(api: Api) -> None:
        status, _ = await api.post("/v2/job/stop", {}, {"Host": "localhost:9380", "Origin": origin})
        assert status == 403

    on_api(tmp_path, work)


def test_a_token_is_asked_for_everywhere_but_at_the_probes(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for given in ("", TOKEN, "Bearer wrong", "Bearer ", "Bearer \udcff"):
            with contextlib.suppress(UnicodeEncodeError):
                status, reply = await api.get("/v2/job/query", {"Authorization": given} if given else {})
                assert status == (401 if given != TOKEN else 200), given
                assert TOKEN not in reply["message"]
        assert (await api.get("/v2/job/query", {"Authorization": f"Bearer {TOKEN}"}))[0] == 200
        async with api.http.get("/livez") as reply:
            assert reply.status == 200
        async with api.http.get("/metrics") as reply:
            assert reply.status == 401

    on_api(tmp_path, work, token=True)


def test_a_token_that_is_missing_or_short_stops_the_start(tmp_path: Path) -> None:
    async def scenario(text: str | None) -> None:
        if text is not None:
            (tmp_path / "short").write_text(text)
        async with town(tmp_path, are_running=False) as place:
            node = await place.open(BANK)
            http = HttpSettings(token_file=tmp_path / "short")
            settings = node.settings.model_copy(update={"http": http})
            make_app(Site(settings, Layout(tmp_path), {}, Idle(), Pulse()))

    for text in (None, "short"):
        with pytest.raises(ConfigError, match=r"http\.token_file"):
            asyncio.run(scenario(text))


# -- what cannot be read


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/job/submit", b"\xff\xfe"), ("/v2/job/submit", b"{"), ("/v2/job/submit", b"[" * 100_000),
        ("/v2/job/submit", b'{"a":' * 100_000), ("/v2/job/submit", b"- " * 100_000),
        ("/v2/job/submit", b"a: &a [x]\nb: [*a, *a]"), ("/v2/job/submit", b"2020-99-99"),
        ("/v2/job/submit", b"1" * 9999), ("/v2/job/submit", b""), ("/v2/job/submit", b'{"dag": {"parties": 5}}'),
        ("/v2/job/submit", b"!!python/name:os.system"), ("/v2/job/stop", b"\xff"), ("/v2/job/stop", b"[]"),
        ("/v2/job/stop", b"{}"), ("/v2/job/stop", b'{"job_id": []}'),
        ("/v2/job/stop", b"[" * 100_000), ("/v2/table/delete", b'{"namespace": "a"}'),
        ("/v2/site/backup", b'{"directory": "relative"}'), ("/v2/site/backup", b'{"directory": true}'),
    ],
)  # fmt: skip
def test_bodies_that_mean_nothing_are_400_and_say_why(tmp_path: Path, path: str, body: bytes) -> None:
    async def work(api: Api) -> None:
        for headers in ({}, {"Content-Type": "application/json; charset=klingon"}):
            status, reply = await api.post(path, body, headers)
            assert status == 400, reply
            assert len(reply["message"]) > 10

    on_api(tmp_path, work)


@pytest.mark.parametrize("path", ["/v2/job/submit", "/v2/job/stop", "/v2/table/delete"])
def test_a_body_over_a_mebibyte_is_refused(tmp_path: Path, path: str) -> None:
    async def work(api: Api) -> None:
        assert (await api.post(path, b"x" * (MAX_BODY_BYTES + 1)))[0] == 413

    on_api(tmp_path, work)


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "1e3", "10001", "9" * 30, "0" * 13 + "99999", "٣", " 1", ""])
def test_numbers_are_bounded(text: str) -> None:
    from partyd.api.replies import BadRequest

    with pytest.raises(BadRequest, match="whole number from 0 to 10000"):
        number({"limit": text}, "limit", 20, 10_000)
    assert number({}, "limit", 20, 10_000) == 20
    assert number({"limit": "0010"}, "limit", 20, 10_000) == 10


@pytest.mark.parametrize(
    "path",
    ["job/query", "job/task/query", "output/metric/query", "output/model/query", "output/data/display", "log/query"],
)
@pytest.mark.parametrize("job", ["20990101", "../../etc/passwd", "%00", "'; DROP TABLE jobs", "x" * 5000, "é"])
def test_unknown_jobs_are_404_and_say_how_to_find_those_there_are(tmp_path: Path, path: str, job: str) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.get(f"/v2/{path}", job_id=job, task_name="toy_0")
        assert status == 404
        assert "flow job list" in reply["message"]

    on_api(tmp_path, work)


def test_unknown_paths_methods_and_parties(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        assert (await api.get("/v2/nothing"))[0] == 404
        assert (await api.get("/v2/job/submit"))[0] == 405
        status, reply = await api.get("/v2/job/list/query", role="host", party_id="4711")
        assert status == 404
        assert "10000/guest" in reply["message"]

    on_api(tmp_path, work)


# -- jobs


def test_a_job_can_be_submitted_asked_for_and_stopped(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.post("/v2/job/submit", {"dag_schema": TOY})
        job = reply["job_id"]
        assert (status, reply["data"]) == (200, {"model_id": job, "model_version": "0"})
        _, view = await api.get("/v2/job/query", job_id=job)
        assert view["data"][0]["status"] == "waiting"
        seen = view["data"][0]["seen"]
        watching = asyncio.create_task(api.get("/v2/job/query", job_id=job, wait=20, seen=seen))
        await asyncio.sleep(0)
        assert (await api.post("/v2/job/stop", {"job_id": job}))[0] == 200
        _, view = await watching
        assert view["data"][0]["status"] == "canceled"
        assert (await api.post("/v2/job/stop", {"job_id": job}))[0] == 200
        _, listing = await api.get("/v2/job/list/query")
        assert [row["job_id"] for row in listing["data"]["data"]] == [job]
        assert (await api.get("/v2/job/query", job_id=job, wait=31))[0] == 400
        assert (await api.get("/v2/log/query", job_id=job, task_name="nope"))[0] == 404
        for port in ("../../x", "/etc", "nothing", "."):
            assert (await api.get("/v2/output/data/display", job_id=job, task_name="toy_0", output_key=port))[0] == 400

    on_api(tmp_path, work)


def test_a_full_disk_is_507_and_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(api: Api) -> None:
        monkeypatch.setattr(api.node.store, "is_low", lambda: True)
        assert (await api.post("/v2/job/submit", TOY))[0] == 507
        status, reply = await api.upload("id,x\na,1\n")
        assert (status, "free some space" in reply["message"]) == (507, True)
        monkeypatch.undo()

        def no_room(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("partyd.api.data.make_private_dir", no_room)
        status, reply = await api.upload("id,x\na,1\n")
        assert (status, "No space left" in reply["message"]) == (507, True)
        assert (await api.get("/v2/table/query"))[1]["data"] == []

    on_api(tmp_path, work)


# -- tables


def test_a_table_is_uploaded_queried_and_deleted(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.upload("id,x0\na,1\nb,2\n")
        assert (status, reply["data"]["count"]) == (200, 2)
        assert (await api.get("/v2/table/query", namespace="n", name="t"))[1]["data"]["count"] == 2
        assert len((await api.get("/v2/table/query"))[1]["data"]) == 1
        assert (await api.post("/v2/table/delete", {"namespace": "n", "name": "t"}))[0] == 200
        for reply in (
            await api.post("/v2/table/delete", {"namespace": "n", "name": "t"}),
            await api.get("/v2/table/query", namespace="n", name="t"),
        ):
            assert reply[0] == 404
            assert "flow data" in reply[1]["message"]
        assert not list(api.state_dir.glob("tables/*/*"))
        assert list((api.state_dir / "uploads").iterdir()) == []

    on_api(tmp_path, work)


def files_elsewhere(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not {"tables", "uploads"} & set(path.parts)}


@pytest.mark.parametrize(
    "name", ["..", ".", "~", "Kundenübersicht 2024", "表", "a b", "%2e%2e", "x" * 128, "con:", "*"]
)
def test_names_stay_within_the_tables_directory(tmp_path: Path, name: str) -> None:
    async def work(api: Api) -> None:
        before = files_elsewhere(tmp_path)
        assert (await api.upload("id,x0\na,1\n", namespace=name, name=name))[0] == 200
        assert (await api.get("/v2/table/query", namespace=name, name=name))[1]["data"]["name"] == name
        assert len(list((api.state_dir / "tables").glob("*/*"))) == 1
        assert (await api.post("/v2/table/delete", {"namespace": name, "name": name}))[0] == 200
        assert before <= files_elsewhere(tmp_path)

    on_api(tmp_path, work)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "x" * 129, "a\nb", "a\0b", "\u202e"])
def test_names_that_are_no_names_are_refused(tmp_path: Path, name: str) -> None:
    async def work(api: Api) -> None:
        assert (await api.upload("id,x0\na,1\n", name=name))[0] == 400
        assert (await api.post("/v2/table/delete", {"namespace": "n", "name": name}))[0] == 400

    on_api(tmp_path, work)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        (b"", {}), (b"\xff\xfe\x00", {}), (b"id\n", {}), (b"id,x\na,oops\n", {}), (b"id,x\na\n", {}),
        (b"id,x\na,1\n", {"delimiter": "ab"}), (b"id,x\na,1\n", {"on_bad_row": "cry"}),
        (b"id,x\na,1\n", {"label": "nope"}), (b"not gzip", {"gzip": "1"}),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_400_in_one_sentence(tmp_path: Path, text: bytes, query: dict[str, str]) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.upload(text, **query)
        assert status == 400, reply
        assert str(api.state_dir) not in reply["message"]
        assert (await api.get("/v2/table/query"))[1]["data"] == []

    on_api(tmp_path, work)


# -- health and metrics


def test_health_flips_when_something_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(api: Api) -> None:
        async def verdicts() -> tuple[int, int, str]:
            async with api.http.get("/livez") as live, api.http.get("/readyz?verbose") as ready:
                return live.status, ready.status, await ready.text()

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


LINE = re.compile(r'[a-z_]+(\{([a-z]+="(\\.|[^"\\\n])*",?)+\})? -?([0-9.]+(e[+-]?[0-9]+)?|inf|nan)')


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


def test_a_backup_is_written_and_a_second_into_the_same_place_is_refused(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        target = {"directory": str(tmp_path / "backup")}
        assert (await api.post("/v2/site/backup", target))[0] == 200
        status, reply = await api.post("/v2/site/backup", target)
        assert status >= 400
        assert reply["message"]

    on_api(tmp_path, work)
