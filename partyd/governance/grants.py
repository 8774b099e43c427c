"""What was granted party by party through the API, and how often peers have used which data set: both in the store.

A grant is FATE's: a party id may use these components, and these data sets; a job needs both. `Policy.with_grants`
makes rules of them. Uses are counted by peer and data set for the policy's daily quotas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partyd.errors import DataError
from partyd.federation.rows import DocumentRow
from partyd.governance.policy_rules import ANY, MAX_RULES, DatasetPattern
from partyd.types import PARTY_ID_PATTERN, Address

GRANTS = "grant"
USES = "dataset_use"
KEPT_S = 2 * 86_400.0
"""How long a use is remembered: quotas count a day."""
_PAGE = 1000


class GrantReader(Protocol):
    """Questions about documents."""

    def document(self, collection: str, key: str) -> bytes | None: ...
    def documents(
        self, collection: str, prefix: str = "", limit: int = 100, offset: int = 0
    ) -> Sequence[DocumentRow]: ...


class GrantWriter(GrantReader, Protocol):
    """Changes to documents, and to the audit log."""

    def put_document(self, collection: str, key: str, document: bytes) -> None: ...
    def delete_document(self, collection: str, key: str) -> bool: ...
    def append_event(self, kind: str, job: str, detail: bytes) -> int: ...


class Grant(BaseModel):
    """What one party, in any role, may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    party_id: str = Field(pattern="^" + PARTY_ID_PATTERN.pattern.replace(r"\Z", "$"))
    components: frozenset[str] = Field(default=frozenset(), max_length=MAX_RULES)
    datasets: frozenset[DatasetPattern] = Field(default=frozenset(), max_length=MAX_RULES)

    def plus(self, other: Grant) -> Grant:
        """Return both grants together."""
        components, datasets = self.components | other.components, self.datasets | other.datasets
        return Grant(party_id=self.party_id, components=components, datasets=datasets)

    def minus(self, other: Grant) -> Grant:
        """Return the grant without what ``other`` names; ``*`` there takes everything away."""
        components = frozenset[str]() if ANY in other.components else self.components - other.components
        datasets = frozenset[DatasetPattern]() if ANY in other.datasets else self.datasets - other.datasets
        return Grant(party_id=self.party_id, components=components, datasets=datasets)

    def encode(self) -> bytes:
        """Return the canonical JSON that the store keeps."""
        document = {
            "party_id": self.party_id,
            "components": sorted(self.components),
            "datasets": sorted((one if one == ANY else list(one) for one in self.datasets), key=str),
        }
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Grant:
        """Return the grant that the store kept; raises DataError when it holds something else."""
        try:
            document = json.loads(raw)
            datasets = [one if one == ANY else {"namespace": one[0], "name": one[1]} for one in document["datasets"]]
            return cls.model_validate({**document, "datasets": datasets})
        except (ValueError, TypeError, LookupError) as error:
            raise DataError("a grant in the store cannot be read; revoke it and grant it again") from error


def read_grant(
    party_id: str, components: Collection[str], datasets: Collection[object], known: Collection[str]
) -> Grant:
    """Return a checked grant; raises DataError naming what is wrong with it.

    A data set is ``"*"``, ``"namespace/name"`` or ``{"namespace": ..., "name": ...}``.
    """
    unknown = sorted(name for name in components if name != ANY and name not in known)
    if unknown:
        raise DataError(f"there is no component {unknown[0][:80]!r}; known: {', '.join(sorted(known))}")
    try:
        return Grant.model_validate({"party_id": party_id, "components": list(components), "datasets": list(datasets)})
    except ValidationError as error:
        told = error.errors()[0]
        place = ".".join(str(part) for part in told["loc"])
        raise DataError(f"{place}: {told['msg']}; a data set is written {{namespace, name}}") from error


def grant(store: GrantWriter, wanted: Grant) -> Grant:
    """Add to what a party may use, and note it in the audit log; return what it has now."""
    granted = _granted(store, wanted.party_id).plus(wanted)
    store.put_document(GRANTS, wanted.party_id, granted.encode())
    store.append_event("permission_granted", "", wanted.encode())
    return granted


def revoke(store: GrantWriter, unwanted: Grant) -> Grant:
    """Take away from what a party may use, and note it in the audit log; return what it has left."""
    left = _granted(store, unwanted.party_id).minus(unwanted)
    if left.components or left.datasets:
        store.put_document(GRANTS, unwanted.party_id, left.encode())
    else:
        store.delete_document(GRANTS, unwanted.party_id)
    store.append_event("permission_revoked", "", unwanted.encode())
    return left


def granted_to(store: GrantReader, party_id: str) -> Grant:
    """Return what was granted to a party; empty when nothing was."""
    return _granted(store, party_id)


def list_grants(store: GrantReader) -> list[Grant]:
    """Return every grant, by party id."""
    return [Grant.decode(row.document) for row in pages(store, GRANTS, "")]


def note_use(store: GrantWriter, job: str, peer: Address, datasets: Collection[object], at: float) -> None:
    """Count a job that was taken; the same twice counts once. A rerun is another: ``job`` is then ``JOB#VERSION``."""
    for dataset in {"", *(str(one) for one in datasets)}:
        prefix = use_prefix(peer, dataset)
        old = [row.key for row in pages(store, USES, prefix) if row.key < f"{prefix}{moment(at - KEPT_S)}"]
        for key in old:
            store.delete_document(USES, key)
        store.put_document(USES, f"{prefix}{moment(at)}|{job}", b"")


def _granted(store: GrantReader, party_id: str) -> Grant:
    raw = store.document(GRANTS, party_id)
    return Grant(party_id=party_id) if raw is None else Grant.decode(raw)


def pages(store: GrantReader, collection: str, prefix: str) -> Iterator[DocumentRow]:
    """Yield every document of a collection whose key begins with ``prefix``."""
    offset = 0
    while page := store.documents(collection, prefix, _PAGE, offset):
        yield from page
        offset += len(page)


def use_prefix(peer: Address, dataset: str) -> str:
    """Return the key's part before the time; a digest, for a data set's name may hold anything."""
    return f"{peer}|{hashlib.sha256(dataset.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}|"


def moment(at: float) -> str:
    """Return a time as keys hold it: in order."""
    return f"{max(0, int(at * 1000)):015d}"
