from __future__ import annotations

import asyncio
import contextlib
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from partyd.components import COMPONENTS
from partyd.components.base import Component, Kind, Port
from partyd.dag.spec import read_dag
from partyd.errors import DataError
from partyd.jobs.ports import Transaction
from partyd.jobs.record import MODEL_JOBS, JobRecord
from partyd.layout import Layout
from partyd.models import registry as models_module
from partyd.models.archive import file_name, migrated, read_archive, rename, write_archive
from partyd.models.entry import check_files
from partyd.models.registry import MODELS, ModelRegistry, identity
from partyd.store import Store
from partyd.store.space import SpaceLimits
from partyd.types import GUEST, HOST, Address
from tests.api.shopfront import SCALED

BANK, SHOP = Address("10000", GUEST), Address("9999", HOST)
SCALE = COMPONENTS["feature_scale"]


@dataclass
class Shelf:
    """A registry with a real store."""

    registry: ModelRegistry
    store: Store
    folder: Path
    now: float = 1000.0

    def outputs(self, content: object = 1, key: str = "output_model") -> Path:
        """Write a task's output and return its folder."""
        folder = self.folder / "outputs"
        folder.mkdir(exist_ok=True)
        (folder / f"{key}.json").write_text(json.dumps({"data": content}))
        return folder

    def files(self) -> list[str]:
        """Return the names of everything under the models' directory."""
        root = self.registry.layout.state_dir / "models"
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def record(job: str = "j1", **conf: str) -> JobRecord:
    document = {**SCALED, "dag": {**SCALED["dag"], "conf": conf}}
    spec = read_dag(document, COMPONENTS)
    return JobRecord(job=job, me=BANK, initiator=BANK, spec=spec, tasks={}, created_at=1.0)


@contextlib.asynccontextmanager
async def shelf(folder: Path) -> AsyncIterator[Shelf]:
    store = Store.open(folder / "store", limits=SpaceLimits(reserve_bytes=0, low_bytes=0))
    try:
        yield Shelf(ModelRegistry(Layout(folder), BANK, store, clock=lambda: 5.0), store, folder)
    finally:
        await store.close()


def on_shelf(folder: Path, scene: Callable[[Shelf], Awaitable[None]]) -> None:
    async def play() -> None:
        async with shelf(folder) as found:
            await scene(found)

    asyncio.run(play())


def test_a_model_is_kept_found_and_deleted(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        entry = await it.registry.keep(record(), "scale_0", SCALE, it.outputs())
        assert entry is not None
        assert (entry.model_id, entry.model_version, entry.keys) == ("j1", "0", ("output_model",))
        path = it.registry.path("j1", "0", "scale_0", "output_model")
        assert json.loads(path.with_suffix(".json").read_text()) == {"data": 1}
        assert await it.registry.query("j1") == [entry]
        assert await it.registry.query(job_id="j2") == []
        assert (await it.registry.job("j1", "0")).spec["dag"]["tasks"]["scale_0"]["component_ref"] == "feature_scale"
        for missing in (("j2", "0", "scale_0", "output_model"), ("j1", "1", "scale_0", "output_model"),
                        ("j1", "0", "x", "output_model"), ("j1", "0", "scale_0", "../entry")):  # fmt: skip
            with pytest.raises(DataError, match="flow model query"):
                it.registry.path(*missing)
        assert await it.registry.delete("j1", "0", key="other") == 0
        assert await it.registry.delete("j1", "0") == 1
        assert (await it.registry.query(), it.files()) == ([], [])
        with pytest.raises(DataError, match="flow model query"):
            await it.registry.job("j1", "0")

    on_shelf(tmp_path, scene)


def test_a_task_without_a_model_leaves_nothing(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        assert await it.registry.keep(record(), "psi_0", COMPONENTS["psi"], it.outputs()) is None
        assert await it.registry.keep(record(), "scale_0", SCALE, it.folder / "nothing") is None
        assert await it.registry.query() == []

    on_shelf(tmp_path, scene)


def test_keeping_again_changes_nothing_and_a_rerun_replaces(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        first = await it.registry.keep(record(), "scale_0", SCALE, it.outputs(1))
        stamp = it.registry.path("j1", "0", "scale_0", "output_model").with_suffix(".json").stat().st_mtime_ns
        await it.registry.keep(record(), "scale_0", SCALE, it.outputs(1))
        assert it.registry.path("j1", "0", "scale_0", "output_model").with_suffix(".json").stat().st_mtime_ns == stamp
        second = await it.registry.keep(record(), "scale_0", SCALE, it.outputs(2))
        assert first is not None
        assert second is not None
        assert first.digest != second.digest
        assert await it.registry.query() == [second]
        assert len(it.files()) == 2

    on_shelf(tmp_path, scene)


def test_another_jobs_model_is_not_overwritten(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        named = {"model_id": "risk", "model_version": "7"}
        assert identity(record("j1", **named)) == ("risk", "7")
        await it.registry.keep(record("j1", **named), "scale_0", SCALE, it.outputs(1))
        await it.registry.keep(record("j2", **named), "scale_0", SCALE, it.outputs(1))
        with pytest.raises(DataError, match="model_version"):
            await it.registry.keep(record("j2", **named), "scale_0", SCALE, it.outputs(2))
        assert [entry.job_id for entry in await it.registry.query("risk", "7")] == ["j1"]

    on_shelf(tmp_path, scene)


def test_another_job_adds_no_task_to_a_model_and_does_not_pass_for_who_made_it(tmp_path: Path) -> None:
    """Who made a model may use it: a peer's job must not become the one that is asked about."""

    async def scene(it: Shelf) -> None:
        named = {"model_id": "risk", "model_version": "7"}
        await it.registry.keep(record("j1", **named), "scale_0", SCALE, it.outputs(1))
        before = await it.store.read(lambda store: store.documents(MODEL_JOBS))
        with pytest.raises(DataError, match="model_version"):
            await it.registry.keep(record("j2", **named), "scale_1", SCALE, it.outputs(2))
        assert await it.store.read(lambda store: store.documents(MODEL_JOBS)) == before

    on_shelf(tmp_path, scene)


def test_a_process_that_was_killed_while_it_wrote_leaves_no_half_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    async def scene(it: Shelf) -> None:
        for step in ("write_private", "check_files", "_swap", "_record"):
            with monkeypatch.context() as patch:
                patch.setattr(models_module, step, killed)
                with pytest.raises(KilledError):
                    await it.registry.keep(record(), "scale_0", SCALE, it.outputs(step))
            assert await it.registry.query() == [], step
        stale = it.registry.layout.state_dir / "models" / "j1" / "0" / "guest-10000" / ".scale_0.dead"
        stale.mkdir(parents=True)
        await it.registry.keep(record(), "scale_0", SCALE, it.outputs("at last"))
        assert it.files() == ["j1/0/guest-10000/scale_0/entry.json", "j1/0/guest-10000/scale_0/output_model.json"]
        assert not stale.exists()

    on_shelf(tmp_path, scene)


def test_models_may_be_directories_and_are_deleted_one_by_one(tmp_path: Path) -> None:
    ports = (Port("net", Kind.MODEL, GUEST), Port("output_model", Kind.MODEL, GUEST))
    component = Component("nn", GUEST, SCALE.params, SCALE.run, outputs=ports)

    async def scene(it: Shelf) -> None:
        folder = it.outputs()
        (folder / "net" / "layers").mkdir(parents=True)
        (folder / "net" / "layers" / "0.bin").write_bytes(b"\0" * 10)
        entry = await it.registry.keep(record(), "nn_0", component, folder)
        assert entry is not None
        assert entry.keys == ("net", "output_model")
        check_files(entry, it.registry.place(entry))
        assert (it.registry.path("j1", "0", "nn_0", "net") / "layers" / "0.bin").read_bytes() == b"\0" * 10
        assert await it.registry.delete("j1", "0", "nn_0", "output_model") == 1
        assert [e.keys for e in await it.registry.query()] == [("net",)]
        with pytest.raises(DataError):
            it.registry.path("j1", "0", "nn_0", "output_model")
        (folder / "net" / "layers" / "bad name").write_bytes(b"")
        with pytest.raises(DataError, match="cannot be kept"):
            await it.registry.keep(record("j2"), "nn_0", component, folder)

    on_shelf(tmp_path, scene)


def test_an_archive_gives_back_what_went_in_and_equal_models_are_equal_files(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        entry = await it.registry.keep(record(), "scale_0", SCALE, it.outputs())
        assert entry is not None
        job = await it.registry.job("j1", "0")
        target = tmp_path / "out" / file_name(job)
        digest = write_archive(target, job, [(entry, it.registry.place(entry))])
        assert write_archive(target, job, [(entry, it.registry.place(entry))]) == digest
        manifest, entries = read_archive(target, tmp_path / "draft")
        assert (manifest.job, [e for e, _ in entries]) == (job, [entry])
        check_files(*entries[0])
        moved_job, moved = rename(migrated(job, "guest", "10000", "77"), [entry], Address("77", GUEST), "m", "2")
        assert moved_job.spec["dag"]["parties"][0]["party_id"] == ["77"]
        assert (moved[0].model_id, moved[0].party_id, moved[0].digest) == ("m", "77", entry.digest)
        (it.registry.place(entry) / "output_model.json").write_text("{}")
        with pytest.raises(DataError, match="not what was kept"):
            write_archive(tmp_path / "other.zip", job, [(entry, it.registry.place(entry))])
        assert not (tmp_path / "other.zip").exists()
        long = job.model_copy(update={"model_id": "é" * 256, "model_version": "v" * 256})
        assert len(file_name(long)) < 200
        target.unlink()
        target.symlink_to(tmp_path / "elsewhere")
        (it.registry.place(entry) / "output_model.json").write_text(json.dumps({"data": 1}))
        with pytest.raises(DataError, match="something else"):
            write_archive(target, job, [(entry, it.registry.place(entry))])

    on_shelf(tmp_path, scene)


PLACE = ("j1", "0", "scale_0", "output_model")


def with_lineage(it: Shelf, **changes: object) -> Path:
    """Write a task's output and where it comes from."""
    folder = it.outputs()
    told = {"job": "j1", "task": "scale_0", "component": "feature_scale", "stage": "train", "role": "guest",
            "party_id": "10000", "parties": {"guest": ["10000"], "host": ["9999"]}, "parameters": "0" * 64}  # fmt: skip
    (folder / "lineage.json").write_text(json.dumps(told | changes))
    return folder


def test_a_model_is_compared_with_its_record_before_it_is_used(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        entry = await it.registry.keep(record(), "scale_0", SCALE, with_lineage(it, uploads=["a" * 64]))
        assert entry is not None
        assert entry.lineage is not None
        assert (entry.lineage.uploads, entry.schema_version) == (("a" * 64,), SCALE.model_schema)
        assert entry.lineage_sha256 == entry.lineage.digest
        assert await it.registry.checked(*PLACE) == it.registry.path(*PLACE)
        file = it.registry.path(*PLACE).with_suffix(".json")
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"1", b"2"))
        with pytest.raises(DataError, match=r"scale_0/output_model\.json is missing or not what was kept"):
            await it.registry.checked(*PLACE)
        file.write_bytes(whole)
        assert await it.registry.checked(*PLACE)
        with pytest.raises(DataError, match="flow model query"):
            await it.registry.checked("j1", "0", "scale_9", "output_model")

    on_shelf(tmp_path, scene)


def test_a_changed_lineage_and_a_form_of_the_future_are_refused(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        entry = await it.registry.keep(record(), "scale_0", SCALE, with_lineage(it))
        assert entry is not None
        assert entry.lineage is not None
        forged = entry.lineage.model_copy(update={"parameters": "1" * 64})
        for changed, words in (
            (entry.model_copy(update={"lineage": forged}), "lineage of task scale_0"),
            (entry.model_copy(update={"lineage": None}), "lineage of task scale_0"),
            (entry.model_copy(update={"schema_version": 99}), "use a newer partyd"),
        ):
            packed = changed.model_dump_json().encode()
            await it.store.write(partial(put, packed))
            with pytest.raises(DataError, match=words):
                await it.registry.checked(*PLACE)
        job = await it.registry.job("j1", "0")
        with pytest.raises(DataError, match="lineage of task scale_0"):
            write_archive(tmp_path / "x.zip", job, [(entry.model_copy(update={"lineage": forged}), tmp_path)])

    on_shelf(tmp_path, scene)


def put(document: bytes, store: Transaction) -> None:
    store.put_document(MODELS, "j1/0/guest/10000/scale_0", document)


def test_an_archive_carries_the_lineage_and_refuses_one_that_was_changed(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        entry = await it.registry.keep(record(), "scale_0", SCALE, with_lineage(it))
        assert entry is not None
        job = await it.registry.job("j1", "0")
        target = tmp_path / "model.zip"
        write_archive(target, job, [(entry, it.registry.place(entry))])
        manifest, _ = read_archive(target, tmp_path / "draft")
        assert manifest.tasks[0].lineage == entry.lineage
        for i, (name, value, words) in enumerate(
            (("parameters", "2" * 64, "lineage"), ("job", "another", "lineage"), ("stage", 7, "stage"))
        ):
            other = tmp_path / f"{i}.zip"
            with zipfile.ZipFile(target) as source, zipfile.ZipFile(other, "w") as copy:
                for info in source.infolist():
                    content = source.read(info)
                    if info.filename == "manifest.json":
                        document = json.loads(content)
                        document["tasks"][0]["lineage"][name] = value
                        content = json.dumps(document).encode()
                    copy.writestr(info.filename, content)
            with pytest.raises(DataError, match=words):
                read_archive(other, tmp_path / f"draft-{i}")

    on_shelf(tmp_path, scene)


def test_an_archive_of_an_earlier_partyd_is_still_read(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        entry = await it.registry.keep(record(), "scale_0", SCALE, it.outputs())
        assert entry is not None
        write_archive(tmp_path / "new.zip", await it.registry.job("j1", "0"), [(entry, it.registry.place(entry))])
        with zipfile.ZipFile(tmp_path / "new.zip") as source, zipfile.ZipFile(tmp_path / "old.zip", "w") as copy:
            document = json.loads(source.read("manifest.json")) | {"format_version": 1}
            for unknown in ("lineage", "lineage_sha256", "schema_version"):
                del document["tasks"][0][unknown]
            copy.writestr("manifest.json", json.dumps(document))
            copy.writestr("scale_0/output_model.json", source.read("scale_0/output_model.json"))
        manifest, _ = read_archive(tmp_path / "old.zip", tmp_path / "draft")
        assert manifest.tasks[0].lineage is None

    on_shelf(tmp_path, scene)


def test_a_document_and_a_folder_of_one_output_are_kept_together(tmp_path: Path) -> None:
    async def scene(it: Shelf) -> None:
        folder = it.outputs()
        (folder / "output_model").mkdir()
        (folder / "output_model" / "model.pmml").write_text("<PMML/>")
        entry = await it.registry.keep(record(), "merge_0", COMPONENTS["model_merge"], folder)
        assert entry is not None
        assert [file.name for file in entry.files] == ["output_model.json", "output_model/model.pmml"]
        assert await it.registry.checked("j1", "0", "merge_0", "output_model")
        assert await it.registry.delete("j1", "0", "merge_0", "output_model") == 1
        assert it.files() == []

    on_shelf(tmp_path, scene)
