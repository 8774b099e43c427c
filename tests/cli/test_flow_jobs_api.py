"""``flow`` and both clients against the daemon's own job endpoints, over a real socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from partyd.cli.flow import run
from partyd.client import AsyncClient, Client, Party, calls_admin
from tests.api.shopfront import SCALED, Front, at_front


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def url_of(api: Front) -> str:
    return str(api.http.make_url("")).rstrip("/")


async def flow(api: Front, words: str) -> int:
    return await asyncio.to_thread(run, ["--url", url_of(api), *words.split()])


def test_a_job_from_submission_to_its_model_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dag, out = tmp_path / "job.json", tmp_path / "out"
    dag.write_text(json.dumps(SCALED))

    async def scene(api: Front) -> None:
        async def said(words: str, status: int = 0) -> str:
            assert await flow(api, words) == status, words
            return "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())

        watched = await said(f"job submit -c {dag} --watch --request-id r1")
        job = next(line.split()[1] for line in watched.splitlines() if line.startswith("job "))
        assert f"job {job} is success" in watched
        assert "scale_0 loss 0.25" in watched
        assert job in await said(f"job submit -c {dag} --request-id r1"), "the same request is the same job"
        assert "success" in await said(f"job query {job}")
        assert job in await said(f"job list {job[:-2]} -s success")
        assert "scale_0 split_0" in await said(f"job dependency {job} -r guest -p 10000")
        await said(f"job add-notes {job} -r guest -p 10000 --notes spring")
        assert "spring" in await said("job list")
        assert "psi_0 psi success" in await said(f"task query {job} -tn psi_0 -r guest -p 10000")
        assert "scale_0" in await said("task list -l 10")
        for kind in ("", " --log-type task_warning"):
            assert "psi_0 says warning" in await said(f"log query {job} -tn psi_0{kind}")
        assert "says info" not in await said(f"log query {job} --log-type task_warning")
        assert "job submitted" in await said(f"log query {job} --log-type schedule_info")
        assert (await said(f"log count {job} -tn psi_0 --log-type task_info")).strip() == "2"
        assert "psi_0 says info" in await said(f"log follow {job} -tn psi_0")
        assert "loss" in await said(f"output query-metric-key {job} -tn scale_0")
        assert "loss 0.25 2" in await said(f"output query-metric {job} -tn scale_0")
        assert "coef_" in await said(f"output query-model {job} -tn scale_0")
        assert "3 of 3 rows" in await said(f"output display-data {job} -tn psi_0")
        assert "output_data" in await said(f"output query-data-table {job} -tn psi_0")
        await said(f"output download-data {job} -r guest -p 10000 -tn psi_0 -o {out}")
        assert list((out / f"output_data_{job}_guest_10000_psi_0").rglob("*.csv"))
        await said(f"output download-model {job} -tn scale_0 -o {out}")
        assert list((out / f"output_model_{job}_scale_0").rglob("*.json"))
        await said(f"job download-log {job} -o {out}")
        assert list((out / f"{job}_logs").rglob("INFO"))
        assert f"{job} 0" in await said("model list")
        named = f"-mid {job} -mv 0"
        await said(f"model export {named} -r guest -p 10000 -o {out}")
        assert "scale_0" in await said(f"model deploy {named}")
        await said(f"model store {named}")
        await said(f"model delete {named}")
        assert "no models yet" in await said("model list")
        await said(f"model import -mid {job} -mv 0 -i {out / f'{job}_0_guest_10000.zip'}")
        assert "scale_0" in await said(f"model query {named}")
        await said(f"model delete {named}")
        await said(f"model restore -mid {job}")
        assert "scale_0" in await said("model list")
        await said(f"model migrate {named} -r guest -p 10009 -o {out / 'moved.zip'}")
        await said(f"output delete-metric {job} -tn scale_0")
        await said(f"output delete-model {job} -tn scale_0")
        await said(f"job clean {job}")
        await said("job clean-queue")
        await said(f"job query {job}x", status=1)

    at_front(tmp_path / "town", scene)


def test_job_objects_of_both_clients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(api: Front) -> None:
        def by_hand() -> str:
            with Client(url_of(api)) as client:
                job = client.jobs.submit(SCALED)
                assert job.wait().is_success
                assert job.curve("scale_0") == ([0, 1], [0.5, 0.25])
                assert job.output("psi_0").column("id") == ["id0", "id1", "id2"]
                assert "coef_" in json.dumps(dict(job.model("scale_0")))
                assert [line.message for line in job.follow("psi_0")][-1] == "psi_0 says warning"
                assert "polyline" in job._repr_html_()
                return job.id

        job_id = await asyncio.to_thread(by_hand)
        async with AsyncClient(url_of(api)) as client:
            job = client.jobs.get(job_id)
            assert (await job.wait(progress=False)).is_success
            assert await job.curve("scale_0") == ([0, 1], [0.5, 0.25])
            assert [line.message async for line in job.follow("psi_0")][-1] == "psi_0 says warning"

    at_front(tmp_path / "town", scene)
    assert "is success" in capsys.readouterr().out


def test_an_app_signs_what_it_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = tmp_path / "job.json"
    dag.write_text(json.dumps(SCALED))

    async def scene(api: Front) -> None:
        assert await flow(api, "client create-client --app-name reports --json") == 0
        app = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert await flow(api, f"permission grant --app-id {app['app_id']} --role viewer") == 0
        assert await flow(api, f"permission query --app-id {app['app_id']}") == 0
        monkeypatch.setenv("PARTYD_APP_ID", app["app_id"])
        monkeypatch.setenv("PARTYD_APP_TOKEN", app["app_token"])
        assert await flow(api, "job list -l 3") == 0
        assert await flow(api, f"job submit -c {dag}") == 1
        assert "this needs the role operator" in capsys.readouterr().err
        monkeypatch.setenv("PARTYD_APP_TOKEN", "another")
        assert await flow(api, "job list") == 1
        assert "flow init --token-file FILE (or --app-id ID" in capsys.readouterr().err
        monkeypatch.delenv("PARTYD_APP_ID")
        assert await flow(api, f"permission grant --app-id {app['app_id']} --role operator") == 0
        async with AsyncClient(url_of(api), app_id=app["app_id"], app_token=app["app_token"]) as client:
            job = await client.jobs.submit(SCALED)
            assert (await job.wait(progress=False)).is_success
            assert [line.message async for line in job.follow("psi_0")][-1] == "psi_0 says warning"
            await client.do(calls_admin.models(model_id=job.id))
        with_app = {"app_id": app["app_id"], "app_token": app["app_token"]}
        await asyncio.to_thread(_carried, url_of(api), with_app, job.id, tmp_path)

    at_front(tmp_path / "town", scene)


def _carried(url: str, app: dict[str, str], model: str, folder: Path) -> None:
    """Carry a model through every kind of body that a signature has to deal with."""
    with Client(url, app_id=app["app_id"], app_token=app["app_token"]) as client:
        client.save(calls_admin.export_model(model, "0", Party("guest", "10000")), folder / "m.zip")
        client.save(calls_admin.migrate_model(model, "0", Party("guest", "10009")), folder / "moved.zip")
        client.do(calls_admin.delete_model(model, "0"))
        client.transfer(calls_admin.import_model(model, "0"), folder / "m.zip", file_name="m.zip")
        assert model in json.dumps(client.do(calls_admin.models()))
