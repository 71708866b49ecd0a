"""Who holds something, and whether they are gone: a process, told apart for ever. Whose it is."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import psutil

PROC = Path("/proc")


def owner() -> str:
    """Name of this process: host, process id, and its birth, so that a reused id is not it."""
    return f"{os.uname().nodename}:{os.getpid()}:{_birth(os.getpid())}"


def actor() -> str:
    """The operating system's user: by number, as anybody may set USER to another's name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as in some containers
        return f"uid-{os.getuid()}"


def is_gone(name: str) -> bool:
    """Whether the process that `name` (from `owner`) names was on this machine and has ended.

    False for one on another machine: only its lease can tell.
    """
    try:
        host, pid, birth = name.rsplit(":", 2)
        number = int(pid)
    except ValueError:
        return False
    if host != os.uname().nodename:
        return False
    try:
        return _birth(number) != birth
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True
    except (psutil.AccessDenied, PermissionError):
        return False


def is_here(name: str) -> bool:
    """Whether the process that `name` names is on this machine and lives."""
    return name.rsplit(":", 2)[0] == os.uname().nodename and not is_gone(name)


def _birth(pid: int) -> str:
    """When a process was born, by a count that nobody can set: ticks since this boot."""
    if not (PROC / "self" / "stat").exists():  # not Linux
        return f"{psutil.Process(pid).create_time():.2f}"
    boot = (PROC / "sys/kernel/random/boot_id").read_text()[:8]
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    if state == "Z":
        raise ProcessLookupError(pid)
    return f"{boot}-{ticks}"
