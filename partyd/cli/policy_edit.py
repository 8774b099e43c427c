"""What ``partyd policy`` does: read the policy file, say it in words, and write it anew where it is ours to write."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import ValidationError

from partyd.components import NAMES
from partyd.errors import ConfigError
from partyd.governance.policy import Policy
from partyd.governance.policy_rules import Alias, Allow, PeerPattern, PolicyDocument, read_policy
from partyd.governance.policy_text import alias_lines, is_kept, render, rule_lines
from partyd.jobs.contract_words import floors_in_words
from partyd.layout import write_private


def show(path: Path, *, standalone: bool) -> None:
    """Print the policy in words."""
    found = Policy.load(path, standalone=standalone)
    click.echo(f"{path}{'' if path.exists() else ' (not there yet)'}")
    for alias, table in found.aliases.items():
        click.echo(f"  {alias} is the table {table}")
    for number, rule in enumerate(found.rules, 1):
        click.echo(f"  {number}. {_in_words(rule)}")
    click.echo("everything else is refused" if found.rules else "jobs of other parties are refused: nothing is open")


def check(path: Path) -> None:
    """Read a file as the daemon does; raises ConfigError naming each mistake."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist; make one with: partyd policy allow --help")
    found = Policy.load(path)
    click.echo(f"{path}: good, {len(found.rules)} rules and {len(found.aliases)} aliases")


def allow(path: Path, peer: str, table: str | None, given: dict[str, object]) -> None:
    """Add one rule; raises ConfigError for a rule that cannot be one, or when the file is kept by hand."""
    rule = _rule(peer, given)
    aliases = _aliases(rule, table)
    text, document = _read(path)
    if rule in document.allow and set(aliases) <= set(document.dataset):
        click.echo(f"{path} has that rule already")
        return
    new = [entry for entry in aliases if entry not in document.dataset]
    for entry in new:
        if any(entry.alias == known.alias for known in document.dataset):
            raise ConfigError(f"{path}: {entry.alias} stands for another table already; see: partyd policy show")
    if text and not is_kept(text):
        _insist_on_hand(path, "add these lines to it", "\n\n".join([*map(alias_lines, new), rule_lines(rule)]))
    _write(path, PolicyDocument(dataset=(*document.dataset, *new), allow=(*document.allow, rule)))
    click.echo(f"open: {_in_words(rule)}")


def revoke(path: Path, peer: str, components: tuple[str, ...], datasets: tuple[str, ...]) -> None:
    """Take a peer out of the rules that name it; raises ConfigError when none does, or the file is kept by hand."""
    text, document = _read(path)
    meant = [rule for rule in document.allow if _is_meant(rule, peer, components, datasets)]
    if not meant:
        raise ConfigError(f"{path}: no rule names {peer} so; see: partyd policy show")
    if text and not is_kept(text):
        _insist_on_hand(path, "take this peer out of these rules", "\n\n".join(map(rule_lines, meant)))
    changed = (_without(rule, peer) if rule in meant else rule for rule in document.allow)
    left = tuple(rule for rule in changed if rule is not None)
    _write(path, PolicyDocument(dataset=document.dataset, allow=left))
    for rule in meant:
        click.echo(f"closed to {peer}: {_in_words(rule)}")
    if any(PeerPattern.parse(one) == PeerPattern(None, None) for rule in left for one in rule.peers):
        click.echo("note: a rule for everybody ('*') is left and counts for this peer too")


def _rule(peer: str, given: dict[str, object]) -> Allow:
    names = {"as_roles": "roles"}
    said = {names.get(key, key): value for key, value in given.items() if value not in (None, ())}
    try:
        rule = Allow.model_validate({"components": (), **said, "peers": (peer,)})
    except ValidationError as error:
        told = error.errors()[0]
        option = str(told["loc"][0]).replace("_", "-").rstrip("s")
        raise ConfigError(f"command line, {option}: {told['msg'].removeprefix('Value error, ')}") from error
    read_policy(rule_lines(rule).encode(), Path("command line"), NAMES)
    return rule


def _aliases(rule: Allow, table: str | None) -> list[Alias]:
    if table is None:
        return []
    if len(rule.datasets) != 1 or rule.datasets[0] == "*":
        raise ConfigError("command line, --table: say with one --dataset what the table is called outside")
    try:
        return [Alias.model_validate({"alias": rule.datasets[0], "table": table})]
    except ValidationError as error:
        raise ConfigError(f"command line, --table: write namespace/name, not {table[:80]!r}") from error


def _is_meant(rule: Allow, peer: str, components: tuple[str, ...], datasets: tuple[str, ...]) -> bool:
    named = peer in rule.peers
    return named and set(components) <= set(rule.components) and set(datasets) <= set(map(str, rule.datasets))


def _without(rule: Allow, peer: str) -> Allow | None:
    peers = tuple(one for one in rule.peers if one != peer)
    return rule.model_copy(update={"peers": peers}) if peers else None


def _read(path: Path) -> tuple[str, PolicyDocument]:
    if not path.exists():
        return "", PolicyDocument()
    raw = path.read_bytes()
    return raw.decode("utf-8", "replace"), read_policy(raw, path, NAMES)


def _write(path: Path, document: PolicyDocument) -> None:
    write_private(path, render(document).encode())


def _insist_on_hand(path: Path, what: str, lines: str) -> None:
    click.echo(lines)
    raise ConfigError(f"{path} is kept by hand and was not changed: {what} (printed above)")


def _in_words(rule: Allow) -> str:
    datasets = ", ".join(map(str, rule.datasets)) or "no data of ours"
    components = ", ".join(rule.components) or "components that exchange nothing"
    said = [f"{', '.join(rule.peers)}: {datasets} in {components}", floors_in_words(rule.limits)]
    if len(rule.roles) < 3:
        said.append(f"where we are {' or '.join(rule.roles)}")
    if rule.partners != ("*",):
        said.append(f"beside {', '.join(rule.partners)} alone")
    if not rule.independent_arbiter:
        said.append("whoever is arbiter")
    if rule.merge_models != "no":
        under = "with our columns' names" if rule.merge_models == "named" else "under anonymous names of columns"
        said.append(f"model_merge gives our half of a model away {under}")
    if rule.max_jobs_per_day is not None:
        said.append(f"at most {rule.max_jobs_per_day} jobs a day")
    said.append("after a person's approval" if rule.approve == "manual" else "without asking")
    return "; ".join(said)
