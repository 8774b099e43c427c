"""Every error the broker package raises, as one tree.

BrokerError
    SettingsError       a setting, file or command line that the operator must mend
    StartError          the broker could not start, or ended by itself
    RefusedError        a client that the rules turn away (never shown to it beyond MQTT's return code)

An error says what is wrong, where, and how to mend it.
"""

from __future__ import annotations


class BrokerError(Exception):
    """Base of all; ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(what)

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        mend = f". {self.mend}" if self.mend else ""
        return f"{self.what}{where}{mend}"


class SettingsError(BrokerError):
    exit_code = 78  # EX_CONFIG of sysexits.h


class StartError(BrokerError):
    exit_code = 1


class RefusedError(BrokerError):
    """A connection attempt or packet that is refused; ``return_code`` is CONNACK's (MQTT 3.1.1 §3.2.2.3)."""

    def __init__(self, what: str, *, return_code: int) -> None:
        super().__init__(what)
        self.return_code = return_code
