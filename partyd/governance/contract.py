"""The job contract: what every party signs before a job starts, one text that is the same everywhere.

The initiator builds it from the job and from the terms that the parties gave with their answers. Each party builds the
same text again from what it was offered, from its own terms and from what *its* algorithms declare, and signs only if
the two are equal: nothing can stand in a contract that a party did not see or does not hold for true. The text is
canonical JSON (sorted keys, no spaces), so equal contracts have equal bytes; what is signed is a label and its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from partyd import __version__
from partyd.components.base import Component, JsonObject
from partyd.components.limits import Limits
from partyd.dag.dag import Dag, JobSpec
from partyd.errors import BadValue, JobRejected
from partyd.federation.algorithm import Algorithm
from partyd.federation.office import MAX_CONTROL_BODY
from partyd.governance.floors import merged
from partyd.types import ARBITER, GUEST, HOST, Address, Role

MAX_CONTRACT_BYTES = MAX_CONTROL_BODY - 4096
"""It travels in one control message, beside its signature."""
MAX_TERMS_BYTES = 4096
_LABEL = b"partyd-contract/1"
_ROLES = (GUEST, HOST, ARBITER)
Word = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Run:
    """Which run of a job a contract is for: what was signed for one starts no other."""

    number: int = 0
    versions: Mapping[str, int] = field(default_factory=dict)
    """In a rerun, the tasks that begin anew and their attempts."""


FIRST_RUN = Run()


class PartyTerms(_Part):
    """On what terms a party takes part; travels in its answer."""

    version: Word = __version__
    limits: Limits = Limits()
    approved_by: Word = "policy"
    """``policy`` when its rules let the job in, else who approved it there; ``initiator`` where it was submitted."""

    def to_bytes(self) -> bytes:
        """Return the terms as canonical JSON."""
        return _canonical(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the terms in ``data``; raises BadValue for anything else."""
        if len(data) > MAX_TERMS_BYTES:
            raise BadValue(f"a party's terms have {len(data)} bytes, more than {MAX_TERMS_BYTES}")
        try:
            terms = cls.model_validate_json(data)
        except ValidationError as error:
            raise BadValue("a party's terms are not of this schema") from error
        if terms.to_bytes() != data:
            raise BadValue("a party's terms leave something unsaid, or are not in their one form")
        return terms


class SignedContract(_Part):
    """A contract and who has signed it: the address as text, the signature in hex."""

    contract: str = Field(max_length=MAX_CONTRACT_BYTES)
    signatures: dict[str, Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]] = Field(max_length=64)

    @classmethod
    def of(cls, contract: bytes, signatures: Mapping[Address, bytes]) -> Self:
        """Return the signed form of a contract."""
        return cls(contract=contract.decode(), signatures={str(who): s.hex() for who, s in signatures.items()})

    @property
    def text(self) -> bytes:
        """The contract's bytes, as they were signed."""
        return self.contract.encode()

    def to_bytes(self) -> bytes:
        """Return the document that the store keeps and the API gives out."""
        return _canonical(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the signed contract in ``data``; raises BadValue for anything else."""
        if len(data) > 2 * MAX_CONTRACT_BYTES:
            raise BadValue(f"a signed contract has {len(data)} bytes; that is more than any can have")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise BadValue("a signed contract is not of this schema") from error

    def verify(self, verify: Callable[[Address, bytes, bytes], bool]) -> None:
        """Check that every party of the contract, and nobody else, has signed it; raises JobRejected naming who.

        ``verify`` is told the signer, the signature and the signed bytes, as `partyd.cards.Cards.verify` is.
        """
        parties = sorted(read(self.text)["parties"])
        strangers = sorted(set(self.signatures) - set(parties))
        if strangers:
            raise JobRejected(f"the contract is signed by {strangers[0][:80]}, who is no party of it")
        for party in parties:
            if party not in self.signatures:
                raise JobRejected(f"{party} has not signed the contract; the job does not start")
            signature = bytes.fromhex(self.signatures[party])
            if not verify(Address.parse(party), signature, contract_bytes_to_sign(self.text)):
                raise JobRejected(f"the signature of {party} under the contract does not hold; ask its operator")


def build(
    job: str,
    spec: JobSpec,
    components: Mapping[str, Component],
    answers: Mapping[Address, PartyTerms],
    *,
    initiator: Address,
    run: Run = FIRST_RUN,
) -> bytes:
    """Return the contract of a job, the same bytes at every party that builds it from the same things.

    ``answers`` has the terms of every party, the initiator's own among them. Raises JobRejected when one is missing or
    the job is too large for a contract.
    """
    parties = spec.dag.addresses()
    missing = [str(party) for party in parties if party not in answers]
    if missing:
        raise JobRejected(f"the terms of {missing[0]} are missing from the contract; it has not answered yet")
    try:
        contract = _canonical(_document(job, spec, components, answers, initiator, run))
    except ValueError as error:
        mend = "write finite numbers and plain text"
        raise JobRejected(f"the job holds what a contract cannot ({error}); {mend}") from error
    if len(contract) > MAX_CONTRACT_BYTES:
        raise JobRejected(
            f"the contract of this job has {len(contract)} bytes, over {MAX_CONTRACT_BYTES}; make several jobs of it"
        )
    return contract


def digest(contract: bytes) -> str:
    """Return the contract's SHA-256 in hex, under which records and the audit log know it."""
    return hashlib.sha256(contract).hexdigest()


def contract_bytes_to_sign(contract: bytes) -> bytes:
    """Return what a party signs with its identity key."""
    return _LABEL + hashlib.sha256(contract).digest()


def read(contract: bytes) -> JsonObject:
    """Return a contract's document; raises JobRejected when the bytes are none."""
    if len(contract) > MAX_CONTRACT_BYTES:
        raise JobRejected(f"a contract of {len(contract)} bytes is larger than any of ours; it is not signed")
    try:
        document = json.loads(contract)
    except (ValueError, RecursionError) as error:
        raise JobRejected("what came as the contract is no JSON; it is not signed") from error
    if not isinstance(document, dict) or not isinstance(document.get("parties"), dict):
        raise JobRejected("what came as the contract has no parties; it is not signed")
    return document


def terms_in(contract: bytes) -> dict[Address, PartyTerms]:
    """Return the terms of every party of a contract; raises JobRejected."""
    try:
        return {
            Address.parse(party): PartyTerms.model_validate(terms)
            for party, terms in list(read(contract)["parties"].items())[:64]
        }
    except ValueError as error:
        raise JobRejected("the contract names a party or terms that are none; it is not signed") from error


def limits_in(contract: bytes) -> Limits:
    """Return the highest floors of all parties: every party holds itself to them, also to those of the others."""
    return merged([terms.limits for terms in terms_in(contract).values()])


def check(
    contract: bytes,
    job: str,
    spec: JobSpec,
    components: Mapping[str, Component],
    me: Address,
    terms: PartyTerms,
    *,
    initiator: Address,
    run: Run = FIRST_RUN,
) -> None:
    """Check a contract before signing it; raises JobRejected with the path of the first thing that differs.

    ``spec`` is the job as it was offered, ``terms`` what this party answered. The terms of the others are taken from
    the contract, for only they know them; everything else must be what this party would have written itself.
    """
    found = read(contract)
    given = terms_in(contract)
    if given.get(me) != terms:
        raise JobRejected(f"parties.{me} of the contract differs from the terms that {me} gave; it is not signed")
    ours = build(job, spec, components, given, initiator=initiator, run=run)
    if ours == contract:
        return
    path = next(_differences(read(ours), found), "its form")
    raise JobRejected(
        f"{path[:200]} of the contract differs from what {me} was offered or declares itself; it is not signed. "
        "Compare the versions of partyd at both parties"
    )


def _canonical(document: JsonObject) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def _document(
    job: str,
    spec: JobSpec,
    components: Mapping[str, Component],
    answers: Mapping[Address, PartyTerms],
    initiator: Address,
    run: Run,
) -> JsonObject:
    parties = spec.dag.addresses()
    return {
        "contract": 1,
        "job": job,
        "run": run.number,
        "anew": dict(run.versions),
        "initiator": str(initiator),
        "spec": spec.model_dump(mode="json", exclude_defaults=True),
        "parties": {str(party): answers[party].model_dump(mode="json") for party in parties},
        "tasks": {name: _task(spec.dag, name, components) for name in spec.dag.tasks},
        "algorithms": {algorithm.name: _declared(algorithm) for algorithm in _algorithms_of(spec.dag, components)},
        "limits": merged([answers[party].limits for party in parties]).model_dump(mode="json"),
    }


def _task(dag: Dag, name: str, components: Mapping[str, Component]) -> JsonObject:
    """Return who runs a task with which parameters, defaults included, parties with equal ones together."""
    component = components[dag.tasks[name].component_ref]
    groups: dict[bytes, JsonObject] = {}
    for address in dag.addresses():
        if dag.takes_part(name, address, component):
            params = component.params.model_validate(dag.parameters(name, address)).model_dump(mode="json")
            group = groups.setdefault(_canonical(params), {"parties": [], "parameters": params})
            group["parties"].append(str(address))
    return {
        "component": component.name,
        "stage": dag.stage_of(name),
        "runs": list(groups.values()),
        "algorithms": [algorithm.name for algorithm in component.algorithms],
    }


def _algorithms_of(dag: Dag, components: Mapping[str, Component]) -> list[Algorithm[Any]]:
    found: dict[str, Algorithm[Any]] = {}
    for name, task in dag.tasks.items():
        component = components[task.component_ref]
        if any(dag.takes_part(name, address, component) for address in dag.addresses()):
            found |= {algorithm.name: algorithm for algorithm in component.algorithms}
    return [found[name] for name in sorted(found)]


def _declared(algorithm: Algorithm[Any]) -> JsonObject:
    """Return an algorithm's declaration: its version, and what each role learns from which message of whom."""
    return {
        "version": algorithm.version,
        "learns": [
            {
                "roles": _labels(one.role),
                "what": one.learns,
                "message": one.source.__name__ if one.source else "",
                "from": _labels(one.source.sender) if one.source else [],
            }
            for one in algorithm.disclosures
        ],
        "together": algorithm.coalitions,
    }


def _labels(role: Role) -> list[str]:
    return [one.label for one in _ROLES if one & role]


def _differences(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """Yield the path of each place where two documents differ, in order."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            below = f"{path}.{key}" if path else key
            if key in ours and key in theirs:
                yield from _differences(ours[key], theirs[key], below)
            else:
                yield below
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(left, right, f"{path}[{place}]")
    elif type(ours) is not type(theirs) or ours != theirs:
        yield path
