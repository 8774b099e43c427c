"""What a standalone federation is made of, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

from partyd.cli.standalone import StandaloneOptions
from partyd.standalone import first_step, plan


def test_the_first_step_names_the_parties_that_run(tmp_path: Path) -> None:
    options = StandaloneOptions(directory=tmp_path, guest="9999", hosts=("9998", "10000"), arbiter="10000", port=9380)
    assert first_step(plan(options)) == "flow test toy -gid 9999 -hid 9998"
