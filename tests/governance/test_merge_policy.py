"""Halves of a model are given away only where a host's policy says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from partyd.components import COMPONENTS, NAMES
from partyd.components.limits import Limits
from partyd.dag.dag import JobSpec
from partyd.errors import ConfigError
from partyd.governance.floors import merged
from partyd.governance.grants import Grant
from partyd.governance.policy import Policy, VerdictKind
from partyd.governance.policy_rules import Allow, PolicyDocument, read_policy
from partyd.governance.policy_text import render
from partyd.jobs.contract_words import floors_in_words
from partyd.types import Address
from tests.governance.test_policy import CUSTOMERS, RULE, Past, job, judged

GUEST, HOST = Address.parse("9999/guest"), Address.parse("10000/host")
OPEN = RULE.replace('"coordinated_lr"]', '"coordinated_lr", "model_merge"]')


def merging(names: str | None = None) -> JobSpec:
    """Return a job that trains and merges what it has trained."""
    document = job().model_dump(mode="json")
    source = {"task_output_artifact": {"producer_task": "lr_0", "output_artifact_key": "output_model"}}
    parties = [{"role": "guest", "party_id": ["9999"]}, {"role": "host", "party_id": ["10000"]}]
    task: dict[str, Any] = {
        "component_ref": "model_merge",
        "inputs": {"model": {"input_model": source}},
        "parties": parties,
        "parameters": {"host_names": names} if names else {},
    }
    document["dag"]["tasks"]["merge_0"] = task
    return JobSpec.model_validate(document)


@pytest.mark.parametrize(
    ("said", "names", "is_open"),
    [
        ("", None, False),
        ('merge_models = "no"', None, False),
        ('merge_models = "anonymous"', None, True),
        ('merge_models = "anonymous"', "real", False),
        ('merge_models = "named"', None, True),
        ('merge_models = "named"', "real", True),
    ],
)
def test_a_hosts_rule_decides_and_says_no_by_default(said: str, names: str | None, is_open: bool) -> None:
    verdict = judged(OPEN + said, merging(names))
    if is_open:
        assert (verdict.kind, verdict.limits) == (
            VerdictKind.ACCEPT,
            Limits(models_apart=1 if "anonymous" in said else 0),
        )
    else:
        assert (verdict.kind, verdict.code) == (VerdictKind.REFUSE, "policy_floor")
        assert "dag.tasks.merge_0: 10000/host does not let its half of a model be merged so" in verdict.cause
        assert ("host_names" in verdict.cause) is ("anonymous" in said)


def test_other_jobs_hear_nothing_of_it_and_who_gives_nothing_decides_nothing() -> None:
    assert judged(OPEN, job()).limits == Limits()
    own = OPEN.replace("guest-9999", "self").replace("credit/customers", "mine/g")
    assert judged(own, merging("real"), me=GUEST, by=GUEST).limits == Limits()
    assert judged(RULE + 'merge_models = "named"', merging()).code == "policy_denied"


def test_a_grant_and_a_rule_for_everything_open_no_merging() -> None:
    verdict = judged('[[allow]]\npeers = ["*"]\ncomponents = ["*"]\ndatasets = ["*"]', merging())
    assert verdict.code == "policy_floor"
    components = frozenset({"psi", "coordinated_lr", "model_merge"})
    granted = Policy().with_grants([Grant(party_id="9999", components=components, datasets=frozenset({CUSTOMERS}))])
    assert granted.judge(merging(), HOST, GUEST, COMPONENTS, Past(), 0.0).code == "policy_floor"
    assert granted.judge(job(), HOST, GUEST, COMPONENTS, Past(), 0.0).kind is VerdictKind.ACCEPT


def test_the_strictest_host_decides_for_all_and_the_contract_says_so() -> None:
    assert merged([Limits(), Limits(models_apart=2), Limits(models_apart=1)]) == Limits(models_apart=2)
    assert floors_in_words(Limits(models_apart=2)) == "asks for no floors, lets no models be merged"
    assert "anonymous names" in floors_in_words(Limits(min_rows=3, models_apart=1))


def test_the_file_holds_the_word_and_refuses_another() -> None:
    rule = Allow(peers=("guest-9999",), components=("model_merge",), merge_models="anonymous")
    text = render(PolicyDocument(allow=(rule,)))
    assert 'merge_models = "anonymous"' in text
    assert read_policy(text.encode(), Path("policy.toml"), NAMES).allow == (rule,)
    with pytest.raises(ConfigError, match="merge_models"):
        read_policy((OPEN + "merge_models = true").encode(), Path("policy.toml"), NAMES)
