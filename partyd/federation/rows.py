from partyd.store.rows import AttemptRow, BlobRef, Body, CheckpointRow, DocumentRow, EventRow, InboxRow, JobRow, OutboxDepth, OutboxRow, Posted
__all__ = ["AttemptRow", "BlobRef", "Body", "CheckpointRow", "DocumentRow", "EventRow", "InboxRow", "JobRow", "OutboxDepth", "OutboxRow", "Posted"]
