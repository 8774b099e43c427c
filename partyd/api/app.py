"""The daemon's one HTTP application."""

from __future__ import annotations

from aiohttp import web

from partyd.api.data import Data
from partyd.api.frame import MAX_BODY_BYTES, Part, frame
from partyd.api.governance import Governance
from partyd.api.jobs import Jobs
from partyd.api.logs import Logs
from partyd.api.models import Models
from partyd.api.output import Output
from partyd.api.siblings import Siblings
from partyd.api.site import Site
from partyd.api.tables import Tables
from partyd.api.tasks import Tasks

__all__ = ["MAX_BODY_BYTES", "make_app"]


def make_app(site: Site) -> web.Application:
    """Return the application: the frame's own endpoints, jobs and what they gave, and tables.

    In a standalone federation it answers for the sibling parties too.
    """
    parts: list[Part] = [Jobs(site), Tasks(site), Governance(site), Output(site), Models(site), Logs(site)]
    if site.local is not None:
        parts += [Data(site, site.local), Tables(site, site.local)]
    if not site.settings.standalone:
        return frame(site, parts)
    siblings = Siblings(site.settings, site.knows)
    if site.local is not None:
        site.local.share = siblings.share_table
    app = frame(site, parts, inner=[siblings.middleware()])
    app.cleanup_ctx.append(siblings.lifetime)
    return app
