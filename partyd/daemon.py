"""The composition root: the only place where everything meets.

A daemon is one process, one HTTP port and one connection to the broker, with one `Node` for each of its addresses. It
is ready when its stores are recovered, its keys loaded and its port open; whether the broker answers is another
question, which ``/readyz`` answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import time
from pathlib import Path

import structlog
from aiohttp import web

from partyd import log as logs
from partyd.api.app import make_app
from partyd.api.site import Pulse, Site
from partyd.config import Settings
from partyd.errors import ConfigError, PartydError, StoreCorrupt
from partyd.housekeeping import DriftWatch, Housekeeper, clear_leftovers
from partyd.jobs.slots import SlotDesk, own_cores
from partyd.jobs.workers import Workers
from partyd.layout import Layout, make_private_dir
from partyd.node import Node, check_addresses
from partyd.notify import Notifier
from partyd.pidfile import held
from partyd.tables.local import LocalJobs
from partyd.transport.base import Transport, TransportSecurity, open_transport
from partyd.types import Address

log = structlog.get_logger()

EXIT_CONFIG = 78
SHUTDOWN_S = 3.0
"""How long a stop waits for requests under way: some wait for a job, some follow a log."""
PULSE_S = 1.0


def run(settings: Settings) -> int:
    """Run the daemon until it is told to stop; return its exit status."""
    logs.configure(settings.log.level, settings.log.format)
    try:
        check_addresses(settings)
        make_private_dir(settings.state_dir)
        with held(Layout(settings.state_dir).pid_file):
            asyncio.run(Daemon(settings).serve())
    except (ConfigError, StoreCorrupt) as error:
        log.error("cannot_start", error=str(error))
        return EXIT_CONFIG
    except PartydError as error:
        log.error("stopped", error=str(error))
        return 1
    return 0


class Daemon:
    """Everything that runs in the process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layout = Layout(settings.state_dir)
        self.workers = Workers()
        self.slots = SlotDesk.of(own_cores(settings.jobs.cores))
        self.pulse = Pulse()
        self.nodes: dict[Address, Node] = {}
        self.transport = self._transport()
        self._stop = asyncio.Event()

    async def serve(self) -> None:
        """Start, say that it is ready, and serve until SIGTERM or SIGINT."""
        clear_leftovers(self.layout)
        for address in self.settings.addresses:
            self.nodes[address] = await Node.open(
                address, self.settings, self.transport, self.workers, slots=self.slots
            )
        self._tell_transport()
        local = await self._local_jobs()
        site = Site(self.settings, self.layout, self.nodes, self.workers, self.pulse, local)
        notifier = Notifier.from_environment(os.environ)
        runner = web.AppRunner(make_app(site), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            port = await self._listen(runner)
            async with asyncio.TaskGroup() as group:
                self._watch_signals(group)
                background = [
                    group.create_task(self.transport.run(self._frame, self._state, self._presence)),
                    group.create_task(self.workers.start()),
                    group.create_task(self._beat()),
                    group.create_task(notifier.feed_watchdog(self._is_well)),
                ]
                background += [group.create_task(node.run()) for node in self.nodes.values()]
                background.append(group.create_task(Housekeeper(self.settings, self.nodes).run()))
                background.append(group.create_task(local.run()))
                addresses = [str(address) for address in self.nodes]
                log.info("ready", addresses=addresses, http=f"http://{self.settings.http.host}:{port}", pid=os.getpid())
                notifier.ready(f"serving {', '.join(addresses)}")
                await self._stop.wait()
                notifier.stopping()
                log.info("stopping")
                for task in background:
                    task.cancel()
        finally:
            await runner.cleanup()
            await self.workers.stop()
            for node in self.nodes.values():
                await node.close()
        log.info("stopped")

    async def _local_jobs(self) -> LocalJobs:
        """Return what moves tables without a peer, after ending what the last life left half done."""
        catalogs = {address: node.catalog for address, node in self.nodes.items()}
        stores = {address: node.store for address, node in self.nodes.items()}
        local = LocalJobs(catalogs, stores, self.settings.data.jobs_at_once)
        await local.recover()
        return local

    async def _listen(self, runner: web.AppRunner) -> int:
        http = self.settings.http
        site = web.TCPSite(runner, http.host, http.port, ssl_context=_tls(http.tls_cert, http.tls_key))
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"http.port: {http.host}:{http.port} cannot be used ({error.strerror}); "
                "stop what listens there or choose another with --set http.port=N"
            ) from error
        port = int(runner.addresses[0][1])
        self.pulse.port = port
        return port

    def _watch_signals(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: group.create_task(self._reload()))

    async def _reload(self) -> None:
        """Read keys, cards and peers again."""
        for node in self.nodes.values():
            try:
                await node.cards.refresh()
            except (PartydError, OSError) as error:
                log.error("cards_not_refreshed", me=str(node.address), error=str(error))
        self._tell_transport()
        log.info("cards_refreshed")

    def _transport(self) -> Transport:
        broker = self.settings.broker
        password = None
        if broker.password_file is not None:
            try:
                password = broker.password_file.read_text().strip()
            except OSError as error:
                raise ConfigError(f"broker.password_file: {broker.password_file}: {error.strerror}") from error
        security = TransportSecurity(broker.ca_file, broker.cert_file, broker.key_file, broker.username, password)
        return open_transport(broker.url, self.settings.addresses, security)

    def _tell_transport(self) -> None:
        """Say to which peers our presence is told."""
        self.transport.set_peers(sorted({peer for node in self.nodes.values() for peer in node.peers}, key=str))

    def _frame(self, source: Address, destination: Address, frame: bytes) -> None:
        node = self.nodes.get(destination)
        if node is not None:
            node.office.frame_arrived(source, frame)

    def _state(self, connected: bool) -> None:
        self.pulse.is_connected = connected
        self.pulse.connection_changed_at = time.monotonic()
        log.info("broker_connected" if connected else "broker_lost", url=self.settings.broker.url)
        for node in self.nodes.values():
            node.office.transport_changed(connected)

    def _presence(self, peer: Address, present: bool) -> None:
        if present:
            for node in self.nodes.values():
                node.office.peer_appeared(peer)

    async def _beat(self) -> None:
        """Measure the loop's lag once a second; everything that asks whether the daemon lives looks at this."""
        drift = DriftWatch()
        while True:
            before = time.monotonic()
            await asyncio.sleep(PULSE_S)
            self.pulse.beat(time.monotonic() - before - PULSE_S)
            if drift.has_jumped(time.time(), time.monotonic()):
                log.warning("clock_jumped", what="every session begins anew: the machine was suspended or set back")
                for node in self.nodes.values():
                    node.office.drop_keys()

    async def _is_well(self) -> bool:
        """Return whether the loop turns and every store's writer answers."""
        with contextlib.suppress(PartydError, TimeoutError):
            async with asyncio.timeout(5):
                for node in self.nodes.values():
                    await node.store.ping()
                return self.pulse.lag_s < 5
        return False


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(cert, key)
    return context
