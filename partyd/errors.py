"""Every error partyd raises, as one tree.

PartydError
    ConfigError                 a setting, file or command line that the owner must mend
    LocalProtocolError          our own code broke a protocol's rules
    RemoteProtocolError         a peer (or whoever spoke in its name) broke them
        BadFrame                bytes that are no valid frame, seal or handshake
        BadValue                a decoded value that its schema refuses
        Equivocation            the same message id with other bytes
    CryptoError                 a key, point, ciphertext or number that must not be used
        EncodingOverflow        a number too large for its encoding
    StoreError                  the durable store cannot answer
        StoreFull               no space left; retried when there is
        StoreCorrupt            a checksum or structure does not hold; an operator must act
    JobError                    a job or task that cannot go on
        JobRejected             refused before it started
        TaskFailed              failed while running
            BelowFloor          fewer rows, bits or common ids than a party's policy asks for
    DataError                   a table or file that cannot be read as told

An error says who, where and what to do in its own sentence. Peers get ``code``, never the sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class PartydError(Exception):
    """Base of all; ``code`` is what a stranger or a peer may see."""

    code = "internal"


class ConfigError(PartydError):
    code = "config"


class LocalProtocolError(PartydError):
    code = "local_protocol"


class RemoteProtocolError(PartydError):
    code = "protocol"


class BadFrame(RemoteProtocolError):
    code = "bad_frame"


class BadValue(RemoteProtocolError):
    code = "bad_value"


class Equivocation(RemoteProtocolError):
    code = "equivocation"


class CryptoError(PartydError):
    code = "crypto"


class EncodingOverflow(CryptoError):
    code = "overflow"


class StoreError(PartydError):
    code = "store"


class StoreFull(StoreError):
    code = "store_full"


class StoreCorrupt(StoreError):
    code = "store_corrupt"


class JobError(PartydError):
    code = "job"


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in a document: where (``dag.tasks.psi_0.inputs``), what, and how to mend it."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return "; ".join(part for part in (f"{self.path}: {self.message}", self.hint) if part)


class JobRejected(JobError):
    """``mistakes`` lists everything wrong with the document, when that is why."""

    code = "job_rejected"

    def __init__(self, message: str, mistakes: Iterable[Mistake] = ()) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)

    @classmethod
    def of(cls, mistakes: Iterable[Mistake]) -> JobRejected:
        """Return the error that says all of ``mistakes``."""
        found = tuple(mistakes)
        return cls("; ".join(str(mistake) for mistake in found), found)


class TaskFailed(JobError):
    code = "task_failed"


class BelowFloor(TaskFailed):
    """The sentence goes to every party of the job; ``detail``, with what was counted, stays in this party's log."""

    code = "below_floor"

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class DataError(PartydError):
    code = "data"
