"""See what the broker sees: record every byte between daemons and broker during the whole demo job; search it.

    python -m tests.campaigns.capture [--epochs 6] [--broker embedded|mosquitto] [--keep FILE]

The tables carry unique 64-bit tokens as ids, column names, table names and namespace, and values that occur nowhere
else. The recording is searched for all of them, for the labels, for parameters and their values, and for the names of
tasks, components and message classes and the job: as they are, in hexadecimal, in base64 at every alignment, floats as
text and as float64 and float32; ids also by their hashes. Prints `0 hits of N needles in M MiB` and ends with 1 for any
hit, or if the control needle, the party's id in the topic, is not found.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import io
import secrets
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partyd.components import COMPONENTS
from partyd.jobs.control import KINDS
from tests.campaigns.needles import Needles, digests
from tests.e2e.federation import Federation, running
from tests.e2e.vertical import dag, tables

CONTROL = b"10000"
ADDRESS_WORDS = {"10000", "9999", "9998", "guest", "host", "arbiter"}
"""A mailbox is named after a party and its role: that much the broker must know."""
SEPARATOR = bytes(64)
MIB = 1 << 20
LABEL_RUN = 48
"""So many labels in a row are recognisable."""


@dataclass
class Proxy:
    """Passes TCP connections on to the broker and keeps what went through: a stream for each direction."""

    directory: Path
    port: int = 0
    streams: list[bytearray] = field(default_factory=list)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while inside, in a thread."""
        loop, ready, tasks = asyncio.new_event_loop(), threading.Event(), []

        async def serve() -> None:
            server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            tasks.append(asyncio.current_task())
            ready.set()
            async with server:
                with contextlib.suppress(asyncio.CancelledError):
                    await server.serve_forever()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run)
        thread.start()
        ready.wait()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(tasks[0].cancel)
            thread.join()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_port = int((self.directory / "broker.port").read_text())
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", broker_port)
        except OSError:
            writer.close()
            return
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = bytearray()
        self.streams.append(stream)
        with contextlib.suppress(OSError):
            while data := await reader.read(MIB):
                stream += data
                writer.write(data)
                await writer.drain()
        writer.close()


@dataclass
class Party:
    """What one party brings, all of it recognisable."""

    ids: list[str]
    names: list[str]
    label: str | None
    labels: list[str]
    values: NDArray[np.float64]

    @classmethod
    def disguised(cls, text: str, tokens: dict[str, str], chance: np.random.Generator) -> Party:
        """Make the demo's table recognisable: other ids and names, and values that occur nowhere else."""
        head, *rows = csv.reader(io.StringIO(text))
        has_label = "y" in head
        first = 2 if has_label else 1
        values = np.array([[float(cell) for cell in row[first:]] for row in rows])
        return cls(
            ids=[tokens.setdefault(row[0], token()) for row in rows],
            names=[token() for _ in head[first:]],
            label=token() if has_label else None,
            labels=[row[1] for row in rows] if has_label else [],
            values=(values + 1e-3) * (1 + 1e-6 * chance.random(values.shape)),
        )

    def csv(self) -> str:
        """Return the table as it is uploaded."""
        lines = [",".join(["id", *([self.label] if self.label else []), *self.names])]
        for place, (id_, row) in enumerate(zip(self.ids, self.values, strict=True)):
            label = [self.labels[place]] if self.label else []
            lines.append(",".join([id_, *label, *(repr(float(value)) for value in row)]))
        return "\n".join(lines) + "\n"

    def tell(self, needles: Needles) -> None:
        """Add everything of this party to what must not be found."""
        needles.add_texts("id", self.ids)
        for id_ in self.ids:
            needles.add("hash of an id", *digests(id_.encode()))
        needles.add_texts("column name", [*self.names, *([self.label] if self.label else [])])
        needles.add_texts("value as text", (repr(float(value)) for value in self.values.ravel()))
        for kind in ("<f8", ">f8"):
            needles.add(f"value as {kind}", *_runs(self.values.ravel(), kind, 1))
        for kind in ("<f4", ">f4"):  # four bytes alone would be found by chance: neighbours in a row or in a column
            needles.add(
                f"values as {kind}", *_runs(self.values.ravel(), kind, 2), *_runs(self.values.T.ravel(), kind, 2)
            )
        labels = np.array([float(label) for label in self.labels])
        for kind in ("<f8", "<f4", "<i8", "<i4", "i1"):
            needles.add("labels", *_runs(labels, kind, LABEL_RUN))
        needles.add_texts("labels", (",".join(self.labels[at : at + 40]) for at in range(len(self.labels) - 40)))


def _runs(values: NDArray[np.float64], kind: str, length: int) -> Iterator[bytes]:
    packed = values.astype(kind)
    for at in range(len(packed) - length + 1):
        yield packed[at : at + length].tobytes()


def token() -> str:
    """Return 64 random bits as a name."""
    return "c" + secrets.token_hex(8)


def job_of(namespace: str, names: dict[str, str], epochs: int) -> dict[str, Any]:
    """Return the demo's DAG, with recognisable names and numbers."""
    document = dag(epochs)
    for group in document["party_tasks"].values():
        for task in group["tasks"].values():
            task["parameters"] |= {"namespace": namespace, "name": names[task["parameters"]["name"]]}
    document["tasks"]["lr_0"]["parameters"]["optimizer"] |= {"alpha": 0.00123456789012345}
    document["tasks"]["lr_0"]["parameters"]["optimizer"]["optimizer_params"] = {"lr": 0.4976543210987654}
    return document


def words_of(document: object) -> Iterator[str]:
    """Yield every key and every text of a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            yield from words_of(value)
    elif isinstance(document, list):
        for value in document:
            yield from words_of(value)
    elif isinstance(document, str):
        yield document


def tell_job(needles: Needles, document: dict[str, Any], job: str) -> None:
    """Add the job, its parameters and the names of everything that it runs."""
    needles.add_texts("job id", [job])
    needles.add_texts("word of the DAG", set(words_of(document)) - ADDRESS_WORDS)
    for number in (0.00123456789012345, 0.4976543210987654):
        needles.add("parameter", repr(number).encode(), np.float64(number).tobytes())
    needles.add_texts("control message", KINDS)
    for component in COMPONENTS.values():
        needles.add_texts("component", [component.name])
        needles.add_texts("parameter name", component.params.model_fields)
        for algorithm in component.algorithms:
            needles.add_texts("message class", [message.__name__ for message in algorithm.messages])


def run_job(federation: Federation, epochs: int, needles: Needles) -> None:
    """Run the disguised job and add everything about it to ``needles``."""
    chance, tokens = np.random.default_rng(11), dict[str, str]()
    namespace, names = token(), {"guest": token(), "host": token()}
    for at, (name, text) in enumerate(zip(names, tables(), strict=True)):
        party = Party.disguised(text, tokens, chance)
        label = {"label": party.label} if party.label else {}
        federation.upload(at, party.csv(), namespace, names[name], **label)
        party.tell(needles)
    needles.add_texts("table", [namespace, *names.values()])
    document = job_of(namespace, names, epochs)
    job = federation.submit(document)
    view = federation.wait(job)
    assert view["status"] == "success", view
    tell_job(needles, document, job)


def campaign(epochs: int, broker: str, keep: Path | None = None) -> tuple[int, int, int]:
    """Run it all; return hits, needles and bytes. Prints each hit."""
    needles = Needles()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "federation"
        proxy = Proxy(directory)
        with proxy.listening(), running(directory, broker, proxy.port) as federation:
            run_job(federation, epochs, needles)
    size = sum(map(len, proxy.streams))
    if keep is not None:
        keep.write_bytes(b"".join(proxy.streams))
    assert any(CONTROL in stream for stream in proxy.streams), "the capture does not even hold the topics"
    hits = needles.find(SEPARATOR.join(proxy.streams))
    for what, needle, place in hits[:20]:
        print(f"found {what} as {needle[:80]!r} at byte {place}")
    print(f"{len(hits)} hits of {len(needles.known)} needles in {size / MIB:.1f} MiB")
    print(f"control: {CONTROL!r} found; {needles.too_short} encodings were too short to search for")
    return len(hits), len(needles.known), size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--broker", choices=["auto", "embedded", "mosquitto"], default="auto")
    parser.add_argument("--keep", type=Path, help="write the capture to a file")
    options = parser.parse_args()
    hits, _, _ = campaign(options.epochs, options.broker, options.keep)
    return 1 if hits else 0


if __name__ == "__main__":
    raise SystemExit(main())
