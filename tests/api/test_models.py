from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from partyd.models import archive as archive_module
from tests.api.frame import form
from tests.api.shopfront import MODEL, SCALED, Front, at_front


def of(job: str, **more: Any) -> dict[str, Any]:
    return {"model_id": job, "model_version": "0", "role": "guest", "party_id": "10000", **more}


async def take_in(api: Front, content: bytes, model_id: str = "copy", **fields: str) -> tuple[int, Any]:
    """Import as FATE's SDK does: text fields, then the file."""
    data = aiohttp.FormData()
    for name, value in {"model_id": model_id, "model_version": "1", "path": "/x.zip", **fields}.items():
        data.add_field(name, value)
    data.add_field("file", content, filename="x.zip")
    async with api.http.post("/v2/model/import", data=data) as reply:
        return reply.status, form(await reply.text())


async def exported(api: Front, job: str) -> bytes:
    status, kind, content = await api.fetch("GET", "/v2/model/download", **of(job))
    assert (status, kind) == (200, "application/zip")
    return content


def test_a_jobs_models_are_in_the_registry(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        (model,) = await api.data("/v2/model/query", model_id=job)
        assert (model["model_id"], model["model_version"], model["job_id"]) == (job, "0", job)
        assert (model["role"], model["party_id"], model["parties"]) == ("guest", "10000", ["10000/guest", "9999/host"])
        (task,) = model["tasks"]
        assert (task["task_name"], task["component"], task["output_keys"]) == (
            "scale_0",
            "feature_scale",
            ["output_model"],
        )
        assert await api.data("/v2/model/query", model_version="7") == []

    at_front(tmp_path, scene)


def test_a_model_is_exported_where_fates_client_says_and_comes_back(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        target = tmp_path / "out"
        status, reply = await api.post("/v2/model/export", of(job, path=str(target)))
        assert (status, reply["code"], reply["data"]["status"]) == (200, 0, "success")
        file = target / f"{job}_0_guest_10000.zip"
        assert Path(reply["data"]["path"]) == file
        assert (await api.post("/v2/model/export", of(job, path=str(target))))[0] == 200
        status, reply = await take_in(api, file.read_bytes())
        assert (status, reply["code"]) == (200, 0)
        (model,) = await api.data("/v2/model/query", model_id="copy")
        assert (model["model_version"], model["job_id"]) == ("1", job)
        assert api.node.runner.models is not None
        path = api.node.runner.models.path("copy", "1", "scale_0", "output_model")
        assert json.loads(path.with_suffix(".json").read_text()) == MODEL
        for nowhere in (str(file / "below"), "/" + "x" * 300):
            status, reply = await api.post("/v2/model/export", of(job, path=nowhere))
            assert (status, "cannot be written" in reply["message"]) == (400, True), reply
        file.write_bytes(b"something else")
        status, reply = await api.post("/v2/model/export", of(job, path=str(target)))
        assert status == 400
        assert "holds something else" in reply["message"]

    at_front(tmp_path, scene)


def test_a_relative_path_is_below_the_daemons_exports(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        status, reply = await api.post("/v2/model/export", of(job, path="./model/"))
        assert status == 200
        assert Path(reply["data"]["path"]).is_relative_to(api.node.settings.state_dir / "exports")
        for inside in ("identity", "conf/sources", "models/x"):
            there = str(api.node.settings.state_dir / inside)
            status, reply = await api.post("/v2/model/export", of(job, path=there))
            assert (status, "exports" in reply["message"]) == (400, True), reply
        status, reply = await api.post("/v2/model/export", of(job, path="../../x"))
        assert status == 400
        assert "absolute" in reply["message"]

    at_front(tmp_path, scene)


def changed(content: bytes, edit: dict[str, bytes | None], add: dict[str, bytes] | None = None) -> bytes:
    """Return a zip with some entries replaced (None: left out) and some more."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            new = edit.get(name, source.read(name))
            if new is not None:
                archive.writestr(name, new)
        for name, more in (add or {}).items():
            archive.writestr(name, more)
    return target.getvalue()


def torn(content: bytes, name: str) -> bytes:
    """Break the packed bytes of one file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        begin = archive.getinfo(name).header_offset + 30 + len(name)
    return content[:begin] + b"\xff\xff\xff" + content[begin + 3 :]


def with_long_directory(content: bytes) -> bytes:
    """Say that the directory at the end is larger than any model's."""
    end = content.rindex(b"PK\x05\x06")
    return content[: end + 12] + (archive_module.MAX_DIRECTORY_BYTES + 1).to_bytes(4, "little") + content[end + 16 :]


def packed_as(content: bytes, kind: int) -> bytes:
    """Pack an archive's files in another way."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(target, "w", kind) as again:
        for info in whole.infolist():
            again.writestr(info.filename, whole.read(info))
    return target.getvalue()


def test_an_archive_that_is_not_whole_or_not_ours_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        whole = await exported(api, job)
        inside = "scale_0/output_model.json"
        manifest = json.loads(zipfile.ZipFile(io.BytesIO(whole)).read("manifest.json"))
        manifest["tasks"][0]["files"][0]["name"] = "../../evil.json"
        plain = json.loads(zipfile.ZipFile(io.BytesIO(whole)).read("manifest.json"))
        newer = {**plain, "format_version": 99}
        no_job = {**plain, "job": {**plain["job"], "spec": {"dag": 5}}}
        no_time = {**plain, "job": {**plain["job"], "created_at": float("nan")}}
        twice = {**plain, "tasks": plain["tasks"] * 2}
        bad = {
            "not a zip": b"hello", "empty": b"", "cut off": whole[: len(whole) // 2],
            "another content": changed(whole, {inside: b"{}"}),
            "a file less": changed(whole, {inside: None}),
            "a file more": changed(whole, {}, {"evil.sh": b"x"}),
            "a path out": changed(whole, {"manifest.json": json.dumps(manifest).encode()}),
            "no manifest": changed(whole, {"manifest.json": None}),
            "a strange manifest": changed(whole, {"manifest.json": b"[]"}),
            "no job": changed(whole, {"manifest.json": json.dumps(no_job).encode()}),
            "no time": changed(whole, {"manifest.json": json.dumps(no_time).encode()}),
            "a task twice": changed(whole, {"manifest.json": json.dumps(twice).encode()}),
            "a broken stream": torn(whole, inside),
            "too much to list": with_long_directory(whole),
            "another packing": packed_as(whole, zipfile.ZIP_LZMA),
            "a newer form": changed(whole, {"manifest.json": json.dumps(newer).encode()}),
        }  # fmt: skip
        for what, content in bad.items():
            status, reply = await take_in(api, content)
            assert status == 400, what
            assert len(reply["message"]) > 20, what
        assert await api.data("/v2/model/query", model_id="copy") == []
        assert len(await api.data("/v2/model/query")) == 1
        assert list((api.node.settings.state_dir / "uploads").iterdir()) == []

    at_front(tmp_path, scene)


def test_a_form_without_a_file_is_refused(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        async with api.http.post("/v2/model/import", data=aiohttp.FormData({"model_id": "x"})) as reply:
            assert reply.status == 400
        data = aiohttp.FormData()
        data.add_field("model_id", "x", content_type="text/plain")
        async with api.http.post("/v2/model/import", data=data) as reply:
            assert (reply.status, (await reply.json())["code"]) == (400, 5007)
        assert (await api.post("/v2/model/import", {"model_id": "x"}))[0] == 400
        headers = {"Content-Type": "multipart/form-data"}
        async with api.http.post("/v2/model/import", data=io.BytesIO(b"x"), headers=headers) as reply:
            assert reply.status == 400

    at_front(tmp_path, scene)


def test_another_model_of_that_name_is_never_overwritten(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        first = await api.run(SCALED)
        MODEL["data"]["estimator"]["param"]["coef_"] = [9.0]
        second = await api.run(SCALED)
        MODEL["data"]["estimator"]["param"]["coef_"] = [1.5, -2.0]
        assert (await take_in(api, await exported(api, first)))[0] == 200
        assert (await take_in(api, await exported(api, first)))[0] == 200
        status, reply = await take_in(api, await exported(api, second))
        assert status == 400
        assert "model_version" in reply["message"]

    at_front(tmp_path, scene)


def test_models_are_deleted_in_parts_and_whole(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        status, reply = await api.post("/v2/model/delete", of(job, task_name="psi_0"))
        assert (status, reply["code"]) == (404, 2005)
        status, reply = await api.post("/v2/model/delete", {"model_id": job, "model_version": "0"})
        assert (status, reply["data"]) == (200, {"count": 1})
        assert await api.data("/v2/model/query") == []
        for path in ("delete", "export", "deploy"):
            status, reply = await api.post(f"/v2/model/{path}", of(job))
            assert (status, reply["code"]) == (404, 2005), path
            assert "flow model query" in reply["message"]

    at_front(tmp_path, scene)


def test_a_model_is_deployed_as_a_job_that_predicts(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        status, reply = await api.post("/v2/model/deploy", {"model_id": job, "model_version": "0"})
        assert status == 200
        schema = reply["data"]["dag_schema"]
        assert yaml.safe_load(reply["data"]["yaml"]) == schema
        assert schema["dag"]["stage"] == "predict"
        assert set(schema["dag"]["tasks"]) == {"reader_0", "psi_0", "scale_0"}
        predicted = await api.run(reply["data"]["yaml"])
        assert (await api.ended(predicted))["status"] == "success"
        status, reply = await api.post("/v2/model/deploy", of(job, tasks=["psi_0", "nope"]))
        assert (status, "nope" in reply["message"]) == (400, True)

    at_front(tmp_path, scene)


def test_a_model_is_migrated_for_a_party_with_another_id(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        target = tmp_path / "moved"
        for role, new, file in (("guest", "77", f"{job}_0_guest_77.zip"), ("host", "88", f"{job}_0_guest_10000.zip")):
            fields = {**of(job), "role": role, "party_id": new, "dir_path": str(target)}
            status, reply = await api.post("/v2/model/migrate", b"", **fields)
            assert (status, reply["code"]) == (200, 0), reply
            with zipfile.ZipFile(target / file) as archive:
                manifest = json.loads(archive.read("manifest.json"))
            assert f"{new}/{role}" in manifest["parties"]
        status, reply = await take_in(api, (target / f"{job}_0_guest_77.zip").read_bytes())
        assert status == 400
        assert "77/guest" in reply["message"]
        assert (await take_in(api, (target / f"{job}_0_guest_10000.zip").read_bytes()))[0] == 200
        status, _, _ = await api.fetch("POST", "/v2/model/migrate", {**of(job), "party_id": "5"})
        assert status == 200
        for wrong in ({"role": "boss"}, {"party_id": "../x"}, {"role": "arbiter"}):
            assert (await api.post("/v2/model/migrate", {**of(job), **wrong}))[0] == 400, wrong

    at_front(tmp_path, scene)


def test_stored_models_come_back_after_they_were_deleted(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        status, reply = await api.post("/v2/model/store")
        assert (status, len(reply["data"])) == (200, 1)
        assert (await api.post("/v2/model/delete", {"model_id": job, "model_version": "0"}))[0] == 200
        assert (await api.post("/v2/model/restore", {"model_id": "other"}))[0] == 404
        assert len((await api.post("/v2/model/restore", {"model_id": job}))[1]["data"]) == 1
        assert len(await api.data("/v2/model/query", model_id=job)) == 1
        assert len((await api.post("/v2/model/restore"))[1]["data"]) == 1

    at_front(tmp_path, scene)


def test_there_is_no_serving_to_load_into(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        status, reply = await api.post("/v2/model/load", b"")
        assert (status, reply["code"]) == (400, 6001)
        assert "flow model deploy" in reply["message"]

    at_front(tmp_path, scene)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "é", "x" * 256, "a b"])
def test_names_of_models_stay_within_the_registry(tmp_path: Path, name: str) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        status, _ = await take_in(api, await exported(api, job), model_id=name)
        assert status == 200
        assert len(list((api.node.settings.state_dir / "models").glob("*/*/guest-10000/scale_0/entry.json"))) == 2
        assert len(await api.data("/v2/model/query", model_id=name)) == 1

    at_front(tmp_path, scene)
