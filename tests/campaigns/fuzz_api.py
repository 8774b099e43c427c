"""Ask a real daemon whatever its OpenAPI document allows, and much that it does not; schemathesis makes the requests.

    python -m tests.campaigns.fuzz_api --requests 20000 [--seed 1] [--processes 2]

Each request that schemathesis makes, fitting the document or not, is sent by the owner, by the owner with its bytes
damaged, and by somebody who may not ask it: without credentials, with wrong ones, with a viewer's. No answer may be a
5xx or differ from the document in status, content type or schema, and nobody who may not ask may get a 2xx. Prints
`N requests: 0 server errors, 0 schema violations, 0 bypasses` and ends with 1 otherwise.

Needs the packages of ``partyd[fuzz]``. Fields that name files are led into a temporary directory.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import multiprocessing
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis import GenerationMode, Response
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi import checks

from partyd import signing
from tests.e2e.federation import ROOT, free_ports

TOKEN = secrets.token_urlsafe(32)
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
SENT_EACH = 4
"""Requests for each that is made: by the owner, damaged, and two by others."""
OPERATION_S = 30.0
"""An operation whose answers take long (an upload starts a process) gets fewer requests."""
PLACES = re.compile(r"path|dir|file", re.IGNORECASE)
ERASES = re.compile(r"delete|clean|disable|rerun")
"""After these what was there is made again."""
TIMEOUT_S = 60
MAX_LINE = 8000
LOOK = "/v2/site/info/query"


@dataclass(frozen=True)
class Target:
    """The daemon, and an app that may only look."""

    url: str
    token: str
    viewer: dict[str, Any]
    victim: str
    """The id of an app that requests may change and delete; the viewer's is asked about by chance alone."""
    folder: str


@dataclass
class Tally:
    """What came of it."""

    requests: int = 0
    statuses: collections.Counter[str] = field(default_factory=collections.Counter)
    problems: dict[str, list[str]] = field(default_factory=lambda: {"error": [], "schema": [], "bypass": []})

    def add(self, other: Tally) -> None:
        """Count what another process found."""
        self.requests += other.requests
        self.statuses += other.statuses
        for kind, found in other.problems.items():
            self.problems[kind] += found


# -- the daemon


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[Target]:
    """Run one daemon without a broker and give its address."""
    (folder / "token").write_text(TOKEN)
    port = free_ports(1)
    party = [sys.executable, "-m", "partyd"]
    named = ["--role", "guest", "--party-id", "10000", "--state-dir", str(folder / "state")]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    subprocess.run([*party, "init", *named], check=True, capture_output=True, cwd=folder, env=environment)
    told = {
        "broker.url": "memory://fuzz",
        "http.port": port,
        "http.token_file": folder / "token",
        "http.fate_auth": "true",
        "store.low_watermark_bytes": 0,
        "log.format": "json",
    }
    command = [*party, *named, *(part for key, value in told.items() for part in ("--set", f"{key}={value}"))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, folder)
        viewer, victim = (_app(url, role) for role in ("viewer", "operator"))
        yield Target(url, TOKEN, viewer, victim["app_id"], str(folder / "files"))
        looked = requests.get(f"{url}{LOOK}", headers={"Authorization": _signed(viewer, "GET", LOOK)}, timeout=9)
        assert looked.status_code == 200, "the viewer may not look any more: what was tried as a viewer proved nothing"
        assert requests.get(f"{url}/livez", timeout=9).status_code == 200, "the daemon does not live any more"
    finally:
        process.terminate()
        process.wait(30)


def _app(url: str, role: str) -> dict[str, Any]:
    asked = {"app_name": role, "role": role}
    made = requests.post(f"{url}/v2/client/create", json=asked, headers=_owner(TOKEN), timeout=9)
    found: dict[str, Any] = made.json()["data"]
    return found


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/livez", timeout=9).status_code == 200:
                return
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.1)
    raise TimeoutError("the daemon did not start")


# -- who asks


def _owner(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _signed(app: dict[str, Any], method: str, target: str, content: bytes = b"", **other: Any) -> str:
    """Return an app's signature, with ``other`` than what belongs into it."""
    said = {
        "ts": int(time.time()),
        "nonce": secrets.token_hex(16),
        "body": hashlib.sha256(content).hexdigest(),
        **other,
    }
    return signing.authorization(
        app["app_id"], app["app_token"], method, target, said["ts"], said["nonce"], said["body"]
    )


def strangers(target: Target, prepared: requests.PreparedRequest, access: str) -> dict[str, dict[str, str]]:
    """Return the headers of everybody who may not ask this, by name."""
    body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
    app, made = target.viewer, (prepared.method or "GET", prepared.path_url, body)
    good, now = _signed(app, *made), int(time.time())
    found = {
        "nobody": {},
        "wrong token": _owner(target.token[:-1] + "\u007f"),
        "empty token": {"Authorization": "Bearer "},
        "token elsewhere": {"X-Authorization": f"Bearer {target.token}", "Cookie": f"token={target.token}"},
        "wrong signature": {"Authorization": good[:-1] + ("0" if good[-1] != "0" else "1")},
        "another body": {"Authorization": _signed(app, *made, body="0" * 64)},
        "another path": {"Authorization": _signed(app, made[0], "/livez", body)},
        "old": {"Authorization": _signed(app, *made, ts=1_700_000_000)},
        "no app": {"Authorization": _signed(app | {"app_id": "0" * 8}, *made)},
        "fate": {"appId": app["app_id"], "userName": "", "Nonce": "1", "Timestamp": f"{now}000", "Signature": "0" * 32},
        "method override": {"X-HTTP-Method-Override": "GET", "X-Original-URL": "/livez"},
    }
    if access != "viewer":
        found["a viewer"] = {"Authorization": good}
    return found


# -- what is asked

CSV = b"id,y,x\na,1,2\nb,0,3\nc,1,4\n"
DAG = {
    "dag": {
        "parties": [{"role": "guest", "party_id": ["10000"]}],
        "stage": "train",
        "tasks": {
            "reader_0": {"component_ref": "reader", "parameters": {"namespace": "fuzz", "name": "table"}},
            "statistics_0": {
                "component_ref": "statistics",
                "inputs": {
                    "data": {
                        "input_data": {
                            "task_output_artifact": {"producer_task": "reader_0", "output_artifact_key": "output_data"}
                        }
                    }
                },
            },
        },
    },
    "schema_version": "2.2.0",
}


def there(target: Target) -> dict[str, str]:
    """Make a table, a job that ends, and a server, and return the fields that name them."""
    owner, url = _owner(target.token), target.url
    place = {"namespace": "fuzz", "name": "table", "label": "y"}
    stored = requests.post(
        f"{url}/v2/data/component/upload/file", params=place, data=CSV, headers=owner, timeout=TIMEOUT_S
    )
    server = {"server_name": "S", "host": "h", "port": 1}
    requests.post(f"{url}/v2/server/registry", json=server, headers=owner, timeout=9)
    made = requests.post(f"{url}/v2/job/submit", json=DAG, headers=owner, timeout=TIMEOUT_S)
    assert (stored.status_code, made.status_code) == (200, 200), (stored.text, made.text)
    job = made.json()["job_id"]
    _ended(url, owner, job)
    return {
        "namespace": "fuzz", "name": "table", "job_id": job, "task_name": "statistics_0", "role": "guest",
        "party_id": "10000", "app_id": target.victim, "model_id": job, "model_version": "0",
        "server_name": "S", "output_key": "output_data", "task_id": f"{job}_statistics_0", "task_version": "0",
    }  # fmt: skip


def _ended(url: str, owner: dict[str, str], job: str) -> None:
    deadline, seen = time.monotonic() + 60, ""
    while time.monotonic() < deadline:
        query = {"job_id": job, "wait": "5", "seen": seen}
        (view,) = requests.get(f"{url}/v2/job/query", params=query, headers=owner, timeout=30).json()["data"]
        if view["end_time"]:
            return
        seen = view["seen"]
    raise TimeoutError(f"job {job} has not ended")


def informed(fields: dict[str, Any], known: dict[str, str], chance: random.Random) -> dict[str, Any]:
    """Return the fields of a request, some of which now name something that is there."""
    if chance.random() < 0.3:
        return fields
    return {key: known.get(key, value) if isinstance(value, str) else value for key, value in fields.items()}


def tamed(value: Any, folder: str, name: str = "") -> Any:
    """Lead whatever names a file into the temporary directory."""
    if isinstance(value, dict):
        return {key: tamed(part, folder, key) for key, part in value.items()}
    if isinstance(value, list):
        return [tamed(part, folder, name) for part in value]
    if isinstance(value, str) and PLACES.search(name) and ("/" in value or ".." in value):
        return f"{folder}/{value.replace('..', '__').replace(chr(0), '')[:100]}"
    return value


def damaged(prepared: requests.PreparedRequest, chance: random.Random) -> requests.PreparedRequest:
    """Return the request with some of its bytes changed."""
    other = prepared.copy()
    body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
    if body and chance.random() < 0.8:
        at = chance.randrange(len(body))
        other.body = chance.choice(
            [
                body[:at], body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :], body + body, b"[" * 5000,
                b'{"a":' * 5000, body.replace(b"{", b'{"a": NaN, ', 1), body.replace(b"{", b'{"a": 1, "a": 2, ', 1),
                body.replace(b'"', b'"\\ud800', 1), body[:at] + b"\xff\x00" + body[at:], b'"' + b"x" * (1 << 20) + b'"',
                body.replace(b":", b": 1" + b"0" * 400 + b",", 1), body.replace(b'"', b'"\\u0000', 1),
            ]
        )  # fmt: skip
        other.headers["Content-Length"] = str(len(other.body or b""))
    else:
        joint = "&" if "?" in (prepared.url or "") else "?"
        tail = chance.choice(
            [
                "job_id=1&job_id=2",
                "x" * 7000,
                "limit=-1",
                "page=1e9",
                "%00",
                "%ff%fe",
                "a[]=1",
                "namespace=..%2F..",
                "&&=&",
            ]
        )
        other.url = f"{prepared.url}{joint}{tail}"
    return other


class Asker:
    """Sends what one process makes."""

    def __init__(self, target: Target, chance: random.Random) -> None:
        self._target, self._chance = target, chance
        self.known: dict[str, str] = {}
        self._session = requests.Session()
        self._session.trust_env = False
        self.tally = Tally()

    def ask(self, case: schemathesis.Case, access: str) -> None:
        """Send one case by the owner, damaged, and by two who may not."""
        target = self._target
        if isinstance(case.body, dict):
            case.body = tamed(informed(case.body, self.known, self._chance), target.folder)
        if isinstance(case.query, dict):
            case.query = tamed(informed(case.query, self.known, self._chance), target.folder)
        try:
            prepared = requests.Request(**case.as_transport_kwargs(base_url=target.url)).prepare()
        except (requests.RequestException, ValueError, UnicodeError):
            return  # what no client can send
        for one in (prepared, damaged(prepared, self._chance)):
            self._by_owner(case, one)
        if access != "open":
            others = strangers(target, prepared, access)
            for name in self._chance.sample(sorted(others), 2):
                self._by_other(prepared, name, others[name])

    def _by_owner(self, case: schemathesis.Case, prepared: requests.PreparedRequest) -> None:
        answer = self._send(prepared, _owner(self._target.token))
        if answer is None or (answer.status_code == 400 and len(prepared.path_url) > MAX_LINE):
            return  # longer than HTTP's reader takes: it answers itself, before there is a request
        if answer.status_code >= 500:
            self._note("error", prepared, answer)
            return
        try:
            case.validate_response(Response.from_requests(answer, verify=True), checks=CHECKS)
        except (Failure, FailureGroup) as failure:
            self._note("schema", prepared, answer, str(failure))
        if "Traceback" in answer.text[:100_000]:
            self._note("schema", prepared, answer, "a traceback")

    def _by_other(self, prepared: requests.PreparedRequest, name: str, headers: dict[str, str]) -> None:
        answer = self._send(prepared, headers)
        if answer is not None and answer.status_code < 400:
            self._note("bypass", prepared, answer, name)
        elif answer is not None and answer.status_code >= 500:
            self._note("error", prepared, answer, name)

    def _send(self, prepared: requests.PreparedRequest, headers: dict[str, str]) -> requests.Response | None:
        one = prepared.copy()
        for name in ("Authorization", "Signature", "appId"):
            one.headers.pop(name, None)
        one.headers.update(headers)
        self.tally.requests += 1
        try:
            answer = self._session.send(one, timeout=TIMEOUT_S, allow_redirects=False)
        except (requests.RequestException, ValueError) as error:
            self.tally.statuses[type(error).__name__] += 1
            if not isinstance(error, requests.ConnectionError | requests.exceptions.InvalidHeader | ValueError):
                self.tally.problems["error"].append(f"{one.method} {one.path_url[:200]}: {type(error).__name__}")
            return None
        self.tally.statuses[str(answer.status_code)] += 1
        return answer

    def _note(self, kind: str, prepared: requests.PreparedRequest, answer: requests.Response, more: str = "") -> None:
        body = prepared.body if isinstance(prepared.body, bytes) else str(prepared.body or "").encode()
        self.tally.problems[kind].append(
            f"{prepared.method} {prepared.path_url[:300]} {body[:300]!r} -> {answer.status_code} {answer.text[:300]} "
            f"{more[:600]}"
        )


def work(target: Target, document: dict[str, Any], share: Sequence[str], each: int, number: int) -> Tally:
    """Ask one process's share of the operations, ``each`` cases of both modes for every one."""
    asker = Asker(target, random.Random(number))
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()
        if f"{operation.method.upper()} {operation.path}" not in share:
            continue
        description = document["paths"][operation.path][operation.method]["description"]
        access = "open" if description.startswith("Open") else description.rstrip(".").rpartition(" ")[2]
        asker.known = asker.known or there(target)
        until = time.monotonic() + OPERATION_S
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _run(asker, operation, mode, access, max(1, each // 2), number, until)
        if ERASES.search(operation.path):
            asker.known = {}
    return asker.tally


def _run(
    asker: Asker, operation: Any, mode: GenerationMode, access: str, count: int, number: int, until: float
) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        if time.monotonic() < until:
            asker.ask(case, access)

    impossible = (Unsatisfiable,) if mode is GenerationMode.NEGATIVE else ()
    with contextlib.suppress(*impossible):  # what takes nothing cannot be asked wrongly
        ask()


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document as it is given to schemathesis: who asks is our matter."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for methods in copy["paths"].values():
        for operation in methods.values():
            del operation["security"]
    del copy["components"]["securitySchemes"]
    return copy


def campaign(target: Target, wanted: int, number: int, processes: int) -> Tally:
    """Ask until there are as many requests as wanted; what is slow gets fewer, so there may be several rounds."""
    answer = requests.get(f"{target.url}/v2/openapi.json", headers=_owner(target.token), timeout=9)
    validate(answer.json())
    document = without_security(answer.json())
    operations = [f"{m.upper()} {path}" for path, methods in document["paths"].items() for m in methods]
    random.Random(number).shuffle(operations)
    shares = [operations[i::processes] for i in range(processes)]
    tally = Tally()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        while tally.requests < wanted:
            each = max(2, int(1.2 * (wanted - tally.requests) / (len(operations) * SENT_EACH)) + 1)
            number += processes
            tasks = [(target, document, share, each, number + i) for i, share in enumerate(shares)]
            for found in pool.starmap(work, tasks):
                tally.add(found)
    return tally


def main() -> int:
    """Run the campaign and say what it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="partyd-fuzz-") as name:
        (Path(name) / "files").mkdir()
        with daemon(Path(name)) as target:
            tally = campaign(target, options.requests, options.seed, options.processes)
        tracebacks = [line for line in (Path(name) / "log").read_text().splitlines() if "Traceback" in line]
    for kind, found in tally.problems.items():
        for problem in {problem.partition("?")[0].partition(" b'")[0]: problem for problem in found}.values():
            print(f"{kind}: {problem}")
    for line in tracebacks[-5:] if tally.problems["error"] else ():
        print(f"log: {line[-1500:]}")
    print(f"{time.monotonic() - began:.0f} s; answers: {dict(sorted(tally.statuses.items()))}")
    errors, schema, bypasses = (len(tally.problems[kind]) for kind in ("error", "schema", "bypass"))
    print(f"{tally.requests} requests: {errors} server errors, {schema} schema violations, {bypasses} bypasses")
    return 1 if errors or schema or bypasses else 0


if __name__ == "__main__":
    sys.exit(main())
