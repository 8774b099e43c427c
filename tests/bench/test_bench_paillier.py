"""The benchmark of Paillier runs and prints every row; what it prints is nobody's business here."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.bench.bench_paillier import QUICK, main, present
from tests.bench.interleaved import Cell
from tests.bench.paillier_ours import ONE
from tests.bench.paillier_peers import OTHERS
from tests.bench.paillier_report import Results, rows, targets, targets_table

INSECURE = ["--quick", "--insecure-for-tests", "--bits", "512"]


def test_the_quick_run_prints_every_row_and_every_obfuscation(capsys: pytest.CaptureFixture[str]) -> None:
    main(INSECURE)
    printed = capsys.readouterr().out
    lines = {line.split("|")[1].strip(): line for line in printed.splitlines() if line.startswith("| ")}
    for row in rows(dataclasses.replace(QUICK, bits=512)):
        assert re.search(r"\d", lines[row.label].split("|")[7]), row.label
    for words in ("djn448: h^a, a of 448 bits (default)", "djn_half: h^a, a of 256 bits", "djn256:", "full: u^n"):
        assert words in printed
    assert re.search(r"machine: \d+ cores .*load .*Python 3.*gmpy2 ", printed)


def test_a_missing_library_is_named_with_the_way_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    absent = dataclasses.replace(OTHERS[0], package="no-such-distribution")
    assert list(present([absent], 2048)) == []
    assert "fate_utils is not installed" in (printed := capsys.readouterr().out)
    assert "pip install fate-utils" in printed


def test_short_keys_are_refused_unless_named_insecure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--quick", "--bits", "512"])
    assert "insecure" in capsys.readouterr().err


def test_a_target_is_met_missed_or_not_measured() -> None:
    target = targets()[0]
    ours, theirs = Cell(target.cell, ONE, 100, lambda: None), Cell(target.other, target.than, 1, lambda: None)
    ours.seconds, theirs.seconds = [3.0, 1.0], [1.0, 2.0]
    assert list(targets_table(Results([ours, theirs])))[2].endswith("| 100x | met |")
    ours.seconds = [10.0]
    assert list(targets_table(Results([ours, theirs])))[2].endswith("| 10x | **missed** |")
    assert list(targets_table(Results([])))[2].endswith("|  | not measured |")
