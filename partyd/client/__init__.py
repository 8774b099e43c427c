"""A small typed client of a daemon's REST API: `Client`, and `AsyncClient` with the same methods.

>>> with Client("http://127.0.0.1:9380", app_id="...", app_token="...") as client:
...     job = client.jobs.submit(Path("job.yaml").read_text())
...     job.wait()
...     job.curve("coordinated_lr_0", "loss")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partyd.client.aio import AsyncClient
    from partyd.client.aio_job import AsyncJobHandle
    from partyd.client.answer import DEFAULT_URL
    from partyd.client.call import ANY_PARTY, Party
    from partyd.client.calls import MAX_WAIT_S
    from partyd.client.calls_data import CsvColumns
    from partyd.client.errors import ClientError, JobFailed, Refused, StrangeReply, Unreachable
    from partyd.client.job import JobHandle
    from partyd.client.replies import ENDED, Job, LogLine, Metric, Reason, Task, Why
    from partyd.client.replies_data import Rows, StoredTable
    from partyd.client.replies_site import Peer, ServerInfo, Sibling, SiteInfo
    from partyd.client.sync import Client

__all__ = [
    "ANY_PARTY",
    "DEFAULT_URL",
    "ENDED",
    "MAX_WAIT_S",
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "ClientError",
    "CsvColumns",
    "Job",
    "JobFailed",
    "JobHandle",
    "LogLine",
    "Metric",
    "Party",
    "Peer",
    "Reason",
    "Refused",
    "Rows",
    "ServerInfo",
    "Sibling",
    "SiteInfo",
    "StoredTable",
    "StrangeReply",
    "Task",
    "Unreachable",
    "Why",
]
_PLACES = {
    "aio": ("AsyncClient",),
    "aio_job": ("AsyncJobHandle",),
    "answer": ("DEFAULT_URL",),
    "call": ("ANY_PARTY", "Party"),
    "calls": ("MAX_WAIT_S",),
    "calls_data": ("CsvColumns",),
    "errors": ("ClientError", "JobFailed", "Refused", "StrangeReply", "Unreachable"),
    "job": ("JobHandle",),
    "replies": ("ENDED", "Job", "LogLine", "Metric", "Reason", "Task", "Why"),
    "replies_data": ("Rows", "StoredTable"),
    "replies_site": ("Peer", "ServerInfo", "Sibling", "SiteInfo"),
    "sync": ("Client",),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a name when it is asked for: a command that speaks with no daemon starts without any of it."""
    if name not in _PLACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_PLACE[name]}"), name)
    globals()[name] = found
    return found
