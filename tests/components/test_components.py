"""Every component run as a task of all its parties, on files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from partyd.components import COMPONENTS
from partyd.components.simulate import Seat, Tables, simulate_task
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.federation.simulate import Faults
from partyd.types import Address
from tests.components.tables import G, H, document, saved, table, task


def test_names_lead_to_components_of_that_name() -> None:
    for name, component in COMPONENTS.items():
        assert component.name == name
        ports = [port.name for port in (*component.inputs, *component.outputs)]
        assert len(set(ports)) == len(ports)
        if name != "reader":
            component.params()
        assert all(port.optional or not port.needed for port in component.inputs)


def test_toy_example_reports_its_sum(tmp_path: Path) -> None:
    done = task("toy_example", {G: Seat(), H: Seat()}, tmp_path)
    assert document(done, G) == {"secure_sum": 2000.0}


def test_reader_gives_out_the_named_table_without_copying(tmp_path: Path) -> None:
    uploaded = Table.load(saved(tmp_path, "uploaded", table(["a", "b"], {"x": [1, 2]}, [0, 1])))
    seats = {G: Seat({"namespace": "n", "name": "t"}, source=Tables({("n", "t"): uploaded}))}
    done = task("reader", seats, tmp_path)
    output = done.outputs[G] / "output_data"
    assert Table.load(output).digest() == uploaded.digest()
    assert (output / "features.npy").stat().st_ino == (tmp_path / "uploaded" / "features.npy").stat().st_ino


def test_reader_names_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        task("reader", {G: Seat({"namespace": "n", "name": "t"})}, tmp_path)
    assert caught.group_contains(DataError, match=r"n\.t")


def test_psi_aligns_rows_and_leaves_repeated_ids_out(tmp_path: Path) -> None:
    guest = saved(tmp_path, "g", table(["d", "b", "b", "a"], {"x": [4, 2, 9, 1]}, [1, 0, 1, 0]))
    host = saved(tmp_path, "h", table(["a", "c", "d", "b"], {"z": [10, 30, 40, 20]}))
    done = task("psi", {G: Seat(inputs={"input_data": guest}), H: Seat(inputs={"input_data": host})}, tmp_path)
    mine, theirs = (Table.load(done.outputs[p] / "output_data") for p in (G, H))
    assert mine.ids.tolist() == theirs.ids.tolist() == [b"a", b"b", b"d"]
    assert mine.features[:, 0].tolist() == [1, 2, 4]
    assert theirs.features[:, 0].tolist() == [10, 20, 40]
    assert document(done, G)["duplicate_count"] == 1
    assert document(done, H)["intersect_count"] == 3


@pytest.mark.parametrize("dies", [(G, n) for n in range(6)] + [(H, n) for n in range(6)])
def test_psi_gives_the_same_bytes_after_a_death_anywhere(tmp_path: Path, dies: tuple[Address, int]) -> None:
    ids = ["a", "b", "c", "d"]
    seats = {
        G: Seat(inputs={"input_data": saved(tmp_path, "g", table(ids, {"x": [1, 2, 3, 4]}))}),
        H: Seat(inputs={"input_data": saved(tmp_path, "h", table(ids[1:], {"z": [5, 6, 7]}))}),
    }
    clean = task("psi", seats, tmp_path / "clean")
    faults = Faults(duplicate=0.5, reorder=True, crash=dies)
    died = asyncio.run(simulate_task(COMPONENTS["psi"], seats, tmp_path / "died", faults=faults))
    for party in (G, H):
        for file in sorted((clean.outputs[party] / "output_data").iterdir()):
            assert (died.outputs[party] / "output_data" / file.name).read_bytes() == file.read_bytes()
        assert document(died, party) == document(clean, party)


@pytest.mark.parametrize(("guest_value", "host_value", "answer"), [(5, 7, "host is richer"), (7, 5, "guest is richer")])
def test_millionaires(tmp_path: Path, guest_value: float, host_value: float, answer: str) -> None:
    seats = {
        party: Seat(inputs={"input_data": saved(tmp_path, f"in{party.role.label}", table(["v"], {"value": [value]}))})
        for party, value in ((G, guest_value), (H, host_value))
    }
    done = task("millionaires", seats, tmp_path)
    assert document(done, G)["results"] == document(done, H)["results"] == [answer]


def test_millionaires_compares_all_64_bits_given_in_halves(tmp_path: Path) -> None:
    def rich(low: float) -> Table:
        return table(["v", "w"], {"value_hi": [2.0**32 - 1] * 2, "value_lo": [low, 7]})

    seats = {
        party: Seat({"namespace": "n", "name": "t"}, source=Tables({("n", "t"): rich(low)}))
        for party, low in ((G, 2.0**32 - 1), (H, 2.0**32 - 2))
    }
    done = task("millionaires", seats, tmp_path)
    assert document(done, H)["results"] == ["guest is richer", "equal"]
    assert Table.load(done.outputs[G] / "output_data").features[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize("value", [0.5, -1, 2.0**53 + 2, float("nan")])
def test_millionaires_refuses_what_is_not_exact(tmp_path: Path, value: float) -> None:
    inputs = {"input_data": saved(tmp_path, "in", table(["v"], {"value": [value]}))}
    with pytest.raises(ExceptionGroup) as caught:
        task("millionaires", {G: Seat(inputs=inputs), H: Seat(inputs=inputs)}, tmp_path)
    assert caught.group_contains(DataError, match="value_hi")


def test_data_split_cuts_both_sides_alike_and_keeps_the_labels_shares(tmp_path: Path) -> None:
    ids, label = [f"u{i:03d}" for i in range(100)], [1.0] * 30 + [0.0] * 70
    guest = saved(tmp_path, "g", table(ids, {"x": list(range(100))}, label))
    host = saved(tmp_path, "h", table(ids, {"z": list(range(100))}))
    params = {"train_size": 0.7, "test_size": 0.3, "stratified": True}
    seats = {p: Seat(params, {"input_data": i}) for p, i in ((G, guest), (H, host))}
    done = task("data_split", seats, tmp_path)
    train, test = (Table.load(done.outputs[G] / f"{part}_output_data") for part in ("train", "test"))
    theirs = Table.load(done.outputs[H] / "train_output_data")
    assert train.ids.tolist() == theirs.ids.tolist()
    assert (len(train), len(test), int(train.require_label().sum())) == (70, 30, 21)
    assert not set(train.ids.tolist()) & set(test.ids.tolist())
    assert not (done.outputs[G] / "validate_output_data").exists()
