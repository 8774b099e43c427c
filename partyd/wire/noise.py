"""Run the handshake Noise_IKpsk2_25519_ChaChaPoly_SHA256 (The Noise Protocol Framework, revision 34).

    IKpsk2:
      <- s
      ...
      -> e, es, s, ss
      <- e, ee, se, psk

One pattern and one suite, so the pattern is written out as two methods on each side instead of being interpreted.
``Initiator`` writes message 1 and reads message 2; ``Responder`` reads message 1 and writes message 2. Afterwards
``keys`` holds Split()'s two cipher keys and the handshake hash. Frames longer than Noise's 65,535 bytes are sealed by
``keypair.KeyPair`` with those keys and explicit counters, as §11.4 allows.

Every refusal is ``BadFrame`` with one constant text: a stranger learns nothing from which check failed. A failed read
leaves the object as it was, so a forged answer cannot spoil a handshake that is under way.

Beyond Noise: a public key that is not canonical (>= 2^255 - 19, or with the top bit set) is refused, because no honest
key is; a zero shared secret is refused, as RFC 7748 §6.1 suggests and Noise §12.1 allows.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from partyd.errors import BadFrame

PROTOCOL_NAME: Final = b"Noise_IKpsk2_25519_ChaChaPoly_SHA256"
KEY: Final = 32
TAG: Final = 16
MESSAGE_1_OVERHEAD: Final = KEY + KEY + TAG + TAG
MESSAGE_2_OVERHEAD: Final = KEY + TAG
MAX_MESSAGE: Final = 65_535

_FIELD_PRIME: Final = 2**255 - 19
_REFUSED: Final = "handshake refused"


@dataclass(frozen=True, repr=False)
class TransportKeys:
    """What Split() gives (§5.2): one key for each direction, and the hash that names this handshake."""

    initiator_to_responder: bytes
    responder_to_initiator: bytes
    handshake_hash: bytes


def is_canonical(public: bytes) -> bool:
    """Say whether ``public`` is a field element written the one way RFC 7748 §5 writes it."""
    return len(public) == KEY and int.from_bytes(public, "little") < _FIELD_PRIME


def diffie_hellman(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return X25519(private, public); raises BadFrame for a non-canonical or low-order public key."""
    if not is_canonical(public):
        raise BadFrame(_REFUSED)
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise BadFrame(_REFUSED) from error


def is_usable(public: bytes) -> bool:
    """Say whether ``public`` can be a static key: canonical, and not one of the low-order points."""
    try:
        diffie_hellman(X25519PrivateKey.from_private_bytes(bytes([1] * KEY)), public)
    except BadFrame:
        return False
    return True


def public_bytes(private: X25519PrivateKey) -> bytes:
    """Return the raw public half."""
    return private.public_key().public_bytes_raw()


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """HKDF of §4.3: output_i = HMAC(temp_key, output_{i-1} || byte(i))."""
    temp_key = hmac.digest(chaining_key, material, "sha256")
    found: list[bytes] = []
    last = b""
    for number in range(1, outputs + 1):
        last = hmac.digest(temp_key, last + bytes([number]), "sha256")
        found.append(last)
    return found


class SymmetricState:
    """§5.2: the chaining key ``ck``, the hash ``h``, and CipherState's ``k`` and ``n`` (§5.1)."""

    __slots__ = ("ck", "h", "k", "n")

    def __init__(self, prologue: bytes) -> None:
        self.h = hashlib.sha256(PROTOCOL_NAME).digest()  # the name is longer than 32 bytes, hence hashed
        self.ck = self.h
        self.k = b""
        self.n = 0
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.ck, self.k = _hkdf(self.ck, material, 2)
        self.n = 0

    def mix_key_and_hash(self, material: bytes) -> None:
        self.ck, temp_h, self.k = _hkdf(self.ck, material, 3)
        self.mix_hash(temp_h)
        self.n = 0

    def mix_ephemeral(self, public: bytes) -> None:
        """Token ``e`` in a handshake with a psk: MixHash, then MixKey of the public key (§9.2)."""
        self.mix_hash(public)
        self.mix_key(public)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = ChaCha20Poly1305(self.k).encrypt(self._nonce(), plaintext, self.h)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        try:
            plaintext = ChaCha20Poly1305(self.k).decrypt(self._nonce(), ciphertext, self.h)
        except InvalidTag as error:
            raise BadFrame(_REFUSED) from error
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> TransportKeys:
        first, second = _hkdf(self.ck, b"", 2)
        return TransportKeys(first, second, self.h)

    def _nonce(self) -> bytes:
        """§12.3: 32 zero bits, then the counter in little-endian."""
        self.n += 1
        return bytes(4) + (self.n - 1).to_bytes(8, "little")


def _checked_length(message: bytes, overhead: int) -> bytes:
    if not overhead <= len(message) <= MAX_MESSAGE:
        raise BadFrame(_REFUSED)
    return message


class Initiator:
    """The side that starts; ``ephemeral`` must be fresh for every handshake."""

    def __init__(
        self,
        static: X25519PrivateKey,
        remote_static: bytes,
        ephemeral: X25519PrivateKey,
        prologue: bytes,
        psk: bytes,
    ) -> None:
        self._static, self._remote_static, self._ephemeral, self._psk = static, remote_static, ephemeral, psk
        self._state = SymmetricState(prologue)
        self._state.mix_hash(remote_static)
        self.keys: TransportKeys | None = None

    def write_first(self, payload: bytes) -> bytes:
        """-> e, es, s, ss"""
        state, ephemeral = self._state, public_bytes(self._ephemeral)
        state.mix_ephemeral(ephemeral)
        state.mix_key(diffie_hellman(self._ephemeral, self._remote_static))
        static = state.encrypt_and_hash(public_bytes(self._static))
        state.mix_key(diffie_hellman(self._static, self._remote_static))
        return ephemeral + static + state.encrypt_and_hash(payload)

    def read_second(self, message: bytes) -> bytes:
        """<- e, ee, se, psk; return the payload. Raises BadFrame and stays usable."""
        _checked_length(message, MESSAGE_2_OVERHEAD)
        state, remote_ephemeral = copy.copy(self._state), message[:KEY]
        state.mix_ephemeral(remote_ephemeral)
        state.mix_key(diffie_hellman(self._ephemeral, remote_ephemeral))
        state.mix_key(diffie_hellman(self._static, remote_ephemeral))
        state.mix_key_and_hash(self._psk)
        payload = state.decrypt_and_hash(message[KEY:])
        self.keys = state.split()
        return payload


class Responder:
    """The side that answers one message 1 from the owner of ``remote_static``."""

    def __init__(
        self,
        static: X25519PrivateKey,
        remote_static: bytes,
        prologue: bytes,
        psk: bytes,
    ) -> None:
        self._static, self._remote_static, self._psk = static, remote_static, psk
        self._state = SymmetricState(prologue)
        self._state.mix_hash(public_bytes(static))
        self._remote_ephemeral = b""
        self.keys: TransportKeys | None = None

    def read_first(self, message: bytes) -> bytes:
        """-> e, es, s, ss; return the payload. Raises BadFrame, also when ``s`` is not the pinned peer's."""
        _checked_length(message, MESSAGE_1_OVERHEAD)
        state, remote_ephemeral = copy.copy(self._state), message[:KEY]
        static_end = KEY + KEY + TAG
        state.mix_ephemeral(remote_ephemeral)
        state.mix_key(diffie_hellman(self._static, remote_ephemeral))
        if not hmac.compare_digest(state.decrypt_and_hash(message[KEY:static_end]), self._remote_static):
            raise BadFrame(_REFUSED)
        state.mix_key(diffie_hellman(self._static, self._remote_static))
        payload = state.decrypt_and_hash(message[static_end:])
        self._state, self._remote_ephemeral = state, remote_ephemeral
        return payload

    def write_second(self, payload: bytes, ephemeral: X25519PrivateKey) -> bytes:
        """<- e, ee, se, psk"""
        state, public = self._state, public_bytes(ephemeral)
        state.mix_ephemeral(public)
        state.mix_key(diffie_hellman(ephemeral, self._remote_ephemeral))
        state.mix_key(diffie_hellman(ephemeral, self._remote_static))
        state.mix_key_and_hash(self._psk)
        message = public + state.encrypt_and_hash(payload)
        self.keys = state.split()
        return message
