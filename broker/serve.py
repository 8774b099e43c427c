"""Run the broker in the foreground: mosquitto as a supervised child, or the embedded one in this process.

Either way the process logs ``broker_listening`` once it listens, writes the port to ``--ready-fd`` and tells systemd,
ends cleanly on SIGTERM and SIGINT, and leaves nothing behind: mosquitto is told to end when its supervisor dies.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from broker import log, mosquitto
from broker.errors import SettingsError, StartError
from broker.settings import Identity, Settings

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ASK_AGAIN_S = 1.0
_STOP_TIMEOUT_S = 10.0
_SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


@dataclass(frozen=True)
class Service:
    """What to run, and whom to tell that it listens."""

    settings: Settings
    directory: Path
    ready_fd: int | None = None

    def announce(self, program: str, port: int) -> None:
        """Say once that the broker listens: to the log, to the waiting parent, to systemd."""
        listen = self.settings.listen
        log.info("broker_listening", program=program, host=listen.host, port=port, tls=listen.tls)
        if self.ready_fd is not None:
            _tell(self.ready_fd, port)
        if address := os.environ.get("NOTIFY_SOCKET"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.sendto(b"READY=1", address.replace("@", "\0", 1) if address.startswith("@") else address)


def _tell(ready_fd: int, port: int) -> None:
    try:
        with os.fdopen(ready_fd, "w") as ready:
            ready.write(f"{port}\n")
    except OSError as error:
        mend = "Name a descriptor that is open for writing and inherited (subprocess: pass_fds)."
        raise SettingsError(f"--ready-fd cannot be written: {error}", where=str(ready_fd), mend=mend) from error


def run(service: Service, *, embedded: bool) -> int:
    """Serve until a signal or the broker's own end; returns the exit code."""
    program = None if embedded else shutil.which(service.settings.mosquitto, path=_SYSTEM_PATH)
    if program is None:
        return asyncio.run(_run_embedded(service))
    return asyncio.run(_run_mosquitto(service, program))


async def _run_embedded(service: Service) -> int:
    from broker.embedded import EmbeddedConfig, TlsFiles, embedded_broker
    from broker.passwords import read_password_file

    settings, files = service.settings, service.settings.files
    directory = service.directory
    passwords = settings.identity is Identity.PASSWORDS
    config = EmbeddedConfig(
        host=settings.listen.host,
        port=settings.listen.port,
        users=read_password_file(directory / files.passwords) if passwords else None,
        tls=TlsFiles(*(directory / name for name in (files.ca, files.certificate, files.key, files.revoked)))
        if settings.listen.tls
        else None,
        limits=settings.limits,
    )
    stopped = asyncio.Event()
    for number in _STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with embedded_broker(config) as running:
        service.announce("embedded", running.port)
        await stopped.wait()
    log.info("broker_stopped")
    return 0


async def _run_mosquitto(service: Service, program: str) -> int:
    settings = service.settings
    port = settings.listen.port or _free_port(settings.listen.host)
    settings = settings.model_copy(update={"listen": settings.listen.model_copy(update={"port": port})})
    configuration = _configuration(settings, service.directory)
    child = await asyncio.create_subprocess_exec(
        *_ending_with_us(),
        program,
        *("-c", f"/dev/fd/{configuration}"),
        stderr=asyncio.subprocess.PIPE,
        pass_fds=[configuration],
    )
    os.close(configuration)
    told_to_end = _forward_signals(child)
    assert child.stderr is not None
    await _pass_log(child.stderr, service, port)
    code = await child.wait()
    if code != 0 and not told_to_end.is_set():
        raise StartError(f"mosquitto ended with {code}", where=program, mend="Its own lines above say why.")
    log.info("broker_stopped")
    return 0


def _configuration(settings: Settings, directory: Path) -> int:
    """Write mosquitto.conf into memory, for the child to inherit: no file stays behind when we are killed."""
    user = None
    if os.geteuid() == 0:  # mosquitto as root becomes the user whose files it must read
        try:
            user = pwd.getpwuid(directory.stat().st_uid).pw_name
        except KeyError:
            mend = "Give the directory to a user of this machine (chown)."
            raise SettingsError("its owner is unknown here", where=str(directory), mend=mend) from None
    configuration = os.memfd_create("mosquitto.conf")
    os.write(configuration, mosquitto.render(settings, directory, user=user).encode())
    return configuration


def _ending_with_us() -> list[str]:
    """Have the kernel end the child when this process is killed, so that its port is free for the next start."""
    setpriv = shutil.which("setpriv", path=_SYSTEM_PATH)
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _forward_signals(child: asyncio.subprocess.Process) -> asyncio.Event:
    """Pass our signals on; the returned event is set once the child was told to end."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def send(number: signal.Signals) -> None:
        if child.returncode is None:
            child.send_signal(number)

    def stop() -> None:
        told.set()
        send(signal.SIGTERM)
        loop.call_later(_ASK_AGAIN_S, send, signal.SIGTERM)  # mosquitto 2.0 misses one in the moment that it starts
        loop.call_later(_STOP_TIMEOUT_S, send, signal.SIGKILL)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, send, signal.SIGHUP)
    return told


async def _pass_log(lines: asyncio.StreamReader, service: Service, port: int) -> None:
    announced = False
    async for line in lines:
        sys.stderr.write(line.decode(errors="replace"))
        sys.stderr.flush()
        if not announced and line.rstrip().endswith(b" running"):
            announced = True
            service.announce("mosquitto", port)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])
