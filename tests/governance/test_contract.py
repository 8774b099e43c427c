"""The job contract: the same bytes everywhere, and nothing in it that a party did not see or does not hold for true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.components import COMPONENTS
from partyd.components.base import Component
from partyd.components.limits import Limits
from partyd.crypto.identity import LocalIdentity, generate_identity, verify_signature
from partyd.dag.dag import JobSpec
from partyd.errors import BadValue, JobRejected
from partyd.governance import contract as contracts
from partyd.governance.contract import (
    PartyTerms,
    SignedContract,
    build,
    check,
    contract_bytes_to_sign,
    limits_in,
    terms_in,
)
from partyd.jobs.contract_words import in_plain_words
from partyd.types import Address

GUEST, HOST, ARBITER = (Address.parse(text) for text in ("9999/guest", "10000/host", "7/arbiter"))
TERMS = {
    GUEST: PartyTerms(version="1.0", approved_by="initiator"),
    HOST: PartyTerms(version="1.0", limits=Limits(min_rows=100, min_intersection=5), approved_by="anna"),
    ARBITER: PartyTerms(version="1.1", limits=Limits(key_bits=2048, min_rows=7)),
}


def source(task: str, key: str = "output_data") -> dict[str, Any]:
    return {"task_output_artifact": {"producer_task": task, "output_artifact_key": key}}


DOCUMENT: dict[str, Any] = {
    "dag": {
        "parties": [
            {"role": "guest", "party_id": ["9999"]},
            {"role": "host", "party_id": ["10000"]},
            {"role": "arbiter", "party_id": ["7"]},
        ],
        "tasks": {
            "reader_0": {"component_ref": "reader"},
            "psi_0": {"component_ref": "psi", "inputs": {"data": {"input_data": source("reader_0")}}},
            "lr_0": {
                "component_ref": "coordinated_lr",
                "parameters": {"batch_size": 128, "tol": 1e-05},
                "inputs": {"data": {"train_data": source("psi_0")}},
            },
        },
        "party_tasks": {
            "guest": {
                "parties": [{"role": "guest", "party_id": ["9999"]}],
                "tasks": {"reader_0": {"parameters": {"namespace": "bank", "name": "g"}}},
            },
            "host": {
                "parties": [{"role": "host", "party_id": ["10000"]}],
                "tasks": {"reader_0": {"parameters": {"namespace": "bank", "name": "h\x1b[2J"}}},
            },
        },
    }
}
SPEC = JobSpec.model_validate(DOCUMENT)


def made(
    spec: JobSpec = SPEC,
    terms: Mapping[Address, PartyTerms] = TERMS,
    components: Mapping[str, Component] = COMPONENTS,
    job: str = "j1",
    initiator: Address = GUEST,
) -> bytes:
    return build(job, spec, components, terms, initiator=initiator)


def agree(contract: bytes, spec: JobSpec = SPEC, me: Address = HOST) -> None:
    check(contract, "j1", spec, COMPONENTS, me, TERMS[me], initiator=GUEST)


def test_every_party_builds_the_same_bytes() -> None:
    there = JobSpec.model_validate_json(SPEC.model_dump_json())
    backwards = dict(reversed(TERMS.items()))
    assert made(there, backwards) == made()
    for me in TERMS:
        agree(made(), there, me)


def test_it_says_who_what_how_and_who_learns_what() -> None:
    document = json.loads(made())
    assert document["parties"]["10000/host"]["limits"]["min_rows"] == 100
    assert document["tasks"]["psi_0"]["runs"][0]["parties"] == ["9999/guest", "10000/host"]
    assert document["tasks"]["lr_0"]["runs"][0]["parameters"]["he_param"]["key_length"] == 2048
    assert [run["parameters"]["name"] for run in document["tasks"]["reader_0"]["runs"]] == ["g", "h\x1b[2J"]
    learnt = document["algorithms"]["psi"]["learns"]
    assert {
        "roles": ["host"],
        "what": "which of its own ids all parties have",
        "message": "CommonRows",
        "from": ["guest"],
    } in (learnt)
    for name in ("psi", "coordinated_lr"):
        for algorithm in COMPONENTS[name].algorithms:
            assert document["algorithms"][algorithm.name]["version"] == algorithm.version
            assert len(document["algorithms"][algorithm.name]["learns"]) == len(algorithm.disclosures)


def test_it_says_how_a_step_encrypts() -> None:
    lines = [line.strip() for line in in_plain_words(made()) if line.strip().startswith("encryption")]
    assert len(lines) == 1
    assert "paillier, keys of 2048 bits but no fewer than 2048, obfuscation djn448 (secret exponents of 448" in lines[0]
    assert json.loads(made())["tasks"]["lr_0"]["runs"][0]["parameters"]["he_param"]["obfuscation"] == "djn448"


def test_the_highest_floors_hold_for_all() -> None:
    assert limits_in(made()) == Limits(min_rows=100, min_intersection=5, key_bits=2048)
    assert terms_in(made()) == TERMS


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, (*path, key))
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from leaves(below, (*path, place))
    else:
        yield path


def changed(document: dict[str, Any], path: tuple[Any, ...]) -> bytes:
    """Return the contract with one value replaced."""
    copy = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    old = place[path[-1]]
    place[path[-1]] = old + 1 if isinstance(old, int | float) and not isinstance(old, bool) else "other"
    return contracts._canonical(copy)


def test_no_value_can_be_changed_under_the_eyes_of_a_party() -> None:
    document = json.loads(made())
    foreign = {("parties", str(other)) for other in (GUEST, ARBITER)}
    for path in leaves(document):
        forged = changed(document, path)
        if path[:2] in foreign:
            continue  # only that party knows its own terms, and it signs
        with pytest.raises(JobRejected) as caught:
            agree(forged)
        assert "not signed" in str(caught.value)


def test_terms_of_others_are_caught_by_those_others() -> None:
    document = json.loads(made())
    document["parties"]["7/arbiter"]["limits"]["min_rows"] = 0
    with pytest.raises(JobRejected, match=r"parties.7/arbiter of the contract differs"):
        agree(contracts._canonical(document), me=ARBITER)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d.pop("limits"), "limits of the contract"),
        (lambda d: d.update(more=1), "more of the contract"),
        (lambda d: d["tasks"].pop("lr_0"), "tasks.lr_0 of the contract"),
        (lambda d: d["algorithms"]["psi"]["learns"].pop(), "algorithms.psi.learns of the contract"),
        (lambda d: d["algorithms"]["psi"].update(version="1"), "algorithms.psi.version of the contract"),
        (lambda d: d["parties"].pop("7/arbiter"), "terms of 7/arbiter are missing"),
        (lambda d: d["parties"].update({"1/host": {}}), "names a party or terms that are none|differs"),
        (lambda d: d["parties"]["7/arbiter"].update(version="x\n"), "terms that are none"),
    ],
)
def test_the_first_difference_is_named(spoil: Callable[[dict[str, Any]], object], said: str) -> None:
    document = json.loads(made())
    spoil(document)
    with pytest.raises(JobRejected, match=said):
        agree(contracts._canonical(document))


def test_another_job_initiator_or_form_is_refused() -> None:
    with pytest.raises(JobRejected, match=r"^job of the contract"):
        agree(made(job="j2"))
    with pytest.raises(JobRejected, match=r"^initiator of the contract"):
        agree(made(initiator=HOST))
    with pytest.raises(JobRejected, match="its form of the contract"):
        agree(json.dumps(json.loads(made())).encode())


def test_an_algorithm_that_declares_otherwise_here_is_noticed() -> None:
    algorithm = replace(COMPONENTS["psi"].algorithms[0], coalitions="nothing to fear")
    other = {**COMPONENTS, "psi": replace(COMPONENTS["psi"], algorithms=(algorithm, *COMPONENTS["psi"].algorithms[1:]))}
    with pytest.raises(JobRejected, match=r"algorithms.psi.together of the contract"):
        agree(made(components=other))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"parties": 3}', b"\xff", b"[" * 100_000, b"x" * (9 << 20)])
def test_what_is_no_contract_is_refused(raw: bytes) -> None:
    with pytest.raises(JobRejected, match="not signed"):
        agree(raw)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(JobRejected):
        agree(raw)
    with pytest.raises(BadValue):
        SignedContract.from_bytes(raw)
    with pytest.raises(BadValue):
        PartyTerms.from_bytes(raw)


def test_a_job_without_everybodys_terms_or_with_odd_numbers_has_no_contract() -> None:
    with pytest.raises(JobRejected, match="terms of 10000/host are missing"):
        made(terms={GUEST: TERMS[GUEST]})
    document = json.loads(json.dumps(DOCUMENT))
    document["dag"]["tasks"]["lr_0"]["parameters"]["tol"] = float("inf")
    with pytest.raises(JobRejected, match="write finite numbers"):
        made(JobSpec.model_validate(document))


def test_a_contract_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "MAX_CONTRACT_BYTES", 100)
    with pytest.raises(JobRejected, match="make several jobs of it"):
        made()


def test_terms_travel_and_are_bounded() -> None:
    assert PartyTerms.from_bytes(TERMS[HOST].to_bytes()) == TERMS[HOST]
    assert PartyTerms().approved_by == "policy"
    for raw in (b"{" * 5000, b'{"version": "1\\u0007"}', b'{"limits": {"min_rows": -1}}', b'{"more": 1}'):
        with pytest.raises(BadValue):
            PartyTerms.from_bytes(raw)


# -- signatures


def keys() -> dict[Address, LocalIdentity]:
    return {address: generate_identity(address, 0) for address in TERMS}


def verifier(known: Mapping[Address, LocalIdentity]) -> Callable[[Address, bytes, bytes], bool]:
    def verify(signer: Address, signature: bytes, text: bytes) -> bool:
        try:
            verify_signature(known[signer].id_pub, signature, text)
        except BadValue:
            return False
        return True

    return verify


def test_it_counts_when_all_have_signed() -> None:
    known, contract = keys(), made()
    signatures = {who: one.sign(contract_bytes_to_sign(contract)) for who, one in known.items()}
    signed = SignedContract.of(contract, signatures)
    SignedContract.from_bytes(signed.to_bytes()).verify(verifier(known))
    assert signed.text == contract
    for who in known:
        missing = SignedContract.of(contract, {k: v for k, v in signatures.items() if k != who})
        with pytest.raises(JobRejected, match=f"{who} has not signed"):
            missing.verify(verifier(known))
        swapped = {**signatures, who: signatures[next(k for k in known if k != who)]}
        with pytest.raises(JobRejected, match=f"the signature of {who} under the contract does not hold"):
            SignedContract.of(contract, swapped).verify(verifier(known))
    stranger = SignedContract.of(contract, {**signatures, Address.parse("1/host"): signatures[HOST]})
    with pytest.raises(JobRejected, match="1/host, who is no party"):
        stranger.verify(verifier(known))
    other = SignedContract.of(made(job="j2"), signatures)
    with pytest.raises(JobRejected, match="does not hold"):
        other.verify(verifier(known))


def test_a_signature_has_its_form() -> None:
    good = SignedContract.of(made(), {HOST: bytes(64)}).to_bytes()
    for spoilt in (good.replace(b"00" * 64, b"00"), good.replace(b"00" * 64, b"zz" * 64), b"x" * (17 << 20)):
        with pytest.raises(BadValue):
            SignedContract.from_bytes(spoilt)


# -- for people


def test_in_plain_words() -> None:
    lines = in_plain_words(made(), ["9999/guest"])
    text = "\n".join(lines)
    assert lines[0] == "Job j1, submitted by 9999/guest."
    assert "9999/guest: partyd 1.0, submitted it, asks for no floors; signed" in text
    assert (
        "10000/host: partyd 1.0, approved by anna, asks for at least 100 rows in a table, 5 ids in common; not" in text
    )
    assert (
        "7/arbiter: partyd 1.1, let in by its policy, asks for at least 7 rows in a table, 2048 bits in a key" in text
    )
    assert "9999/guest: bank/g (step reader_0)" in text
    assert "host learns which of its own ids all parties have (from CommonRows of guest)" in text
    assert "messages that tell their receiver nothing: Forward, Residual, HostLoss" in text
    assert "together, or beyond that: The arbiter holds the private key" in text
    assert "nothing is exchanged" in text
    assert "\x1b" not in text
    assert text.index("reader_0: reader") < text.index("psi_0: psi") < text.index("lr_0: coordinated_lr")


def test_earlier_jobs_and_models_are_named() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    dag = document["dag"]
    dag["conf"] = {"inheritance": {"job_id": "j0", "task_list": ["psi_0"]}, "model_warehouse": {"model_id": "m"}}
    model = {"model_warehouse": {"producer_task": "lr_0", "output_artifact_key": "output_model"}}
    earlier = {"data_warehouse": {"job_id": "j7", "producer_task": "p", "output_artifact_key": "output_data"}}
    dag["tasks"]["lr_0"]["inputs"] = {"model": {"input_model": model}, "data": {"test_data": earlier}}
    text = "\n".join(in_plain_words(made(JobSpec.model_validate(document))))
    assert "10000/host: its part of model m:0 (step lr_0)" in text
    assert "9999/guest: an output of the earlier job j7 (step lr_0)" in text
    assert "what job j0 left in psi_0" in text


def test_a_job_that_names_nothing_says_so() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["dag"]["tasks"] = {"toy_0": {"component_ref": "toy_example"}}
    document["dag"]["party_tasks"] = {}
    lines = in_plain_words(made(JobSpec.model_validate(document)))
    assert "  none is named" in lines
