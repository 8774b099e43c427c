"""The daemon's housekeeping, with a clock and a sleep of the test's, and stores that say what they were asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from partyd.config import Settings, StoreSettings
from partyd.errors import ConfigError, StoreFull
from partyd.housekeeping import GRACE_S, SETTLE_S, DriftWatch, Housekeeper, clear_leftovers
from partyd.layout import Layout
from partyd.types import GUEST, Address
from tests.nodes import BANK, TOY, town, until

US = Address("10000", GUEST)
HOUR = 3600.0


@dataclass
class FakeStore:
    """Notes what it is asked; fails where it is told to."""

    asked: list[str] = field(default_factory=list)
    low: bool = False
    has_reserve: bool = True
    broken: tuple[str, ...] = ()

    def _note(self, name: str) -> None:
        self.asked.append(name)
        if name in self.broken:
            raise StoreFull("no space")

    async def ping(self) -> float:
        self._note("ping")
        return 0.0

    async def collect_blobs(self, grace_s: float = 0.0) -> int:
        self._note(f"collect {grace_s:g}")
        return 2

    async def backup_to(self, directory: Path) -> object:
        self._note("backup")
        await asyncio.to_thread(_write_copy, directory)
        return None

    def renew_reserve(self) -> bool:
        self._note("reserve")
        return self.has_reserve

    def is_low(self) -> bool:
        return self.low

    def free_bytes(self) -> int:
        return 1 << 20


def _write_copy(directory: Path) -> None:
    directory.mkdir()
    (directory / "partyd.db").write_bytes(b"copy")


@dataclass
class FakeSupervisor:
    """Jobs that end when the test says so."""

    ended: int = 0
    stalled: list[float] = field(default_factory=list)
    change: asyncio.Event = field(default_factory=asyncio.Event)

    def end_stalled(self, timeout_s: float) -> None:
        self.stalled.append(timeout_s)

    def counts(self) -> dict[str, int]:
        return {"ended": self.ended}

    async def changed(self) -> None:
        await self.change.wait()
        self.change.clear()


@dataclass
class FakeCards:
    """Cards whose files may be damaged."""

    refreshed: int = 0
    error: Exception | None = None

    async def refresh(self) -> None:
        self.refreshed += 1
        if self.error is not None:
            raise self.error


@dataclass
class FakeNode:
    store: FakeStore = field(default_factory=FakeStore)
    supervisor: FakeSupervisor = field(default_factory=FakeSupervisor)
    cards: FakeCards = field(default_factory=FakeCards)
    orphans: int = 0

    def end_orphans(self) -> None:
        self.orphans += 1


@dataclass
class House:
    """One daemon's housekeeping and the time there."""

    keeper: Housekeeper
    node: FakeNode
    folder: Path
    now: float = 0.0

    async def after(self, hours: float) -> None:
        self.now += hours * HOUR
        await self.keeper.look()

    @property
    def backups(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []


def house(state: Path, **store: float) -> House:
    settings = Settings(party_id="10000", roles=(GUEST,), state_dir=state, store=StoreSettings.model_validate(store))
    node = FakeNode()
    made: list[House] = []
    keeper = Housekeeper(
        settings,
        {US: node},  # type: ignore[dict-item]
        clock=lambda: 1_800_000_000 + made[0].now if made else 0.0,
        monotonic=lambda: made[0].now if made else 0.0,
    )
    made.append(House(keeper, node, state / "backups"))
    return made[0]


def test_the_hourly_work_is_done_once_an_hour(tmp_path: Path) -> None:
    async def scenario() -> None:
        home = house(tmp_path, backup_every_h=0)
        for _ in range(59):
            await home.after(1 / 60)
        assert (home.node.store.asked, home.node.cards.refreshed) == ([], 0)
        await home.after(1 / 60)
        assert home.node.store.asked == ["reserve", "ping", f"collect {GRACE_S:g}"]
        assert home.node.cards.refreshed == 1
        assert home.node.supervisor.stalled == [86_400] * 60
        assert home.node.orphans == 60
        assert home.backups == []

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [ConfigError("a card is damaged"), PermissionError(13, "Permission denied")])
def test_what_fails_is_logged_and_the_rest_is_done(tmp_path: Path, error: Exception) -> None:
    async def scenario() -> None:
        home = house(tmp_path)
        home.node.cards.error = error
        home.node.store.has_reserve = False
        home.node.store.broken = ("ping", "backup")
        with capture_logs() as logs:
            await home.after(1)
        events = [entry["event"] for entry in logs]
        assert events == ["cards_not_refreshed", "reserve_missing", "blobs_not_collected", "backup_failed"]
        assert home.backups == []

    asyncio.run(scenario())


def test_the_newest_backups_are_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        home = house(tmp_path, backup_every_h=2, backups_kept=2)
        (home.folder / "by-hand").mkdir(parents=True)
        for _ in range(8):
            await home.after(1)
        assert home.backups == ["20270115T140000Z", "20270115T160000Z", "by-hand"]
        assert (home.folder / "20270115T160000Z" / "store" / "guest" / "partyd.db").read_bytes() == b"copy"
        assert home.folder.stat().st_mode & 0o077 == 0

    asyncio.run(scenario())


def test_low_space_is_told_once_and_no_backup_makes_it_lower(tmp_path: Path) -> None:
    async def scenario() -> None:
        home = house(tmp_path)
        with capture_logs() as logs:
            home.node.store.low = True
            for _ in range(3):
                await home.after(0.5)
            home.node.store.low = False
            await home.after(0.5)
            await home.after(0.5)
        events = [entry["event"] for entry in logs if entry["event"] != "blobs_collected"]
        assert events == ["disk_low", "backup_skipped", "disk_has_room", "backed_up"]

    asyncio.run(scenario())


def test_erased_checkpoints_are_collected_soon_after_a_job_has_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        home = house(tmp_path, backup_every_h=0)
        supervisor, slept = home.node.supervisor, asyncio.Queue[float]()

        async def sleep(seconds: float) -> None:
            slept.put_nowait(seconds)
            if seconds != SETTLE_S:
                await asyncio.get_running_loop().create_future()

        home.keeper.sleep = sleep
        running = asyncio.create_task(home.keeper.run())
        assert await slept.get() != SETTLE_S
        supervisor.change.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert home.node.store.asked == []
        supervisor.ended += 1
        supervisor.change.set()
        assert await slept.get() == SETTLE_S
        await until(lambda: home.node.store.asked == ["ping", f"collect {GRACE_S:g}"])
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(scenario())


def test_a_real_node_is_looked_after(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path / "town") as place:
            bank = place.nodes[BANK]
            keeper = Housekeeper(bank.settings, {BANK: bank})
            await bank.supervisor.submit(TOY)
            await keeper.look()
            await keeper.work(BANK, bank)
            await keeper.back_up()
            assert bank.supervisor.counts()["running"] + bank.supervisor.counts()["waiting"] == 1
            state = place.layout(BANK).state_dir
        (made,) = (state / "backups").iterdir()
        assert (made / "store" / "guest" / "manifest.json").is_file()

    asyncio.run(scenario())


def test_leftovers_of_an_earlier_life_are_deleted(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    clear_leftovers(layout)
    for name in ("uploads/a.csv", "backups/.20270115T140000Z/x", "backups/20270115T140000Z/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    clear_leftovers(layout)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["20270115T140000Z", "backups", "x"]


@pytest.mark.parametrize(
    ("beats", "jumped"),
    [
        ([(0, 0), (1, 1), (2, 2)], [False, False, False]),
        ([(0, 0), (5.9, 1), (11, 2)], [False, False, False]),
        ([(0, 0), (100, 1), (101, 2)], [False, True, False]),
        ([(100, 0), (50, 1), (51, 2)], [False, True, False]),
    ],
)
def test_a_jump_of_the_clocks_is_noticed_once(beats: list[tuple[float, float]], jumped: list[bool]) -> None:
    drift = DriftWatch()
    assert [drift.has_jumped(*beat) for beat in beats] == jumped
