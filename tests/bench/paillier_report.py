"""The two tables of ``bench_paillier``: operations a second, and what was wanted beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.bench.interleaved import Cell
from tests.bench.paillier_ours import ALL, ALONE, OBFUSCATIONS, ONE, SUM_BITS
from tests.bench.paillier_peers import FLOOR, Size

PHE, FATE, HEU = "phe + gmpy2", "fate_utils", "sf-heu"
OTHERS = (PHE, FATE, "pypaillier", HEU)
LEVEL = 0.9
"""What counts as level, and as fast as: timings of the same code differ by as much."""


@dataclass(frozen=True)
class Row:
    """A row of the first table: its words, partyd's cell, and the others' cell beside it."""

    label: str
    ours: str
    theirs: str


def rows(size: Size) -> list[Row]:
    """Return the rows in the order in which they are timed and printed."""
    listed = [Row("make a key (median)", "keygen", "keygen")]
    listed += [Row(f"encrypt, public key, {name}", f"encrypt {name}", "encrypt") for name in OBFUSCATIONS]
    listed += [Row(f"encrypt, private key, {name}", f"encrypt private {name}", "encrypt") for name in OBFUSCATIONS]
    listed += [
        Row("encrypt from the warm pool", "encrypt pool", "encrypt"),
        Row("re-randomise", "rerandomise", "encrypt"),
        Row("decrypt", "decrypt", "decrypt"),
        Row(f"decrypt sums of {SUM_BITS} bits, packed, per sum", "decrypt packed", "decrypt"),
        Row("pack such sums, per sum", "pack", ""),
        Row("add", "add", "add"),
        Row("sum of a vector, per number", "sum", "sum"),
    ]
    for bits in (20, 53):
        for sign in ("positive", "negative"):
            listed.append(Row(f"times {sign} numbers of {bits} bits", f"times {bits} {sign}", f"times {bits} {sign}"))
    for bits in (30, 20):
        for height in size.heights:
            cell, label = f"product {bits} {height}", f"`X.T @ c`, {height:,} rows, {bits} bits"
            listed.append(Row(f"{label}, {size.columns} columns, per cell", cell, cell))
            listed.append(Row(f"{label}, 1 column, per cell", f"{cell} alone", cell))
    label = f"`X.T @ c`, {max(size.heights):,} rows, floats as each encodes them"
    listed.append(Row(f"{label}, {size.columns} columns, per cell", "product floats", "product floats"))
    listed.append(Row(f"{label}, 1 column, per cell", "product floats alone", "product floats"))
    label = f"histogram, {size.histogram_rows:,} rows, {size.bins} bins, {size.features} features, per feature-row"
    return [*listed, Row(label, "histogram", "histogram")]


def in_order(cells: Iterable[Cell], listed: Sequence[Row]) -> list[Cell]:
    """Return the cells of the rows, each beside those that it is compared with."""
    places: dict[str, int] = {}
    for place, row in enumerate(listed):
        for name in (row.theirs, row.ours):
            places.setdefault(name, place)
    return sorted((cell for cell in cells if cell.row in places), key=lambda cell: places[cell.row])


class Results:
    """The rates, by cell and library."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._rates = {(cell.row, cell.who): cell.rate for cell in cells}
        self._free = {(cell.row, cell.who): cell.rate_on_free_cores for cell in cells}

    def rate(self, cell: str, who: str) -> float | None:
        """Return operations a second; None where that library has no such operation."""
        return self._rates.get((cell, who))

    def ratio(self, cell: str, who: str, other: str, than: str) -> float | None:
        """Return how many times as fast ``who`` does ``cell`` as ``than`` does ``other``."""
        mine, theirs = self.rate(cell, who), self.rate(other, than)
        return None if mine is None or theirs is None else mine / theirs

    def gain(self, cell: str) -> float | None:
        """Return how many times as fast all cores would be as one process, if nobody else wanted them."""
        everywhere, alone = self._free.get((cell, ALL)), self._free.get((cell, ALONE))
        return None if everywhere is None or alone is None else everywhere / alone


def rates_table(results: Results, listed: Sequence[Row], cores: int) -> Iterator[str]:
    """Yield the first table, in Markdown."""
    heads = [
        "operation",
        *OTHERS,
        FLOOR,
        "partyd",
        "x phe",
        "x best other",
        f"partyd, {cores} cores",
        "x one process",
        "by CPU time",
    ]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in listed:
        others = [results.rate(row.theirs, who) for who in OTHERS]
        best = max((rate for rate in others if rate is not None), default=None)
        mine, everywhere = results.rate(row.ours, ONE), results.rate(row.ours, ALL)
        words = [*(_rate(rate) for rate in (*others, results.rate(row.theirs, FLOOR), mine))]
        alone = results.rate(row.ours, ALONE)
        words += [_times(mine, others[0]), _times(mine, best), _rate(everywhere), _times(everywhere, alone)]
        words.append(_times(results.gain(row.ours), 1.0))
        yield f"| {row.label} | {' | '.join(words)} |"


def _rate(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _times(mine: float | None, other: float | None) -> str:
    return "" if mine is None or other is None else f"{mine / other:.3g}x"


@dataclass(frozen=True)
class Target:
    """A line of the second table: partyd's ``cell`` at least ``times`` as fast as ``than`` does ``other``."""

    label: str
    cell: str
    times: float
    than: str
    other: str
    who: str = ONE


def targets() -> list[Target]:
    """Return what the project set out to reach with keys of 2048 bits on one core."""
    public = "encrypt, public key"
    return [
        Target(f"{public}, 448 bits", "encrypt djn448", 25, PHE, "encrypt"),
        Target(f"{public}, 448 bits", "encrypt djn448", 25, FATE, "encrypt"),
        Target(f"{public}, 448 bits", "encrypt djn448", 2, HEU, "encrypt"),
        Target(f"{public}, n/2 bits", "encrypt djn_half", 14, PHE, "encrypt"),
        Target(f"{public}, n/2 bits", "encrypt djn_half", 14, FATE, "encrypt"),
        Target(f"{public}, n/2 bits", "encrypt djn_half", LEVEL, HEU, "encrypt"),
        Target("encrypt from the warm pool", "encrypt pool", 50, HEU, "encrypt"),
        Target("decrypt", "decrypt", LEVEL, PHE, "decrypt"),
        Target("decrypt, packed, per value", "decrypt packed", 10, PHE, "decrypt"),
        Target("`X.T @ c`, 30 bits, 4,096 rows, per cell", "product 30 4096", 20, HEU, "product 30 4096"),
        Target("`X.T @ c`, 30 bits, 4,096 rows, per cell", "product 30 4096", 8, FATE, "product 30 4096"),
        Target("the same, 1 column", "product 30 4096 alone", 20, HEU, "product 30 4096"),
        Target("the same, 1 column", "product 30 4096 alone", 8, FATE, "product 30 4096"),
        Target("`X.T @ c`, floats, 4,096 rows, per cell", "product floats", 8, FATE, "product floats"),
        Target("add", "add", LEVEL, FLOOR, "add"),
        Target("times a negative number of 20 bits", "times 20 negative", LEVEL, ONE, "times 20 positive"),
        Target("times a negative number of 53 bits", "times 53 negative", LEVEL, ONE, "times 53 positive"),
        Target("histogram, per feature-row", "histogram", 1.7, FLOOR, "histogram"),
        *(
            Target(f"all cores, {label}", cell, 1.7, ALONE, cell, ALL)
            for label, cell in (
                ("encrypt", "encrypt djn448"),
                ("re-randomise", "rerandomise"),
                ("decrypt", "decrypt"),
                ("`X.T @ c`", "product 30 4096"),
                ("histogram", "histogram"),
            )
        ),
    ]


def targets_table(results: Results) -> Iterator[str]:
    """Yield the second table, in Markdown; "level" and "as fast as" mean 0.9x."""
    yield "| operation | wanted | measured | |"
    yield "|---|---|---|---|"
    for target in targets():
        found = results.ratio(target.cell, target.who, target.other, target.than)
        than = target.than if target.cell == target.other or target.than != ONE else "a positive one"
        than = "one process" if target.who == ALL else than
        verdict = "not measured" if found is None else "met" if found >= target.times else "**missed**"
        measured = "" if found is None else f"{found:.3g}x"
        if target.who == ALL and (gain := results.gain(target.cell)) is not None:
            measured += f" ({gain:.3g}x by CPU time of the busiest process)"
        yield f"| {target.label} | {target.times:g}x {than} | {measured} | {verdict} |"
