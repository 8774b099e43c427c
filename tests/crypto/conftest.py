"""Small keys for tests, made from fixed seeds; far too short for anything else."""

from __future__ import annotations

import pytest
from hypothesis import settings

from partyd.crypto.paillier import PrivateKey, generate_keypair
from partyd.crypto.prg import Prg

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def insecure_key() -> PrivateKey:
    return generate_keypair(512, Prg(bytes(32), "insecure"), insecure_for_tests=True)[1]


@pytest.fixture(scope="session")
def other_insecure_key() -> PrivateKey:
    return generate_keypair(512, Prg(bytes(32), "other"), insecure_for_tests=True)[1]


@pytest.fixture(scope="session")
def full_size_key() -> PrivateKey:
    return generate_keypair(2048, Prg(bytes(32), "2048"))[1]
