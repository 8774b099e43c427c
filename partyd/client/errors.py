"""What goes wrong between a client and a daemon: each error says what, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence

from partyd.errors import PartydError


class ClientError(PartydError):
    """A request that did not succeed: ``what`` went wrong, ``where``, and ``how`` to mend it."""

    code = "client"

    def __init__(self, what: str, *, where: str, how: str) -> None:
        self.what, self.where, self.how = what, where, how
        super().__init__(f"{where}: {what}; {how}")


class Unreachable(ClientError):
    """No daemon answers at the address."""

    code = "unreachable"


class StrangeReply(ClientError):
    """Something answers that is no partyd daemon, or one of another version."""

    code = "strange_reply"


class Refused(ClientError):
    """The daemon said no; its own sentence says what to do."""

    code = "refused"

    def __init__(
        self, what: str, *, where: str, how: str, http_status: int, reply_code: int, mistakes: Sequence[str] = ()
    ) -> None:
        super().__init__(what, where=where, how=how)
        self.http_status, self.reply_code = http_status, reply_code
        self.mistakes = tuple(mistakes)
        """Of a document that was refused, every mistake: its place, what is wrong, and what was meant."""

    def __str__(self) -> str:
        return self.what if not self.how else f"{self.what}; {self.how}"


class JobFailed(ClientError):
    """A job that was waited for ended other than well; the sentence says which party, which task, and what to do."""

    code = "job_failed"
