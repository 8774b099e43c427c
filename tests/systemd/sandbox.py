"""Run a command under what a unit forbids, without systemd: ``python sandbox.py UNIT PROGRAM ARGUMENT...``.

Taken from the unit's own lines: the system call filter (expanded by ``systemd-analyze``, loaded through libseccomp with
the same EPERM), no memory both writable and executable, no new privileges, no capabilities, limits and umask. Not
here: name spaces, so what the command may see of files and network is not restricted.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 24, 38, 65
ALWAYS = ("@default", "execve")
"""What systemd lets through whatever the filter says (systemd.exec(5), SystemCallFilter=)."""


def system_calls(lines: list[str]) -> set[str]:
    """Return the calls that remain after a unit's ``SystemCallFilter=`` lines."""
    sets = _sets()
    allowed = {call for name in ALWAYS for call in _expanded(name, sets)}
    for line in lines:
        named = {call for name in line.removeprefix("~").split() for call in _expanded(name, sets)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed | _expanded("@default", sets)


def _sets() -> dict[str, set[str]]:
    command = ["systemd-analyze", "syscall-filter", "--no-pager"]
    sets: dict[str, set[str]] = {}
    name = ""
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        word = line.strip().removeprefix("# ")
        if line.startswith("@"):
            name, sets[line.strip()] = line.strip(), set()
        elif line.startswith("    ") and not line.strip().startswith("#") and name:
            sets[name].add(word)
        elif not line.startswith(" "):
            name = ""
    return sets


def _expanded(name: str, sets: dict[str, set[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return {call for part in sets[name] for call in _expanded(part, sets)}


def forbid_other_calls(allowed: set[str]) -> int:
    """Load the filter for this process and all it starts; return how many calls of this machine stay allowed."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    numbers = [library.seccomp_syscall_resolve_name(name.encode()) for name in sorted(allowed)]
    known = [number for number in numbers if number >= 0]
    for number in known:
        if library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0):
            raise OSError(f"libseccomp does not take system call {number}")
    if library.seccomp_load(context):
        raise OSError("the kernel does not take the filter")
    return len(known)


def confine(unit: Path) -> None:
    """Apply to this process what ``unit`` says."""
    lines = [line.partition("=") for line in unit.read_text().splitlines() if not line.startswith("#")]
    values = {key: value for key, _, value in lines}
    allowed = system_calls([value for key, _, value in lines if key == "SystemCallFilter"])
    libc = ctypes.CDLL(None, use_errno=True)
    os.umask(int(values["UMask"], 8))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = int(values["LimitNOFILE"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if values["CapabilityBoundingSet"] == "" and os.geteuid() == 0:
        for capability in range(64):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if values["MemoryDenyWriteExecute"] == "yes":
        libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # Linux 6.3; older kernels go without
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    forbid_other_calls(allowed)


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
