"""What this organisation lets jobs do: every job of a peer is judged before anything of ours is touched.

Default deny. A peer knows data sets by the names that the policy gives out, and a job that names anything else gets one
constant answer, whether there is such a table or not; the reason is for the owner's log. Components that exchange
nothing (they declare no algorithm) need no permission of their own. Several rules may stand behind one job, one for
each data set; its floors are then the highest of them, and it waits for a person if one of them says so. A job that
goes on from an earlier one uses the data sets of that one too, and only who was in an earlier job may go on from it.

Jobs that this organisation submits itself are accepted, under the floors of a rule with ``peers = ["self"]`` if there
is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from partyd.components import NAMES
from partyd.components.base import Component
from partyd.components.limits import NO_LIMITS, Limits
from partyd.dag.dag import JobSpec
from partyd.errors import ConfigError
from partyd.governance.datasets import needs_of, tasks_of
from partyd.governance.floors import below, merged, merges
from partyd.governance.grants import Grant
from partyd.governance.policy_rules import ANY, Allow, DatasetName, read_policy
from partyd.types import ARBITER, HOST, Address

__all__ = ["Allow", "DatasetName", "History", "Limits", "Policy", "PolicyFile", "Verdict", "VerdictKind"]

"""Its name in the directory ``conf``."""
DAY_S = 86_400.0


class VerdictKind(StrEnum):
    """What becomes of a job here."""

    ACCEPT = "accept"
    PARK = "park"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Verdict:
    """The answer: ``code`` and ``cause`` may be told to peers, ``detail`` is for the owner alone."""

    kind: VerdictKind
    code: str = ""
    cause: str = ""
    detail: str = ""
    limits: Limits = NO_LIMITS
    datasets: tuple[DatasetName, ...] = ()
    """Our data sets in the job, as the job names them; `grants.note_use` wants them when the job is taken."""


class History(Protocol):
    """What the store remembers of earlier jobs; `grants.StoredHistory` is the real one."""

    def jobs_of(self, peer: Address, dataset: str, since: float) -> int:
        """Return how many jobs of ``peer`` with our ``dataset`` were taken since; "" counts all of its jobs."""

    def spec_of(self, job: str) -> JobSpec | None:
        """Return an earlier job, None when it is unknown here."""

    def model_spec(self, model_id: str, model_version: str) -> JobSpec | None:
        """Return the job that trained a model of ours, None when it is unknown here."""


@dataclass(frozen=True)
class Policy:
    """The rules of one daemon; pure."""

    rules: tuple[Allow, ...] = ()
    aliases: Mapping[DatasetName, DatasetName] = field(default_factory=dict)
    where: str = "policy.toml"
    is_open: bool = False
    """In a development federation: everybody may do everything."""

    @classmethod
    def load(cls, path: Path, *, standalone: bool = False) -> Policy:
        """Read a policy; raises ConfigError. Without a file peers may do nothing, in a standalone federation all."""
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return cls(where=str(path), is_open=standalone)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}; check its owner and mode") from error
        return cls.parse(raw, path)

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> Policy:
        """Return the policy in a file's bytes; raises ConfigError naming file, line, key and mend."""
        document = read_policy(raw, path, NAMES)
        return cls(document.allow, {entry.alias: entry.table for entry in document.dataset}, str(path))

    def with_grants(self, grants: Collection[Grant]) -> Policy:
        """Return the policy with what was granted party by party as further rules, after those of the file."""
        return replace(self, rules=(*self.rules, *(_rule_of(grant) for grant in grants)))

    def resolve(self, name: DatasetName) -> DatasetName:
        """Return the table that a data set's name in a job stands for."""
        return self.aliases.get(name, name)

    def opens(self, rule: Allow, dataset: DatasetName | None, components: Sequence[str]) -> bool:
        """Return whether a rule opens a data set (None: work without data) in all of these components."""
        if not all(rule.opens_component(name) for name in components):
            return False
        # a table that has an alias is known outside by that name alone, unless a rule names the table itself
        by_any = ANY in rule.datasets and dataset not in set(self.aliases.values()) - set(self.aliases)
        return dataset is None or dataset in rule.datasets or by_any

    def judge(
        self,
        spec: JobSpec,
        me: Address,
        initiator: Address,
        components: Mapping[str, Component],
        history: History,
        now: float,
    ) -> Verdict:
        """Return whether this party takes part in a job that `read_dag` has checked; ``now`` is Unix seconds."""
        return _Case(self, spec, me, initiator, components, history, now).verdict()


@dataclass
class PolicyFile:
    """The policy as it stands in the file now: read again whenever the file has changed."""

    path: Path
    standalone: bool = False
    _stamp: tuple[int, int, int] | None = None
    _policy: Policy | None = None

    def current(self) -> Policy:
        """Return the policy; raises ConfigError. It reads a file: call it from a thread."""
        stamp = self._look()
        if self._policy is None or stamp != self._stamp:
            self._policy = Policy.load(self.path, standalone=self.standalone)
            self._stamp = stamp
        return self._policy

    def judge(
        self,
        spec: JobSpec,
        me: Address,
        initiator: Address,
        components: Mapping[str, Component],
        history: History,
        now: float,
        grants: Collection[Grant] = (),
    ) -> Verdict:
        """Judge by the present file and grants; while the file cannot be read, every job is refused."""
        try:
            policy = self.current().with_grants(grants)
        except ConfigError as error:
            is_own = initiator.party_id == me.party_id
            cause = str(error) if is_own else f"{me} cannot take jobs now; ask its owner"
            return Verdict(VerdictKind.REFUSE, "policy_unreadable", cause, str(error))
        return policy.judge(spec, me, initiator, components, history, now)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino)


class _Refused(Exception):
    """Ends a judgement: ``code`` and ``cause`` for the peer, ``detail`` for the owner."""

    def __init__(self, code: str, cause: str, detail: str = "") -> None:
        super().__init__(cause)
        self.verdict = Verdict(VerdictKind.REFUSE, code, cause, detail or cause)


@dataclass(frozen=True)
class _Case:
    """One job before the policy."""

    policy: Policy
    spec: JobSpec
    me: Address
    initiator: Address
    components: Mapping[str, Component]
    history: History
    now: float

    def verdict(self) -> Verdict:
        """Return the judgement."""
        is_own = self.initiator.party_id == self.me.party_id
        named = needs_of(self.spec, self.me, self.components).tables
        if self.policy.is_open:
            return Verdict(VerdictKind.ACCEPT, datasets=named)
        try:
            datasets = named if is_own else self._all_tables(self.spec, frozenset())
            rules = {dataset: self._rule(dataset, is_own=is_own) for dataset in datasets or (None,)}
            chosen = {dataset: rule for dataset, rule in rules.items() if rule is not None}
            self._insist(chosen)
            limits = self._limits(list(chosen.values()))
            self._insist_on_floors(limits)
        except _Refused as refusal:
            return refusal.verdict
        if any(rule.approve == "manual" for rule in chosen.values()):
            cause = f"{self.me} takes this job only when a person there has approved it"
            return Verdict(VerdictKind.PARK, "approval", cause, limits=limits, datasets=datasets)
        return Verdict(VerdictKind.ACCEPT, limits=limits, datasets=datasets)

    def _all_tables(self, spec: JobSpec, seen: frozenset[str]) -> tuple[DatasetName, ...]:
        """Return the data sets of a job and of the jobs it goes on from."""
        needs = needs_of(spec, self.me, self.components)
        tables = set(needs.tables)
        for model_id, model_version in needs.models:
            self._insist_on_part(self.history.model_spec(model_id, model_version), f"model {model_id}:{model_version}")
        for job in set(needs.jobs) - seen:
            earlier = self._insist_on_part(self.history.spec_of(job), f"job {job}")
            tables |= set(self._all_tables(earlier, seen | {job}))
        return tuple(sorted(tables))

    def _insist_on_part(self, earlier: JobSpec | None, what: str) -> JobSpec:
        if earlier is None or self.initiator not in earlier.dag.addresses():
            raise self._closed(f"it goes on from {what[:300]}, in which {self.initiator} had no part here")
        return earlier

    def _rule(self, dataset: DatasetName | None, *, is_own: bool) -> Allow | None:
        """Return the first rule that fits; None for a job of our own about which no rule says anything."""
        others = [address for address in self.spec.dag.addresses() if address != self.me]
        names = self._exchanging()
        wanted = sorted({self.spec.dag.tasks[name].component_ref for name in names})
        for rule in self.policy.rules:
            is_meant = rule.is_for(self.initiator, self.me) and rule.admits(others, self.me)
            if is_meant and self.policy.opens(rule, dataset, wanted):
                return rule
        if is_own:
            return None
        what = f"the data set {dataset}" if dataset else "work without data"
        beside = ", ".join(str(other) for other in others if other != self.initiator)
        raise self._closed(
            f"no rule of {self.policy.where} opens {what} in {', '.join(wanted) or 'any component'} to {self.initiator}"
            f"{beside and f' beside {beside}'}, this party being {self.me.role.label}; see: partyd policy allow --help"
        )

    def _closed(self, detail: str) -> _Refused:
        """Return the one answer to everything that is not open: it tells nothing of what there is."""
        me, peer = self.me, self.initiator
        cause = f"the policy of {me} does not open to {peer} what this job asks for; ask the owner of {me}"
        return _Refused("policy_denied", cause, detail)

    def _insist(self, chosen: Mapping[DatasetName | None, Allow]) -> None:
        for dataset, rule in chosen.items():
            if rule.independent_arbiter and self._arbiter_is_beside():
                raise _Refused(
                    "policy_arbiter",
                    f"the arbiter of this job belongs to another party of it, which could then open what {self.me} "
                    "encrypts; name an arbiter of a third organisation",
                )
            most = rule.max_jobs_per_day
            if most is not None and self._taken_today(dataset) >= most:
                about = f" with the data set {dataset}" if dataset else ""
                raise _Refused(
                    "policy_quota",
                    f"{self.me} takes {most} jobs a day of {self.initiator}{about}; try again after 24 hours",
                )

    def _taken_today(self, dataset: DatasetName | None) -> int:
        return self.history.jobs_of(self.initiator, str(dataset or ""), self.now - DAY_S)

    def _limits(self, rules: Sequence[Allow]) -> Limits:
        """Return the highest floors of the rules; where hosts' halves of a model are merged, that for ours, too."""
        limits = merged([rule.limits for rule in rules])
        if not rules or self.me.role is not HOST or not merges(self.spec.dag, self.me, self.components):
            return limits
        return limits.model_copy(update={"models_apart": max(rule.models_apart for rule in rules)})

    def _insist_on_floors(self, limits: Limits) -> None:
        found = list(below(self.spec.dag, self.me, self.components, limits))
        if found:
            raise _Refused("policy_floor", "; ".join(found)[:2000])

    def _exchanging(self) -> list[str]:
        """Return the tasks of ours in which anything is exchanged."""
        mine = tasks_of(self.spec.dag, self.me, self.components)
        return [name for name in mine if self.components[self.spec.dag.tasks[name].component_ref].algorithms]

    def _arbiter_is_beside(self) -> bool:
        """Return whether a task has an arbiter of another party that brings data: together they open what we send."""
        if self.me.role is ARBITER:
            return False
        dag = self.spec.dag
        for name in self._exchanging():
            component = self.components[dag.tasks[name].component_ref]
            present = [address for address in dag.addresses() if dag.takes_part(name, address, component)]
            arbiters = {address.party_id for address in present if address.role is ARBITER}
            bringing = {address.party_id for address in present if address.role is not ARBITER}
            if (arbiters - {self.me.party_id}) & bringing:
                return True
        return False


def _rule_of(grant: Grant) -> Allow:
    peers = tuple(f"{grant.party_id}/{label}" for label in ("guest", "host", "arbiter"))
    return Allow(peers=peers, components=tuple(sorted(grant.components)), datasets=tuple(grant.datasets))
