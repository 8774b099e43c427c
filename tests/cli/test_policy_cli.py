"""``partyd policy``: rules are added and taken away, and a file that people keep is never written over."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from partyd.components import NAMES
from partyd.errors import ConfigError
from partyd.governance.policy import Policy
from partyd.governance.policy_rules import Alias, Allow, DatasetName, PolicyDocument, read_policy
from partyd.governance.policy_text import is_kept, policy_example, render
from tests.cli.owner import Answer, Partyd

Run = Callable[..., Answer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "host" / "conf" / "policy.toml"


@pytest.fixture
def policy(partyd: Partyd, tmp_path: Path) -> Run:
    """Return what runs ``partyd policy`` for host 10000."""
    about = ("--role", "host", "--party-id", "10000", "--state-dir", tmp_path / "host")
    assert partyd("init", *about).status == 0
    config = tmp_path / "host" / "conf" / "partyd.toml"

    def run(*arguments: str | Path) -> Answer:
        return partyd("--config", config, "--state-dir", tmp_path / "host", "policy", *arguments)

    return run


def rules(path: Path) -> tuple[Allow, ...]:
    return Policy.load(path).rules


def test_nothing_is_open_at_first(policy: Run, path: Path) -> None:
    path.unlink(missing_ok=True)
    answer = policy("show")
    assert answer.status == 0
    assert "jobs of other parties are refused" in answer.out
    answer = policy("check")
    assert answer.status == 78
    assert "does not exist" in answer.err


def test_allow_show_revoke(policy: Run, path: Path) -> None:
    opened = policy(
        "allow", "guest-9999", "--component", "psi", "--component", "coordinated_lr", "--dataset", "credit/customers",
        "--table", "internal/crm", "--min-rows", "1000", "--min-intersection", "100", "--max-jobs-per-day", "5",
        "--approve", "manual", "--as", "host", "--partner", "arbiter-7",
    )  # fmt: skip
    assert opened.status == 0, opened.err
    expected = (
        "guest-9999: credit/customers in psi, coordinated_lr; asks for at least 1000 rows in a table, 100 ids in "
        "common; where we are host; beside arbiter-7 alone; at most 5 jobs a day; after a person's approval"
    )
    assert expected in opened.out
    shown = policy("show").out
    assert expected in shown
    assert "credit/customers is the table internal/crm" in shown
    assert "everything else is refused" in shown
    assert "good, 1 rules and 1 aliases" in policy("check").out
    assert is_kept(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    again = policy("allow", "guest-9999", "--component", "psi")
    assert again.status == 0
    assert len(rules(path)) == 2
    closed = policy("revoke", "guest-9999", "--dataset", "credit/customers")
    assert closed.status == 0, closed.err
    assert [rule.components for rule in rules(path)] == [("psi",)]
    assert policy("revoke", "guest-9999").status == 0
    assert rules(path) == ()
    assert Policy.load(path).aliases == {DatasetName("credit", "customers"): DatasetName("internal", "crm")}


def test_the_same_rule_is_not_added_twice(policy: Run, path: Path) -> None:
    arguments = ("allow", "9999", "--component", "psi", "--dataset", "a/b", "--table", "c/d")
    assert policy(*arguments).status == 0
    before = path.read_text()
    answer = policy(*arguments)
    assert "has that rule already" in answer.out
    assert path.read_text() == before
    other = policy("allow", "9998", "--component", "psi", "--dataset", "a/b", "--table", "c/e")
    assert other.status == 78
    assert "stands for another table already" in other.err


def test_a_peer_leaves_a_shared_rule_alone(policy: Run, path: Path) -> None:
    document = PolicyDocument(
        allow=(
            Allow(peers=("guest-9999", "guest-9998"), components=("psi",), datasets=(DatasetName("a", "b"),)),
            Allow(peers=("*",), components=("psi",)),
        )
    )
    path.write_text(render(document))
    answer = policy("revoke", "guest-9999")
    assert answer.status == 0
    assert "a rule for everybody" in answer.out
    assert rules(path)[0].peers == ("guest-9998",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("allow", "9999/teapot"), "command line, peer"),
        (("allow", "guest-9999", "--component", "pzi"), "did you mean 'psi'?"),
        (("allow", "guest-9999", "--dataset", "nonsense"), "command line, dataset"),
        (("allow", "guest-9999", "--min-rows", "-3"), "command line, min-row"),
        (("allow", "guest-9999", "--table", "a/b"), "with one --dataset"),
        (("allow", "guest-9999", "--dataset", "a/b", "--table", "c"), "write namespace/name"),
        (("revoke", "guest-9999"), "no rule names guest-9999"),
    ],
)
def test_wrong_command_lines(policy: Run, path: Path, arguments: tuple[str, ...], said: str) -> None:
    path.unlink(missing_ok=True)
    answer = policy(*arguments)
    assert answer.status == 78
    assert said in answer.err
    assert not path.exists()


def test_a_file_that_people_keep_is_never_written(policy: Run, path: Path) -> None:
    mine = "# my own words\n[[allow]]\npeers = ['guest-9999']\ncomponents = ['psi']\n"
    path.write_text(mine)
    allowed = policy("allow", "guest-9998", "--component", "psi", "--dataset", "a/b", "--table", "c/d")
    assert allowed.status == 78
    assert "is kept by hand and was not changed: add these lines to it" in allowed.err
    assert tomllib.loads(mine + allowed.out)["allow"][1]["peers"] == ["guest-9998"]
    revoked = policy("revoke", "guest-9999")
    assert revoked.status == 78
    assert "take this peer out of these rules" in revoked.err
    assert path.read_text() == mine


def test_a_broken_file_is_named_with_its_line(policy: Run, path: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text("[[allow]]\npeers = ['*']\ncomponents = ['psi']\nmin_rws = 3\n")
    answer = policy("check", "--file", draft)
    assert answer.status == 78
    assert f"{draft}, line 4, allow[1].min_rws: no such key; did you mean 'min_rows'?" in answer.err
    path.write_text(draft.read_text())
    assert policy("allow", "9999", "--component", "psi").status == 78


def test_every_help_has_an_example(policy: Run) -> None:
    for command in ("show", "check", "allow", "revoke"):
        assert "Example" in policy(command, "--help").out


# -- the text


def test_the_example_opens_nothing_and_its_rules_are_real() -> None:
    text = policy_example()
    assert read_policy(text.encode(), Path("p"), NAMES) == PolicyDocument()
    assert is_kept(text)
    body = text.split("# use it unless a rule names it.")[1]
    written = "\n".join(line.removeprefix("# ").removeprefix("#") for line in body.splitlines())
    document = read_policy(written.encode(), Path("p"), NAMES)
    assert len(document.allow) == len(document.dataset) == 1
    explained = {line.split(" =")[0] for line in written.splitlines() if " = " in line}
    assert explained == {*Allow.model_fields, *Alias.model_fields}


def test_what_is_written_reads_back() -> None:
    document = PolicyDocument(
        dataset=(Alias(alias=DatasetName("a/b", 'c"\\'), table=DatasetName("ü", "d")),),
        allow=(
            Allow(peers=("*", "self"), components=("*",), datasets=("*", DatasetName("a/b", "c")), key_bits=3072),
            Allow(peers=("9999",), components=(), independent_arbiter=False, roles=("arbiter",), approve="manual"),
        ),
    )
    assert read_policy(render(document).encode(), Path("p"), NAMES) == document


def test_a_name_that_toml_cannot_hold_is_refused() -> None:
    document = PolicyDocument(dataset=(Alias(alias=DatasetName("a", "\x7f"), table=DatasetName("c", "d")),))
    with pytest.raises(ConfigError, match="TOML"):
        render(document)
