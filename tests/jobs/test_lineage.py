"""Where a model comes from: what a worker writes beside it, and what later tasks read there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.jobs.lineage import (
    LINEAGE,
    Lineage,
    digest_of,
    digest_of_tables,
    lineage_of_model,
    read_lineage,
    trainings_of,
    write_lineage,
)
from partyd.jobs.order import WorkOrder
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.components.tables import saved, table
from tests.jobs.test_workers import converse

G, H, A = Address("10000", GUEST), Address("9999", HOST), Address("1", ARBITER)
LR = COMPONENTS["coordinated_lr"]


def order(folder: Path, task: str, component: str, **more: Any) -> WorkOrder:
    given = {
        "job": "j1", "task": task, "attempt": 0, "component": component, "parameters": {}, "me": G,
        "parties": (G, H, A), "inputs": {}, "outputs": str(folder / task / "guest"), "contract": "ab" * 32,
    }  # fmt: skip
    return WorkOrder.model_validate(given | more)


def rows(folder: Path, name: str, x: list[float]) -> tuple[str, str]:
    """Write a table and return where it lies and its digest."""
    made = table([f"u{i}" for i in range(len(x))], {"x": x}, [0.0] * len(x))
    return str(saved(folder, name, made)), made.digest().hex()


def trained(folder: Path, task: str = "lr_0", **more: Any) -> Lineage:
    """Do as a worker that has trained."""
    told = order(folder, task, "coordinated_lr", **more)
    Path(told.outputs).mkdir(parents=True, exist_ok=True)
    (Path(told.outputs) / "output_model.json").write_text('{"data": 1}')
    write_lineage(told, LR)
    found = read_lineage(Path(told.outputs))
    assert found is not None
    return found


def test_a_models_lineage_says_everything(tmp_path: Path) -> None:
    place, digest = rows(tmp_path / "psi_0" / "guest", "output_data", [1.0, 2.0])
    found = trained(
        tmp_path,
        inputs={"train_data": (place,)},
        producers={"train_data": ("psi_0",)},
        parameters={"epochs": 3},
    )
    assert (found.job, found.task, found.component, found.stage) == ("j1", "lr_0", "coordinated_lr", "train")
    assert found.parties == {"guest": ("10000",), "host": ("9999",), "arbiter": ("1",)}
    assert [(one.task, one.sha256) for one in found.data["train_data"]] == [("psi_0", digest)]
    assert found.parameters == digest_of(LR.params.model_validate({"epochs": 3}).model_dump(mode="json"))
    assert found.contract == "ab" * 32
    assert found.algorithms["coordinated_lr"] == LR.algorithms[1].version
    made = found.made["output_model"]
    assert (made.schema_version, made.sha256) == (LR.model_schema, hashlib.sha256(b'{"data": 1}').hexdigest())


def test_equal_work_has_an_equal_lineage_and_other_data_another(tmp_path: Path) -> None:
    one, other = (rows(tmp_path / name, "t", x) for name, x in (("a", [1.0]), ("b", [2.0])))
    digests = [trained(tmp_path / str(i), inputs={"train_data": (place,)}).digest
               for i, (place, _) in enumerate((one, one, other))]  # fmt: skip
    digests.append(trained(tmp_path / "p", inputs={"train_data": (one[0],)}, parameters={"epochs": 4}).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_uploads_are_followed_through_all_tasks(tmp_path: Path) -> None:
    first, digest = rows(tmp_path, "up", [1.0, 2.0, 3.0])
    named = Path(first).rename(tmp_path / digest)  # as our own tables lie
    read = order(tmp_path, "reader_0", "reader", tables={"n/t": str(named)}, parameters={"namespace": "n", "name": "t"})
    Table.load(named).save(Path(read.outputs) / "output_data")
    write_lineage(read, COMPONENTS["reader"])
    aligned, _ = rows(tmp_path / "psi_0" / "guest", "output_data", [2.0])
    inputs = {"input_data": (f"{read.outputs}/output_data",)}
    write_lineage(order(tmp_path, "psi_0", "psi", inputs=inputs), COMPONENTS["psi"])
    bare, bare_digest = rows(tmp_path / "elsewhere", "t", [9.0])
    found = trained(tmp_path, inputs={"train_data": (aligned,), "validate_data": (bare,)})
    assert found.uploads == tuple(sorted((digest, bare_digest)))
    psi = read_lineage(tmp_path / "psi_0" / "guest")
    assert psi is not None
    assert (psi.uploads, psi.made, psi.data) == ((digest,), {}, {})


def test_an_earlier_model_and_its_training_are_known(tmp_path: Path) -> None:
    first = trained(tmp_path)
    path = tmp_path / "lr_0" / "guest" / "output_model"
    second = trained(
        tmp_path, "lr_1", inputs={"warm_start_model": (str(path),)}, producers={"warm_start_model": ("lr_0",)}
    )
    assert [one.model_dump() for one in second.models["warm_start_model"]] == [
        {"task": "lr_0", "sha256": first.made["output_model"].sha256}
    ]
    told = order(tmp_path, "lr_1", "coordinated_lr", inputs={"warm_start_model": (str(path),)})
    training = trainings_of(told, LR)["warm_start_model"]
    assert training.mark == f"j1/lr_0/{'ab' * 32}"
    assert sorted(training.parties) == ["1/arbiter", "10000/guest", "9999/host"]
    registered = tmp_path / "registry" / "output_model.json"
    registered.parent.mkdir()
    registered.write_text("{}")
    (registered.parent / "entry.json").write_text(json.dumps({LINEAGE: first.model_dump(mode="json")}))
    assert lineage_of_model(registered.with_suffix("")) == first
    (registered.parent / "entry.json").write_text(json.dumps({"job_id": "of an earlier partyd"}))
    assert lineage_of_model(registered.with_suffix("")) is None
    (registered.parent / "entry.json").write_text("[1]")
    with pytest.raises(DataError, match="import the model again"):
        lineage_of_model(registered.with_suffix(""))


def test_models_in_folders_and_several_tables_have_digests(tmp_path: Path) -> None:
    told = order(tmp_path, "lr_0", "coordinated_lr")
    (Path(told.outputs) / "output_model").mkdir(parents=True)
    digests = set()
    for content in (b"1", b"2"):
        (Path(told.outputs) / "output_model" / "a.bin").write_bytes(content)
        write_lineage(told, LR)
        found = read_lineage(Path(told.outputs))
        assert found is not None
        digests.add(found.made["output_model"].sha256)
    assert len(digests) == 2
    both = tmp_path / "two"
    for i in range(2):
        rows(both, str(i), [float(i)])
    assert digest_of_tables(both) != digest_of_tables(both / "0")


@pytest.mark.parametrize("content", [b"[]", b'{"job": 1}', b"\xff", b" " * ((1 << 20) + 1)])
def test_a_lineage_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    assert read_lineage(tmp_path) is None
    (tmp_path / "lineage.json").write_bytes(content)
    with pytest.raises(DataError, match="run the job again"):
        read_lineage(tmp_path)


def test_a_worker_writes_it_when_the_task_has_succeeded(tmp_path: Path) -> None:
    place, digest = rows(tmp_path, "up", [1.0])

    async def answer(name: str, _values: list[Any]) -> Any:
        return [b"s" * 32, None] if name == "begin" else None

    told = order(
        tmp_path, "reader_0", "reader", tables={"n/t": place}, parameters={"namespace": "n", "name": "t"}, parties=(G,)
    )
    assert asyncio.run(converse(told, answer)).verdict == "done"
    found = read_lineage(Path(told.outputs))
    assert found is not None
    assert (found.uploads, found.parties) == ((digest,), {"guest": ("10000",)})
