from __future__ import annotations

import pytest
from pydantic import ValidationError

from partyd.algorithms.he_parameters import HeParam
from partyd.algorithms.lr_parameters import CoordinatedLrParams


def test_the_defaults_are_a_key_of_2048_bits_and_exponents_of_448() -> None:
    assert HeParam() == HeParam(kind="paillier", key_length=2048, obfuscation="djn448")
    assert HeParam.model_validate({"kind": None, "key_length": None, "obfuscation": None}) == HeParam()
    assert HeParam.model_validate({"kind": "Paillier", "obfuscation": "FULL"}).obfuscation == "full"


@pytest.mark.parametrize(("asked", "used"), [(1024, 2048), (2048, 2048), (3072, 3072)])
def test_a_key_below_the_floor_is_lifted(asked: int, used: int) -> None:
    assert HeParam(key_length=asked).key_bits == used
    assert CoordinatedLrParams(he_param=HeParam(key_length=asked)).key_bits == used


@pytest.mark.parametrize(
    "bad", [{"kind": "ckks"}, {"key_length": 100}, {"key_length": 2050}, {"obfuscation": "none"}, {"bits": 2048}]
)
def test_others_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HeParam.model_validate(bad)
