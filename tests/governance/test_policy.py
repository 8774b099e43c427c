"""The policy: default deny, aliases, floors, quotas, and answers that tell a stranger nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from partyd.components import COMPONENTS, NAMES
from partyd.components.limits import Limits
from partyd.dag.dag import JobSpec
from partyd.errors import ConfigError
from partyd.governance.datasets import needs_of, resolved
from partyd.governance.grants import Grant
from partyd.governance.policy import DatasetName, Policy, PolicyFile, Verdict, VerdictKind
from partyd.governance.policy_rules import PeerPattern, read_policy
from partyd.types import Address

GUEST, HOST, ARBITER = (Address.parse(text) for text in ("9999/guest", "10000/host", "7/arbiter"))
NOW = 1_000_000.0
CUSTOMERS = DatasetName("credit", "customers")
RULE = """
[[allow]]
peers = ["guest-9999"]
components = ["psi", "coordinated_lr"]
datasets = ["credit/customers"]
"""


@dataclass
class Past:
    """What happened before."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    jobs: dict[str, JobSpec] = field(default_factory=dict)
    models: dict[tuple[str, str], JobSpec] = field(default_factory=dict)
    asked: list[float] = field(default_factory=list)

    def jobs_of(self, peer: Address, dataset: str, since: float) -> int:
        self.asked.append(since)
        return self.counts.get((str(peer), dataset), 0)

    def spec_of(self, job: str) -> JobSpec | None:
        return self.jobs.get(job)

    def model_spec(self, model_id: str, model_version: str) -> JobSpec | None:
        return self.models.get((model_id, model_version))


def source(task: str, key: str = "output_data") -> dict[str, Any]:
    return {"task_output_artifact": {"producer_task": task, "output_artifact_key": key}}


def job(
    host_table: str = "credit/customers",
    *,
    lr: dict[str, Any] | None = None,
    arbiter: str = "7",
    guest: str = "9999",
    conf: dict[str, Any] | None = None,
) -> JobSpec:
    """A job that intersects and trains; ``lr`` gives the parameters of the training."""
    namespace, _, name = host_table.partition("/")
    reader = {"reader_0": {"parameters": {"namespace": "mine", "name": "g"}}}
    hosts = {"reader_0": {"parameters": {"namespace": namespace, "name": name}}}
    dag = {
        "parties": [
            {"role": "guest", "party_id": [guest]},
            {"role": "host", "party_id": ["10000"]},
            {"role": "arbiter", "party_id": [arbiter]},
        ],
        "tasks": {
            "reader_0": {"component_ref": "reader"},
            "psi_0": {"component_ref": "psi", "inputs": {"data": {"input_data": source("reader_0")}}},
            "lr_0": {
                "component_ref": "coordinated_lr",
                "parameters": lr or {},
                "inputs": {"data": {"train_data": source("psi_0")}},
            },
            "evaluation_0": {"component_ref": "evaluation", "inputs": {"data": {"input_datas": source("lr_0")}}},
        },
        "party_tasks": {
            "guest": {"parties": [{"role": "guest", "party_id": [guest]}], "tasks": reader},
            "host": {"parties": [{"role": "host", "party_id": ["10000"]}], "tasks": hosts},
        },
        "conf": conf or {},
    }
    return JobSpec.model_validate({"dag": dag})


def policy(text: str) -> Policy:
    return Policy.parse(text.encode(), Path("policy.toml"))


def judged(
    rules: str | Policy, spec: JobSpec, me: Address = HOST, by: Address = GUEST, past: Past | None = None
) -> Verdict:
    chosen = policy(rules) if isinstance(rules, str) else rules
    return chosen.judge(spec, me, by, COMPONENTS, past or Past(), NOW)


# -- who may what


def test_without_a_file_peers_may_do_nothing_and_the_owner_everything(tmp_path: Path) -> None:
    nothing = Policy.load(tmp_path / "policy.toml")
    assert judged(nothing, job()).kind is VerdictKind.REFUSE
    own = nothing.judge(job(), GUEST, GUEST, COMPONENTS, Past(), NOW)
    assert own == Verdict(VerdictKind.ACCEPT, datasets=(DatasetName("mine", "g"),))


def test_a_development_federation_is_open_until_somebody_writes_a_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    everything = Policy.load(path, standalone=True)
    assert judged(everything, job("any/thing", arbiter="9999")).kind is VerdictKind.ACCEPT
    path.write_text("")
    assert judged(Policy.load(path, standalone=True), job()).kind is VerdictKind.REFUSE


def test_a_rule_opens_its_data_set_to_its_peer_in_its_components() -> None:
    assert judged(RULE, job()) == Verdict(VerdictKind.ACCEPT, datasets=(CUSTOMERS,))


@pytest.mark.parametrize(
    "change",
    [
        ('"guest-9999"', '"guest-9998"'),
        ('"guest-9999"', '"host-9999"'),
        ('"guest-9999"', '"self"'),
        ('"credit/customers"', '"credit/others"'),
        ('"psi", "coordinated_lr"', '"psi"'),
        ('"psi", "coordinated_lr"', '"coordinated_lr", "evaluation"'),
        ('datasets = ["credit/customers"]', ""),
        ("[[allow]]", '[[allow]]\nroles = ["guest", "arbiter"]'),
        ("[[allow]]", '[[allow]]\npartners = ["arbiter-8"]'),
    ],
)
def test_what_no_rule_opens_is_closed(change: tuple[str, str]) -> None:
    verdict = judged(RULE.replace(*change), job())
    assert (verdict.kind, verdict.code) == (VerdictKind.REFUSE, "policy_denied")
    assert "credit/customers" in verdict.detail
    assert "partyd policy allow" in verdict.detail


@pytest.mark.parametrize("peer", ["9999", "9999/guest", "*"])
@pytest.mark.parametrize("component", ['"psi", "coordinated_lr"', '"*"'])
@pytest.mark.parametrize("dataset", ["*", "credit/customers"])
def test_rules_may_be_wide(peer: str, component: str, dataset: str) -> None:
    text = f'[[allow]]\npeers = ["{peer}"]\ncomponents = [{component}]\ndatasets = ["{dataset}"]'
    assert judged(text, job()).kind is VerdictKind.ACCEPT


def test_a_stranger_gets_one_answer_whether_there_is_such_a_table_or_not() -> None:
    answers = {
        (verdict.code, verdict.cause)
        for verdict in (
            judged(RULE, job("credit/no_such_table")),
            judged(RULE, job("internal/crm")),
            judged(RULE, job(), by=Address.parse("4711/guest")),
            judged(RULE.replace('"psi", ', ""), job()),
            judged("", job()),
        )
    }
    assert answers == {
        (
            "policy_denied",
            "the policy of 10000/host does not open to 9999/guest what this job asks for; ask the owner of 10000/host",
        ),
        (
            "policy_denied",
            "the policy of 10000/host does not open to 4711/guest what this job asks for; ask the owner of 10000/host",
        ),
    }


def test_each_data_set_finds_its_own_rule_and_the_highest_floors_count() -> None:
    two = job()
    tasks = dict(two.dag.tasks)
    tasks["reader_1"] = tasks["reader_0"].model_copy(update={"parameters": {"namespace": "credit", "name": "cards"}})
    spec = two.model_copy(update={"dag": two.dag.model_copy(update={"tasks": tasks})})
    rules = RULE + "min_rows = 10\nmin_intersection = 7\n"
    assert judged(rules, spec).kind is VerdictKind.REFUSE
    rules += RULE.replace("customers", "cards") + 'min_rows = 5\nmin_batch = 64\napprove = "manual"\n'
    verdict = judged(rules, spec)
    assert verdict.kind is VerdictKind.PARK
    assert verdict.limits == Limits(min_rows=10, min_intersection=7, min_batch=64)
    assert verdict.datasets == (DatasetName("credit", "cards"), CUSTOMERS)


def test_the_first_rule_that_fits_decides() -> None:
    assert judged(RULE + 'approve = "manual"\n' + RULE, job()).kind is VerdictKind.PARK
    assert judged(RULE + RULE + 'approve = "manual"\n', job()).kind is VerdictKind.ACCEPT


def test_work_without_data_needs_a_rule_too() -> None:
    text = '[[allow]]\npeers = ["*"]\nroles = ["arbiter"]\ncomponents = ["coordinated_lr"]'
    assert judged(text, job(), me=ARBITER) == Verdict(VerdictKind.ACCEPT)
    assert judged(text.replace("coordinated_lr", "psi"), job(), me=ARBITER).code == "policy_denied"
    assert judged("", job(), me=ARBITER).code == "policy_denied"


# -- aliases


def test_an_alias_hides_the_tables_own_name() -> None:
    text = """
    [[dataset]]
    alias = {namespace = "credit", name = "customers"}
    table = "internal/crm"
    [[allow]]
    peers = ["*"]
    components = ["*"]
    datasets = ["*"]
    """
    rules = policy(text)
    assert judged(rules, job("credit/customers")).kind is VerdictKind.ACCEPT
    assert judged(rules, job("internal/crm")).code == "policy_denied"
    assert rules.resolve(CUSTOMERS) == DatasetName("internal", "crm")
    assert rules.resolve(DatasetName("x", "y")) == DatasetName("x", "y")
    assert resolved({"namespace": "credit", "name": "customers"}, rules.resolve) == {
        "namespace": "internal",
        "name": "crm",
    }
    assert resolved({"batch_size": 3}, rules.resolve) == {"batch_size": 3}
    named = policy(text.replace('datasets = ["*"]', 'datasets = ["internal/crm"]'))
    assert judged(named, job("internal/crm")).kind is VerdictKind.ACCEPT


# -- floors, quotas, arbiters, approval


@pytest.mark.parametrize(
    ("lr", "floor", "path"),
    [
        ({"batch_size": 32}, "min_batch = 64", "dag.tasks.lr_0.parameters.batch_size: 32 is below the floor"),
        ({}, "key_bits = 3072", "dag.tasks.lr_0.parameters.he_param.key_length: 2048 bits are below the floor"),
    ],
)
def test_parameters_below_a_floor_are_refused_with_their_path(lr: dict[str, Any], floor: str, path: str) -> None:
    verdict = judged(RULE + floor, job(lr=lr))
    assert (verdict.kind, verdict.code) == (VerdictKind.REFUSE, "policy_floor")
    assert path in verdict.cause
    assert "or more" in verdict.cause


def test_parameters_at_the_floor_pass_and_short_keys_count_as_lifted() -> None:
    floors = RULE + "min_batch = 64\nkey_bits = 2048\n"
    lifted = {"batch_size": 64, "he_param": {"key_length": 1024}}
    assert judged(floors, job(lr=lifted)).limits == Limits(min_batch=64, key_bits=2048)
    assert judged(floors, job(lr={"batch_size": None})).kind is VerdictKind.ACCEPT


def test_what_another_party_is_told_to_do_counts_too() -> None:
    spec = job()
    document = spec.model_dump(mode="json")
    document["dag"]["party_tasks"]["guest"]["tasks"]["lr_0"] = {"parameters": {"batch_size": 10}}
    verdict = judged(RULE + "min_batch = 64", JobSpec.model_validate(document))
    assert "lr_0.parameters.batch_size: 10" in verdict.cause


def test_a_quota_counts_the_last_day() -> None:
    past = Past({("9999/guest", "credit/customers"): 2})
    assert judged(RULE + "max_jobs_per_day = 3", job(), past=past).kind is VerdictKind.ACCEPT
    verdict = judged(RULE + "max_jobs_per_day = 2", job(), past=past)
    assert (verdict.kind, verdict.code) == (VerdictKind.REFUSE, "policy_quota")
    assert "takes 2 jobs a day of 9999/guest with the data set credit/customers" in verdict.cause
    assert past.asked == [NOW - 86_400, NOW - 86_400]


def test_an_arbiter_of_another_partys_house_is_refused_unless_the_rule_says_otherwise() -> None:
    verdict = judged(RULE, job(arbiter="9999"))
    assert (verdict.kind, verdict.code) == (VerdictKind.REFUSE, "policy_arbiter")
    assert judged(RULE + "independent_arbiter = false", job(arbiter="9999")).kind is VerdictKind.ACCEPT
    assert judged(RULE, job(arbiter="10000")).kind is VerdictKind.ACCEPT
    arbiter = '[[allow]]\npeers = ["*"]\ncomponents = ["*"]'
    assert judged(arbiter, job(arbiter="9999"), me=Address.parse("9999/arbiter"), by=HOST).kind is VerdictKind.ACCEPT


def test_our_own_jobs_are_bound_by_rules_for_self_alone() -> None:
    mine = RULE.replace("guest-9999", "self").replace("credit/customers", "mine/g")
    manual = mine + 'min_rows = 3\napprove = "manual"\n'
    verdict = judged(manual, job(), me=GUEST, by=GUEST)
    assert (verdict.kind, verdict.limits) == (VerdictKind.PARK, Limits(min_rows=3))
    assert judged(mine + "min_batch = 64", job(lr={"batch_size": 10}), me=GUEST, by=GUEST).code == "policy_floor"
    elsewhere = mine.replace("mine/g", "other/g") + "min_rows = 3\n"
    assert judged(elsewhere, job(), me=GUEST, by=GUEST) == Verdict(
        VerdictKind.ACCEPT, datasets=(DatasetName("mine", "g"),)
    )
    assert judged(
        '[[allow]]\npeers = ["*"]\ncomponents = ["*"]\ndatasets = ["*"]\nmin_rows = 9', job(), GUEST
    ).limits == (Limits())


# -- going on from earlier work


def test_going_on_from_a_job_uses_its_data_sets_and_needs_a_part_in_it() -> None:
    inheriting = job("credit/cards", conf={"inheritance": {"job_id": "j1", "task_list": ["psi_0"]}})
    rules = RULE.replace('"credit/customers"', '"credit/customers", "credit/cards"')
    with_it = Past(jobs={"j1": job()})
    assert judged(rules, inheriting, past=with_it).datasets == (DatasetName("credit", "cards"), CUSTOMERS)
    assert judged(RULE.replace("customers", "cards"), inheriting, past=with_it).code == "policy_denied"
    assert judged(rules, inheriting).code == "policy_denied"
    assert judged(rules, inheriting, past=Past(jobs={"j1": job(guest="4711")})).code == "policy_denied"


def test_jobs_that_inherit_from_each_other_in_a_circle_are_judged_all_the_same() -> None:
    circle = job(conf={"inheritance": {"job_id": "j1", "task_list": ["psi_0"]}})
    assert judged(RULE, circle, past=Past(jobs={"j1": circle})).kind is VerdictKind.ACCEPT


def test_a_model_is_for_those_who_trained_it() -> None:
    document = job().model_dump(mode="json")
    origin = {"model_warehouse": {"producer_task": "lr_0", "output_artifact_key": "output_model"}}
    document["dag"]["tasks"]["lr_0"]["inputs"] = {
        "model": {"input_model": origin},
        "data": {"test_data": source("psi_0")},
    }
    document["dag"]["conf"] = {"model_warehouse": {"model_id": "m", "model_version": "1"}}
    spec = JobSpec.model_validate(document)
    assert needs_of(spec, HOST, COMPONENTS).models == (("m", "1"),)
    assert judged(RULE, spec, past=Past(models={("m", "1"): job()})).kind is VerdictKind.ACCEPT
    assert judged(RULE, spec, past=Past(models={("m", "1"): job(guest="4711")})).code == "policy_denied"
    assert judged(RULE, spec).code == "policy_denied"


def test_tables_in_inputs_are_found_too() -> None:
    document = job().model_dump(mode="json")
    tables = {"namespace": "secret", "name": "t", "roles": ["host"]}
    document["dag"]["tasks"]["psi_0"]["inputs"] = {"data": {"input_data": {"data_warehouse": tables}}}
    spec = JobSpec.model_validate(document)
    assert judged(RULE, spec).code == "policy_denied"
    assert DatasetName("secret", "t") in needs_of(spec, HOST, COMPONENTS).tables
    assert DatasetName("secret", "t") not in needs_of(spec, GUEST, COMPONENTS).tables
    document["dag"]["tasks"]["psi_0"]["inputs"]["data"]["input_data"]["data_warehouse"] = {
        "job_id": "j7",
        "producer_task": "psi_0",
        "output_artifact_key": "output_data",
    }
    assert needs_of(JobSpec.model_validate(document), HOST, COMPONENTS).jobs == ("j7",)


# -- grants


def test_grants_open_components_and_data_sets_together() -> None:
    grants = [
        Grant(party_id="9999", components=frozenset({"psi", "coordinated_lr"}), datasets=frozenset({CUSTOMERS})),
        Grant(party_id="4711", components=frozenset({"*"})),
    ]
    opened = policy("").with_grants(grants)
    assert judged(opened, job()).kind is VerdictKind.ACCEPT
    assert judged(opened, job(guest="4711"), by=Address.parse("4711/guest")).code == "policy_denied"
    assert judged(policy("").with_grants(grants[1:]), job()).code == "policy_denied"


# -- the file


def test_patterns() -> None:
    assert PeerPattern.parse("guest-9999").matches(GUEST, HOST)
    assert not PeerPattern.parse("host-9999").matches(GUEST, HOST)
    assert PeerPattern.parse("my-bank").matches(Address.parse("my-bank/host"), HOST)
    assert PeerPattern.parse("self").matches(Address.parse("10000/guest"), HOST)
    assert not PeerPattern.parse("*").matches(Address.parse("10000/guest"), HOST)
    for wrong in ("guest-", "", "a b", "9999/teapot", "guest-a/b"):
        with pytest.raises(ValueError):
            PeerPattern.parse(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[allow]\n", "no valid TOML"),
        ("[[allow]]\npeers = []\ncomponents = ['psi']", "line 2, allow[1].peers"),
        ("[[allow]]\ncomponents = ['psi']", "line 1, allow[1].peers: Field required"),
        (
            "\n\n[[allow]]\npeers = ['*']\ncomponents = ['pzi']",
            "line 5, allow[1].components: no component 'pzi'; did you mean 'psi'",
        ),
        (
            "[[allow]]\npeers = ['*']\ncomponents = []\nmin_row = 3",
            "line 4, allow[1].min_row: no such key; did you mean 'min_rows'",
        ),
        ("[[alow]]\npeers = ['*']", "alow: no such key; did you mean 'allow'"),
        (
            "[[allow]]\npeers = ['*']\ncomponents = []\n[[allow]]\npeers = ['a b']\ncomponents = []",
            "line 5, allow[2].peers: 'a b' names no peer",
        ),
        ("[[allow]]\npeers = ['*']\ncomponents = []\ndatasets = ['x']", "line 4, allow[1].datasets[1]"),
        ("[[allow]]\npeers = ['*']\ncomponents = []\nmin_rows = -1", "line 4, allow[1].min_rows"),
        ("[[allow]]\npeers = ['*']\ncomponents = []\napprove = 'maybe'", "'auto' or 'manual'"),
        (
            "[[dataset]]\nalias = 'a/b'\ntable = 'c/d'\n[[dataset]]\nalias = 'a/b'\ntable = 'c/e'",
            "the alias a/b is given to two tables",
        ),
        ("[[dataset]]\nalias = 'a/b'\ntabel = 'c/d'", "did you mean 'table'"),
        ("[[dataset]]\nalias = {namespace = '', name = 'b'}\ntable = 'c/d'", "line 2, dataset[1].alias"),
    ],
)
def test_a_wrong_file_is_named_with_line_key_and_mend(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_policy(text.encode(), Path("/etc/policy.toml"), NAMES)
    assert "/etc/policy.toml" in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_is_no_text_or_too_large_is_refused() -> None:
    for raw in (b"\xff\xfe", b"#" * (2 << 20)):
        with pytest.raises(ConfigError, match=r"policy\.toml"):
            Policy.parse(raw, Path("policy.toml"))


def test_a_directory_in_the_files_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Policy.load(tmp_path)


def test_the_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    file = PolicyFile(path)
    assert file.judge(job(), HOST, GUEST, COMPONENTS, Past(), NOW).code == "policy_denied"
    path.write_text(RULE)
    assert file.judge(job(), HOST, GUEST, COMPONENTS, Past(), NOW).kind is VerdictKind.ACCEPT
    assert file.current() is file.current()
    path.write_text(RULE.replace("9999", "4711"))
    os.utime(path, ns=(1, 1))
    assert file.judge(job(), HOST, GUEST, COMPONENTS, Past(), NOW).code == "policy_denied"
    granted = [Grant(party_id="9999", components=frozenset({"*"}), datasets=frozenset({"*"}))]
    assert file.judge(job(), HOST, GUEST, COMPONENTS, Past(), NOW, granted).kind is VerdictKind.ACCEPT


def test_while_the_file_is_broken_nobody_gets_anything_and_the_owner_is_told_why(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[[allow]")
    file = PolicyFile(path)
    theirs = file.judge(job(), HOST, GUEST, COMPONENTS, Past(), NOW)
    assert (theirs.kind, theirs.code) == (VerdictKind.REFUSE, "policy_unreadable")
    assert "TOML" not in theirs.cause
    assert "TOML" in theirs.detail
    ours = file.judge(job(), GUEST, GUEST, COMPONENTS, Past(), NOW)
    assert "TOML" in ours.cause
