"""A job contract in sentences, for the people who approve, sign or audit it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

from partyd.components.base import Component, JsonObject
from partyd.components.limits import Limits
from partyd.dag.dag import Dag, JobSpec
from partyd.dag.inputs import ModelSource, TableSource
from partyd.governance.contract import PartyTerms, Run, build, digest, read, terms_in
from partyd.governance.datasets import tables_of
from partyd.jobs.record import JobRecord
from partyd.types import Address

MAX_SHOWN = 300
OBFUSCATIONS = {
    "djn448": "secret exponents of 448 bits: rests on the short-exponent assumption",
    "djn256": "secret exponents of 256 bits: rests on the short-exponent assumption, with less to spare",
    "djn_half": "secret exponents of half the key's length",
    "full": "as Paillier has it",
}


MERGING = {
    0: "",
    1: ", lets models be merged under anonymous names of columns alone",
    2: ", lets no models be merged",
}


def in_plain_words(contract: bytes, signers: Collection[str] = ()) -> list[str]:
    """Return a contract's lines: who takes part, with what, in which steps, and what each role learns at each.

    ``signers`` are the addresses that have signed. Raises JobRejected when ``contract`` is none.
    """
    document = read(contract)
    return [
        f"Job {document['job']}, submitted by {document['initiator']}.",
        f"Contract {digest(contract)}.{_rerun(document)}",
        "",
        "Who takes part, and on what terms:",
        *_parties(contract, signers),
        "",
        "Which tables, models and earlier jobs are used, by the names that the job gives them:",
        *_tables(document),
        "",
        "Which steps are run, and what each role learns beyond its own input:",
        *_steps(document),
    ]


def _rerun(document: JsonObject) -> str:
    if not document["run"]:
        return ""
    anew = _shown(", ".join(sorted(document["anew"])))
    return f" Run {document['run'] + 1} of the job: {anew} begin anew, what the other steps gave is used again."


def draft_in_plain_words(record: JobRecord, components: Mapping[str, Component]) -> list[str]:
    """Return what the contract of a job would say that has none yet, for whoever is to approve it here.

    What the other parties ask for is not known before they have answered.
    """
    unknown, ours = PartyTerms(version="?", approved_by="nobody yet"), PartyTerms(limits=record.limits, approved_by="")
    terms = {party: ours if party == record.me else unknown for party in record.parties}
    run = Run(record.run, record.anew)
    contract = build(record.job, record.spec, components, terms, initiator=record.initiator, run=run)
    first, _, *rest = in_plain_words(contract)
    return [first, "DRAFT: what would be signed when all parties agree; the others' terms are not known yet.", *rest]


def _parties(contract: bytes, signers: Collection[str]) -> Iterator[str]:
    for party, terms in terms_in(contract).items():
        signed = "signed" if str(party) in signers else "not signed yet"
        said = (f"partyd {terms.version}", _approval(terms.approved_by), floors_in_words(terms.limits))
        yield f"  {party}: {', '.join(said)}; {signed}"


def _approval(approved_by: str) -> str:
    fixed = {"policy": "let in by its policy", "initiator": "submitted it", "": "waits for approval"}
    return fixed.get(approved_by, f"approved by {_shown(approved_by)}")


def floors_in_words(limits: Limits) -> str:
    """Return what a party asks for, in one clause."""
    asked = [
        (limits.min_rows, "{} rows in a table"),
        (limits.min_intersection, "{} ids in common"),
        (limits.key_bits, "{} bits in a key"),
        (limits.min_batch, "{} rows in a batch"),
    ]
    said = [text.format(value) for value, text in asked if value]
    apart = MERGING[limits.models_apart]
    return f"asks for at least {', '.join(said)}{apart}" if said else f"asks for no floors{apart}"


def _tables(document: JsonObject) -> Iterator[str]:
    dag = JobSpec.model_validate(document["spec"]).dag
    found = False
    for address in dag.addresses():
        for task, description in document["tasks"].items():
            if any(str(address) in run["parties"] for run in description["runs"]):
                for table in tables_of(dag, task, address):
                    found = True
                    yield f"  {address}: {_shown(str(table))} (step {task})"
        for model in _models(dag, address, document):
            found = True
            yield f"  {address}: {model}"
    if dag.conf.inheritance is not None:
        found = True
        inherited = dag.conf.inheritance
        yield f"  what job {_shown(inherited.job_id)} left in {_shown(', '.join(inherited.task_list))}"
    if not found:
        yield "  none is named"


def _models(dag: Dag, address: Address, document: JsonObject) -> Iterator[str]:
    for task, description in document["tasks"].items():
        if any(str(address) in run["parties"] for run in description["runs"]):
            for origin in (one for origins in dag.meant(task, address).values() for one in origins):
                if isinstance(origin, ModelSource):
                    yield f"its part of model {_shown(f'{origin.model_id}:{origin.model_version}')} (step {task})"
                elif isinstance(origin, TableSource) and origin.job_id is not None:
                    yield f"an output of the earlier job {_shown(origin.job_id)} (step {task})"


def _steps(document: JsonObject) -> Iterator[str]:
    for task in JobSpec.model_validate(document["spec"]).dag.order():
        description = document["tasks"][task]
        who = [party for run in description["runs"] for party in run["parties"]]
        yield f"  {task}: {description['component']}, run by {', '.join(who) or 'nobody'}"
        for run in description["runs"]:
            named = f" at {', '.join(run['parties'])}" if len(description["runs"]) > 1 else ""
            yield f"    parameters{named}: {_shown(json.dumps(run['parameters'], sort_keys=True))}"
            yield from _encryption(run["parameters"], named)
        if not description["algorithms"]:
            yield "    nothing is exchanged: each party works on its own table alone"
        for name in description["algorithms"]:
            yield from _learnt(name, document["algorithms"][name])


def _encryption(parameters: JsonObject, named: str) -> Iterator[str]:
    """Say how a step encrypts, which a long line of parameters might hide."""
    asked = parameters.get("he_param")
    if isinstance(asked, dict):
        kind, bits, way = (_shown(str(asked.get(name))) for name in ("kind", "key_length", "obfuscation"))
        why = f" ({OBFUSCATIONS[way]})" if way in OBFUSCATIONS else ""
        yield f"    encryption{named}: {kind}, keys of {bits} bits but no fewer than 2048, obfuscation {way}{why}"


def _learnt(name: str, algorithm: JsonObject) -> Iterator[str]:
    yield f"    {name}, version {algorithm['version']}:"
    silent: list[str] = []
    for one in algorithm["learns"]:
        if one["what"].startswith("nothing"):
            silent.append(one["message"] or "the result")
            continue
        source = f" (from {one['message']} of {' and '.join(one['from'])})" if one["message"] else " (the result)"
        yield f"      {' and '.join(one['roles'])} learns {one['what']}{source}"
    if silent:
        yield f"      messages that tell their receiver nothing: {', '.join(silent)}"
    if algorithm["together"]:
        yield f"      together, or beyond that: {algorithm['together']}"


def _shown(text: str) -> str:
    """Return outside text on one line, without anything that a terminal would obey, cut where it is long."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return plain if len(plain) <= MAX_SHOWN else f"{plain[:MAX_SHOWN]}... ({len(plain)} characters)"
