"""Tables by name: replaced while they are read, bound, disabled, deleted; what has used them."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from partyd.config import DataSettings
from partyd.data.formats import Format
from partyd.data.ingest import ingest
from partyd.data.orders import Kept, Order
from partyd.data.table import Table
from partyd.errors import DataError, StoreFull
from partyd.layout import Layout
from partyd.store import Store
from partyd.store.space import SpaceLimits
from partyd.tables import reading
from partyd.tables.catalog import TABLES, Binding, Catalog, TableDisabled, TableMissing, TableRecord
from partyd.tables.sources import Sources
from partyd.types import GUEST

Work = Callable[[Catalog, Store], Awaitable[None]]


def on_catalog(folder: Path, work: Work, *, settings: DataSettings | None = None, standalone: bool = False) -> None:
    async def scenario() -> None:
        layout = Layout(folder / "state")
        store = Store.open(layout.store_dir(GUEST), limits=SpaceLimits(reserve_bytes=0, low_bytes=0))
        sources = Sources(layout, settings or DataSettings(bind_roots=(folder / "data",)), is_standalone=standalone)
        try:
            await work(Catalog(layout, GUEST, store, sources, lambda: 1000.0), store)
        finally:
            await store.close()

    (folder / "data").mkdir(exist_ok=True)
    asyncio.run(scenario())


async def stored(catalog: Catalog, text: str, name: str = "t") -> TableRecord:
    """Keep a table as an upload would."""
    draft = catalog.new_folder()
    file = catalog.place.parent / "upload.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    kept = await asyncio.to_thread(ingest, Order(folder=draft, path=file), lambda *_: None)
    return await catalog.keep(TableRecord(namespace="n", name=name, created_at=1), draft, kept, "owner")


def folders(catalog: Catalog) -> list[str]:
    return sorted(path.name for path in catalog.place.iterdir()) if catalog.place.exists() else []


def test_a_table_is_kept_found_listed_and_deleted(tmp_path: Path) -> None:
    async def work(catalog: Catalog, store: Store) -> None:
        made = await stored(catalog, "id,a\nu,1\n")
        assert await catalog.find("n", "t") == made
        assert await catalog.records() == [made]
        assert folders(catalog) == [made.digest]
        assert len(Table.load(catalog.folder(made))) == 1
        await catalog.delete("n", "t", "owner")
        assert folders(catalog) == []
        with pytest.raises(TableMissing, match="flow data upload"):
            await catalog.find("n", "t")
        with pytest.raises(TableMissing):
            await catalog.delete("n", "t")
        events = await store.read(lambda reader: reader.events())
        assert [event.kind for event in events] == ["table_uploaded", "table_deleted"]
        assert json.loads(events[0].detail) == {"table": "n/t", "digest": made.digest, "by": "owner"}

    on_catalog(tmp_path, work)


def test_equal_tables_share_a_folder_that_goes_with_the_last(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        for name in ("one", "two"):
            await stored(catalog, "id,a\nu,1\n", name)
        assert len(folders(catalog)) == 1
        await catalog.delete("n", "one")
        assert len(folders(catalog)) == 1
        await catalog.delete("n", "two")
        assert folders(catalog) == []

    on_catalog(tmp_path, work)


def test_a_table_that_a_job_reads_stays_until_the_job_has_ended(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        await stored(catalog, "id,a\nold,1\n")
        before = await catalog.open("n", "t", "job", "reader_0")
        await stored(catalog, "id,a\nnew,1\n")
        assert await catalog.open("n", "t", "job", "reader_0") == before, "a task started again reads the same rows"
        assert Table.load(before).ids.tolist() == [b"old"]
        assert Table.load(await catalog.open("n", "t", "other", "reader_0")).ids.tolist() == [b"new"]
        await catalog.delete("n", "t")
        assert len(folders(catalog)) == 2
        await catalog.release("job")
        assert len(folders(catalog)) == 1
        await catalog.release("other")
        assert folders(catalog) == []
        uses = await catalog.lineage("n", "t")
        assert {(use.job, use.task, use.is_open) for use in uses} == {
            ("job", "reader_0", False),
            ("other", "reader_0", False),
        }
        assert all(use.at == 1000 for use in uses)

    on_catalog(tmp_path, work)


def test_a_restart_removes_what_was_half_written_and_releases_ended_jobs(tmp_path: Path) -> None:
    async def work(catalog: Catalog, store: Store) -> None:
        made = await stored(catalog, "id,a\nu,1\n")
        await store.write(lambda writer: writer.save_job("open", "running", b"{}"))
        await store.write(lambda writer: writer.save_job("done", "success", b"{}"))
        for job in ("open", "done", "unknown"):
            await catalog.open("n", "t", job, "reader_0")
        await catalog.delete("n", "t")
        catalog.new_folder().mkdir()
        await catalog.recover()
        assert folders(catalog) == [made.digest]
        assert [use.job for use in await catalog.lineage("n", "t") if use.is_open] == ["open"]

    on_catalog(tmp_path, work)


def test_a_disabled_table_is_refused_to_new_tasks(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        await stored(catalog, "id,a\nu,1\n")
        running = await catalog.open("n", "t", "job", "reader_0")
        assert (await catalog.disable("n", "t", is_disabled=True)).is_disabled
        with pytest.raises(TableDisabled, match="flow table enable"):
            await catalog.open("n", "t", "new", "reader_0")
        assert await catalog.open("n", "t", "job", "reader_0") == running
        await catalog.disable("n", "t", is_disabled=False)
        assert await catalog.open("n", "t", "new", "reader_0") == running

    on_catalog(tmp_path, work)


def test_tables_of_earlier_versions_stay_readable(tmp_path: Path) -> None:
    async def work(catalog: Catalog, store: Store) -> None:
        made = await stored(catalog, "id,y,a\nu,1,1\n")
        folder = Layout(tmp_path / "state").tables_dir("n", "t")
        folder.parent.mkdir(parents=True)
        catalog.folder(made).rename(folder)
        old = {"count": 1, "digest": made.digest, "skipped": [], "namespace": "n", "name": "t", "created_at": 1.5}
        old["schema"] = {
            "rows": 1,
            "sample_id": "id",
            "match_id": None,
            "label": "y",
            "weight": None,
            "features": ["a"],
        }
        await store.write(lambda writer: writer.put_document(TABLES, "n/t", json.dumps(old).encode()))
        record = await catalog.find("n", "t")
        assert (record.table_schema.label, record.folder) == ("y", "")
        assert await catalog.open("n", "t", "job", "reader_0") == folder
        assert Table.load(folder).digest().hex() == made.digest
        await catalog.delete("n", "t")
        assert not folder.exists()

    on_catalog(tmp_path, work)


# -- bound tables


async def bound(catalog: Catalog, path: Path, **binding: object) -> TableRecord:
    mark = await catalog.sources.mark(path)
    made = Binding.model_validate({"path": str(path), "mark": mark, **binding})
    return await catalog.bind(TableRecord(namespace="n", name="b", binding=made))


def test_a_bound_file_is_read_at_first_use_and_not_again(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        file = tmp_path / "data" / "t.tsv"
        file.write_text("id\ta\nu\t1\n")
        record = await bound(catalog, file, form=Format(delimiter="\t"))
        assert (record.count, folders(catalog)) == (0, [])
        with pytest.raises(DataError, match="not read yet"):
            catalog.folder(record)
        first = await catalog.open("n", "b", "one", "reader_0")
        assert Table.load(first).schema.features == ("a",)
        assert (await catalog.find("n", "b")).count == 1
        inode = first.stat().st_ino
        os.utime(file)
        assert (await catalog.open("n", "b", "two", "reader_0")).stat().st_ino == inode
        await catalog.delete("n", "b")
        assert file.exists()

    on_catalog(tmp_path, work)


@pytest.mark.parametrize("when", ["before the first use", "after it"])
def test_a_bound_file_that_has_changed_or_is_gone_is_refused(tmp_path: Path, when: str) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        file = tmp_path / "data" / "t.csv"
        file.write_text("id,a\nu,1\n")
        await bound(catalog, file)
        if when == "after it":
            await catalog.open("n", "b", "one", "reader_0")
        file.write_text("id,a\nu,2\n")
        with pytest.raises(DataError, match="has changed since it was bound; bind it again"):
            await catalog.open("n", "b", "two", "reader_0")
        file.unlink()
        with pytest.raises(DataError, match="does not exist"):
            await catalog.open("n", "b", "two", "reader_0")

    on_catalog(tmp_path, work)


def test_a_folder_in_our_own_columns_is_used_where_it_lies(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        made = await stored(catalog, "id,a\nu,1\n")
        folder = tmp_path / "data" / "columns"
        Table.load(catalog.folder(made)).save(folder)
        await bound(catalog, folder)
        assert await catalog.open("n", "b", "one", "reader_0") == folder
        adopted = await catalog.adopt(TableRecord(namespace="n", name="c"), folder)
        assert (adopted.digest, catalog.folder(adopted).parent) == (made.digest, catalog.place)
        with pytest.raises(DataError, match="upload it again"):
            await catalog.adopt(TableRecord(namespace="n", name="d"), tmp_path / "data")
        assert len(folders(catalog)) == 1

    on_catalog(tmp_path, work)


@pytest.mark.needs("sqlalchemy")
def test_a_bound_query_is_read_anew_for_each_job(tmp_path: Path) -> None:
    path = tmp_path / "crm.db"

    def insert(name: str) -> None:
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE IF NOT EXISTS users (id TEXT, a REAL)")
            database.execute("INSERT INTO users VALUES (?, 1)", [name])
        database.close()

    async def work(catalog: Catalog, _: Store) -> None:
        insert("u1")
        conf = tmp_path / "state" / "conf" / "sources"
        conf.mkdir(parents=True)
        (conf / "crm.url").write_text(f"sqlite:///{path}\n")
        (conf / "crm.url").chmod(0o600)
        binding = Binding(source="crm", table="users")
        await catalog.bind(TableRecord(namespace="n", name="b", binding=binding))
        one = await catalog.open("n", "b", "one", "reader_0")
        insert("u2")
        assert await catalog.open("n", "b", "one", "reader_0") == one
        two = await catalog.open("n", "b", "two", "reader_0")
        assert [len(Table.load(folder)) for folder in (one, two)] == [1, 2]
        await catalog.release("one")
        assert folders(catalog) == [two.name]
        path.unlink()
        with pytest.raises(DataError, match="source crm"):
            await catalog.open("n", "b", "three", "reader_0")
        assert folders(catalog) == [two.name]

    on_catalog(tmp_path, work)


# -- what the site allows


def test_paths_outside_the_roots_are_refused_alike(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        (tmp_path / "secret.csv").write_text("id,a\nu,1\n")
        (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "secret.csv")
        for path in (tmp_path / "secret.csv", tmp_path / "nothing.csv", "../secret.csv", "link.csv", "/etc/passwd"):
            with pytest.raises(DataError, match=r"does not lie under .*data\.bind_roots"):
                catalog.sources.path(str(path))
        (tmp_path / "data" / "good.csv").write_text("id,a\nu,1\n")
        assert catalog.sources.path("good.csv") == catalog.sources.path(str(tmp_path / "data" / "good.csv"))
        with pytest.raises(DataError, match="does not exist"):
            catalog.sources.path("gone.csv")
        with pytest.raises(DataError, match=r"without schema\.json"):
            await catalog.sources.mark(tmp_path / "data")

    on_catalog(tmp_path, work)


def test_without_roots_data_of_the_state_directory_is_open_and_nothing_else_of_it(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        state = tmp_path / "state"
        for name in ("data", "identity"):
            (state / name).mkdir()
            (state / name / "guest.key").write_text("k")
        assert catalog.sources.path("guest.key") == state / "data" / "guest.key"
        with pytest.raises(DataError, match="does not lie under"):
            catalog.sources.path(str(state / "identity" / "guest.key"))

    on_catalog(tmp_path, work, settings=DataSettings())
    on_catalog_standalone = DataSettings()

    async def anywhere(catalog: Catalog, _: Store) -> None:
        (tmp_path / "any.csv").write_text("x")
        assert catalog.sources.path(str(tmp_path / "any.csv")) == tmp_path / "any.csv"
        with pytest.raises(DataError, match="does not lie under"):
            catalog.sources.path(str(tmp_path / "state" / "identity" / "guest.key"))

    on_catalog(tmp_path, anywhere, settings=on_catalog_standalone, standalone=True)


def test_sources_are_the_sites_own(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        conf = tmp_path / "sources"
        conf.mkdir()
        (conf / "open.url").write_text("postgresql://u:secret@h/d")
        (conf / "empty.url").write_text("")
        (conf / "empty.url").chmod(0o600)
        for name, words in (
            ("nope", "there are: empty, open"),
            ("../open", "there are"),
            ("open", "chmod 600"),
            ("empty", "is empty"),
        ):
            with pytest.raises(DataError, match=words) as error:
                catalog.sources.url(name)
            assert "secret" not in str(error.value)

    on_catalog(tmp_path, work, settings=DataSettings(sources_dir=tmp_path / "sources"))


def test_a_table_that_is_replaced_while_it_is_disabled_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(catalog: Catalog, store: Store) -> None:
        await stored(catalog, "id,a\nold,1\n")
        read = store.read

        async def replaced_meanwhile(do: Any) -> Any:
            found = await read(do)
            monkeypatch.setattr(store, "read", read)
            await stored(catalog, "id,a\nnew,1\n")
            return found

        monkeypatch.setattr(store, "read", replaced_meanwhile)
        await catalog.disable("n", "t", is_disabled=True)
        monkeypatch.setattr(store, "read", read)
        record = await catalog.find("n", "t")
        assert (record.is_disabled, len(Table.load(catalog.folder(record)))) == (True, 1)

    on_catalog(tmp_path, work)


@pytest.mark.parametrize("what", ["deleted", "bound anew", "disabled"])
def test_a_bound_table_that_changes_while_it_is_read(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        file, other = tmp_path / "data" / "t.csv", tmp_path / "data" / "u.csv"
        file.write_text("id,a\nu,1\n")
        other.write_text("id,a\nv,1\n")
        record = await bound(catalog, file)
        read = reading.read

        async def slow(order: Order, tell: reading.Tell) -> Kept:
            kept = await read(order, tell)
            if what == "deleted":
                await catalog.delete("n", "b")
            elif what == "bound anew":
                await bound(catalog, other)
            else:
                await catalog.disable("n", "b", is_disabled=True)
            return kept

        monkeypatch.setattr(reading, "read", slow)
        if what == "disabled":
            assert (await catalog.read_bound(record)).is_disabled
            assert (await catalog.find("n", "b")).is_disabled
            return
        with pytest.raises(DataError, match="bound anew or deleted while it was read"):
            await catalog.read_bound(record)
        assert [one.digest for one in await catalog.records()] == ([""] if what == "bound anew" else [])
        await catalog.sweep()
        assert folders(catalog) == []

    on_catalog(tmp_path, work)


def test_a_table_is_on_the_disk_before_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(catalog: Catalog, store: Store) -> None:
        synced: set[str] = set()
        fsync, write = os.fsync, store.write

        def noted(handle: int) -> None:
            synced.add(Path(f"/proc/self/fd/{handle}").readlink().name)
            fsync(handle)

        async def checked(do: Any) -> Any:
            assert {"schema.json", "features.npy", "ids.npy", catalog.place.name} <= synced
            return await write(do)

        monkeypatch.setattr(os, "fsync", noted)
        monkeypatch.setattr(store, "write", checked)
        made = await stored(catalog, "id,a\nu,1\n")
        (catalog.folder(made) / "schema.json").write_text("")
        again = await stored(catalog, "id,a\nu,1\n")
        assert Table.load(catalog.folder(again)).ids.tolist() == [b"u"]

    on_catalog(tmp_path, work)


def test_reading_ends_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(catalog: Catalog, store: Store) -> None:
        file = tmp_path / "data" / "t.csv"
        file.write_text("id,a\nu,1\n")
        record = await bound(catalog, file)
        monkeypatch.setattr(store, "is_low", lambda: True)
        with pytest.raises(StoreFull, match="free some space"):
            await catalog.read_bound(record)
        assert folders(catalog) == []

    on_catalog(tmp_path, work)


def test_a_folder_with_symbolic_links_is_not_adopted(tmp_path: Path) -> None:
    async def work(catalog: Catalog, _: Store) -> None:
        made = await stored(catalog, "id,a\nu,1\n")
        folder = tmp_path / "data" / "columns"
        Table.load(catalog.folder(made)).save(folder)
        (folder / "ids.npy").rename(tmp_path / "elsewhere.npy")
        (folder / "ids.npy").symlink_to(tmp_path / "elsewhere.npy")
        with pytest.raises(DataError, match="symbolic link"):
            await catalog.adopt(TableRecord(namespace="n", name="c"), folder)

    on_catalog(tmp_path, work)
