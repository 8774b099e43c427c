"""Kill guest, host, arbiter, worker and broker at random moments of a real vertical training, again and again.

    python -m tests.campaigns.kill --kills 25 [--only broker] [--broker embedded|mosquitto] [--seed 1] [--results FILE]

Each run submits the demo's job (reader, psi, feature_scale, coordinated_lr, evaluation) to a standalone federation and,
at a random moment, kills one process with SIGKILL. The federation starts daemons and broker again as systemd would; the
broker keeps no state, so its restart is a restart with its state wiped. A run is good when the job ends in success at
every party within 120 s and the guest's and the host's model equal, byte for byte, those of the undisturbed run. Prints
`N kills: 0 lost, 0 duplicated, 0 stuck, 0 different` and ends with 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.e2e.federation import Federation, running
from tests.e2e.vertical import dag, tables

VICTIMS = ("guest", "host", "arbiter", "worker", "broker")
STUCK_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """How one run went."""

    run: int
    victim: str
    after_s: float
    took_s: float
    verdict: str


def model_digest(federation: Federation, job: str) -> str:
    """Return a digest of both halves of the model, byte for byte as the parties wrote them.

    Left out is which batches were drawn: that differs from job to job, also where the model does not depend on it.
    """
    digest = hashlib.sha256()
    for at in (0, 1):
        document = federation.get("/v2/output/model/query", at=at, job_id=job, task_name="lr_0")["output_model"]
        document["data"]["estimator"].pop("batches")
        digest.update(json.dumps(document, sort_keys=True).encode())
    return digest.hexdigest()


def disturbed(
    federation: Federation, run: int, chance: random.Random, victims: tuple[str, ...], span_s: float, expected: str
) -> Outcome:
    """Run one job and kill one process in the middle of it."""
    victim, after_s, pick = chance.choice(victims), chance.uniform(0.0, span_s), chance.randrange(8)
    known = {view["job_id"] for view in federation.get("/v2/job/list/query", limit=1000)["data"]}
    started = time.monotonic()
    job = federation.submit(dag())
    killer = threading.Timer(after_s, lambda: federation.kill(victim, pick))
    killer.start()
    verdict = "good"
    try:
        for at in (0, 1, 3):
            view = federation.wait(job, STUCK_S, at=at)
            if view["status"] != "success":
                verdict = f"lost: {view['status']} {view['reason']}"
    except TimeoutError:
        verdict = "stuck"
    killer.join()
    took_s = time.monotonic() - started
    federation.wait_until_met(STUCK_S)
    if verdict == "good" and model_digest(federation, job) != expected:
        verdict = "different"
    seen = {view["job_id"] for view in federation.get("/v2/job/list/query", limit=1000)["data"]}
    if seen - known != {job}:
        verdict = "duplicated"
    return Outcome(run, victim, round(after_s, 2), round(took_s, 2), verdict)


def campaign(kills: int, seed: int, broker: str, victims: tuple[str, ...], results: Path | None) -> list[Outcome]:
    """Run the whole campaign and return every outcome."""
    chance = random.Random(seed)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "federation", broker) as federation:
        guest, host = tables()
        federation.upload(0, guest, "demo", "guest")
        federation.upload(1, host, "demo", "host")
        job = federation.submit(dag())
        view: Any = federation.wait(job, STUCK_S)
        assert view["status"] == "success", view
        expected, span_s = model_digest(federation, job), view["elapsed"] / 1000
        print(f"undisturbed: {span_s:.1f} s, model {expected[:16]}", flush=True)
        for run in range(kills):
            outcome = disturbed(federation, run, chance, victims, span_s, expected)
            outcomes.append(outcome)
            print(
                f"{run + 1}/{kills} killed {outcome.victim} after {outcome.after_s} s: "
                f"{outcome.verdict}, {outcome.took_s} s",
                flush=True,
            )
            if results is not None:
                with results.open("a") as stream:
                    stream.write(json.dumps(asdict(outcome) | {"seed": seed, "broker": broker}) + "\n")
    return outcomes


def summary(outcomes: list[Outcome]) -> str:
    """Return the campaign's one line."""
    counts = {
        name: sum(o.verdict.startswith(name) for o in outcomes) for name in ("lost", "duplicated", "stuck", "different")
    }
    return f"{len(outcomes)} kills: " + ", ".join(f"{count} {name}" for name, count in counts.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", choices=["auto", "embedded", "mosquitto"], default="auto")
    parser.add_argument("--only", choices=VICTIMS, action="append")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    victims = tuple(options.only or VICTIMS)
    outcomes = campaign(options.kills, options.seed, options.broker, victims, options.results)
    print(summary(outcomes))
    return 0 if all(outcome.verdict == "good" for outcome in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
