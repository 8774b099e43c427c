"""The two views of the store that callers are given."""

from __future__ import annotations

from partyd.store.mail import MailReader
from partyd.store.records import RecordReader, RecordWriter
from partyd.store.tables import blob_references
from partyd.store.work import WorkReader, WorkWriter


class Reader(MailReader, WorkReader, RecordReader):
    """Everything that may be asked; sees what was committed when it began."""

    def blob_references(self) -> frozenset[str]:
        """Return the digests of all blobs that some row refers to."""
        return frozenset(digest for digest, _ in blob_references(self._connection))


class Transaction(WorkWriter, RecordWriter, Reader):
    """Everything that may be asked and changed; all of it happens, or nothing."""
