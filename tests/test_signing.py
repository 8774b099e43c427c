"""The signature of a request: known answers, and headers that are no headers."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd import signing

DOCS = Path(__file__).parents[1] / "docs" / "api.md"

TOKEN = "token"
TARGET = "/v2/job/query?job_id=1"
MADE = ("12345678", TOKEN, "GET", TARGET, 1_700_000_000, "0123456789abcdef", signing.EMPTY_BODY)


def test_the_signature_is_what_the_documentation_says() -> None:
    text = (
        "PARTYD-HMAC-SHA256\nGET\n/v2/job/query?job_id=1\n1700000000\n0123456789abcdef\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    expected = hmac.new(TOKEN.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert signing.signature(*MADE[1:]) == expected
    said = signing.parse(signing.authorization(*MADE))
    assert said == signing.Signed("12345678", 1_700_000_000, "0123456789abcdef", signing.EMPTY_BODY, expected)


def test_the_order_of_the_fields_is_free_and_their_form_is_not() -> None:
    header = signing.authorization(*MADE)
    scheme, _, rest = header.partition(" ")
    turned = f"{scheme} {', '.join(reversed(rest.split(', ')))}"
    assert signing.parse(turned) == signing.parse(header)
    for wrong in (header.lower(), header + ", ts=1", header.replace("ts=1700000000, ", ""), header + ",", "", scheme):
        assert signing.parse(wrong) is None
    assert signing.parse(header.replace("ts=1", "ts=1" * 300)) is None


@pytest.mark.parametrize("i", range(1, 7))
def test_everything_that_is_signed_changes_the_signature(i: int) -> None:
    other = list(MADE)
    other[i] = 1 if i == 4 else str(other[i]) + "x"
    assert signing.signature(*other[1:]) != signing.signature(*MADE[1:])  # type: ignore[arg-type]


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert signing.parse(text) is None
    found = signing.parse(f"{signing.SCHEME} {text}")
    assert found is None or found.app_id


def test_the_example_of_the_documentation_signs_as_we_do() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    space: dict[str, object] = {}
    exec(compile(code, "docs/api.md", "exec"), space)
    authorization = space["authorization"]
    assert callable(authorization)
    said = signing.parse(authorization("12345678", TOKEN, "POST", TARGET, b"body"))
    assert said is not None
    assert said.body == hashlib.sha256(b"body").hexdigest()
    assert said.signature == signing.signature(TOKEN, "POST", TARGET, said.ts, said.nonce, said.body)
