from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.errors import BadValue
from partyd.wire.hello import Hello, InitPayload, ResponsePayload, Status
from partyd.wire.strict import Value, pack

GOOD: list[Value] = [b"b" * 16, b"s" * 16, 4096, 65_536, 1, 1, ["psi"]]
HELLO = Hello(b"b" * 16, b"s" * 16, 4096, 65_536, 1, 1, ("psi",))


def test_payloads_come_back() -> None:
    init = InitPayload(2**63, 7, HELLO)
    assert init.encode() == pack([2**63, 7, *GOOD])
    assert InitPayload.decode(init.encode()) == init
    for status in Status:
        response = ResponsePayload(status, 9, 1, 2**32 - 1, HELLO)
        assert ResponsePayload.decode(response.encode()) == response


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, -1),
        (0, True),
        (1, 0),
        (1, 2**32),
        (2, b"short"),
        (3, "s" * 16),
        (4, 0),
        (5, 1023),
        (5, 2**20 + 1),
        (6, 2),
        (7, 256),
        (8, ["a", "a"]),
        (8, None),
    ],
)
def test_a_wrong_field_is_refused(position: int, value: Value) -> None:
    values: list[Value] = [1, 1, *GOOD]
    values[position] = value
    with pytest.raises(BadValue):
        InitPayload.decode(pack(values))


@pytest.mark.parametrize(
    "values", [[], [3, 0, 1, 1, *GOOD], [0, 0, 1, 0, *GOOD], [0, 0, 70_000, 1, *GOOD], [0, 0, 1, 1, *GOOD, 1]]
)
def test_a_wrong_response_is_refused(values: list[Value]) -> None:
    with pytest.raises(BadValue):
        ResponsePayload.decode(pack(values))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    for payload in (InitPayload, ResponsePayload):
        with pytest.raises(BadValue):
            payload.decode(data)


@pytest.mark.parametrize(
    ("ours", "theirs", "version"),
    [((1, 1), (1, 1), 1), ((1, 4), (2, 3), 3), ((1, 1), (2, 2), None), ((5, 9), (1, 5), 5)],
)
def test_the_highest_common_version(ours: tuple[int, int], theirs: tuple[int, int], version: int | None) -> None:
    def hello(span: tuple[int, int]) -> Hello:
        return Hello(bytes(16), bytes(16), 1, 4096, *span)

    assert hello(ours).common_version(hello(theirs)) == version
    assert hello(theirs).common_version(hello(ours)) == version
