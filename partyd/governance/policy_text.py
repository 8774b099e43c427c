"""Write ``policy.toml``: the commented beginning, and rules as TOML that reads back as the same rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from partyd.components import NAMES
from partyd.errors import ConfigError
from partyd.governance.policy_rules import Alias, Allow, DatasetName, PolicyDocument, read_policy

MARK = "# Kept by `partyd policy`. Take this line out to keep the file by hand."
_EXAMPLE = """\
# What jobs of other parties may do here. What no rule opens stays closed; the first rule that fits decides.
# A change counts from the next job on; `partyd policy check` reads the file as the daemon does.
#
# The name under which others know a table (namespace/name). Without an alias a table has its own name, and nobody can
# use it unless a rule names it.
#
# [[dataset]]
# alias = "credit/customers"
# table = "internal/crm_2026_q3"
#
# [[allow]]
# peers = ["guest-9999"]           # role and party id; "9999" any role; "*" anybody pinned; "self" our own jobs
# components = ["psi", "coordinated_lr"]   # those that exchange something; "*" all of them
# datasets = ["credit/customers"]  # "*" all; none: work without our data, such as an arbiter's
# roles = ["host"]                 # what we are in the job; default: whatever we serve
# partners = ["arbiter-7"]         # who else may be in the job; default: anybody pinned
# independent_arbiter = true       # refuse an arbiter of the same party as another data owner
# min_rows = 1000                  # rows that a table must have
# min_intersection = 100           # ids that must be in common
# key_bits = 2048                  # bits of an encryption key
# min_batch = 64                   # rows in a batch
# merge_models = "no"              # in model_merge, our half of a model goes to the guest: "anonymous", "named" or "no"
# max_jobs_per_day = 5             # jobs in 24 hours, for this peer and data set
# approve = "manual"               # "auto", or a person says yes: flow job approve JOB
"""


def policy_example() -> str:
    """Return the text of a new ``policy.toml``: everything explained, nothing opened."""
    return f"{MARK}\n{_EXAMPLE}"


def is_kept(text: str) -> bool:
    """Return whether ``partyd policy`` may write the file anew."""
    return text.startswith(MARK)


def render(document: PolicyDocument) -> str:
    """Return a whole file; raises ConfigError for names that TOML cannot hold."""
    text = "\n".join([policy_example(), *(f"{table}\n" for table in _tables(document))])
    if read_policy(text.encode(), Path("policy.toml"), NAMES) != document:
        raise ConfigError("a name in the policy cannot be written as TOML; take control characters out of it")
    return text


def rule_lines(rule: Allow) -> str:
    """Return one rule as lines to put into a file."""
    return "\n".join(["[[allow]]", *_fields(rule)])


def _tables(document: PolicyDocument) -> Iterator[str]:
    for entry in document.dataset:
        yield alias_lines(entry)
    for rule in document.allow:
        yield rule_lines(rule)


def alias_lines(entry: Alias) -> str:
    """Return one alias as lines to put into a file."""
    return f"[[dataset]]\nalias = {_value(entry.alias)}\ntable = {_value(entry.table)}"


def _fields(rule: Allow) -> Iterator[str]:
    for name, field in Allow.model_fields.items():
        value = getattr(rule, name)
        if field.is_required() or value != field.default:
            yield f"{name} = {_value(value)}"


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case DatasetName(namespace, name) if "/" in namespace or "/" in name:
            return f"{{namespace = {_value(namespace)}, name = {_value(name)}}}"
        case DatasetName():
            return json.dumps(str(value), ensure_ascii=False)
        case tuple():
            return f"[{', '.join(_value(one) for one in value)}]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)
