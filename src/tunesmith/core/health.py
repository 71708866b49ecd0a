"""Whether this machine and this folder can do the work; nothing is changed by looking."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tunesmith.core.db import refuse_network_disk
from tunesmith.core.errors import StoreError

GIB = 1 << 30
EXTRAS = {
    "tune": ("torch", "transformers", "safetensors", "tokenizers", "gguf"),
    "serve": ("fastapi", "uvicorn"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    remedy: str = ""
    """What helps; empty when all is well."""


def examine(folder: Path) -> Iterator[Finding]:
    """Look at Python, libraries, memory, processors, and the disk of `folder`."""
    version = platform.python_version()
    yield Finding(
        what="Python",
        ok=sys.version_info >= (3, 11),
        found=version,
        remedy="" if sys.version_info >= (3, 11) else "install Python 3.11 or newer",
    )
    yield Finding(
        what="SQLite",
        ok=sqlite3.sqlite_version_info >= (3, 35),
        found=sqlite3.sqlite_version,
        remedy="" if sqlite3.sqlite_version_info >= (3, 35) else "use a newer Python build",
    )
    for extra, distributions in EXTRAS.items():
        missing = [name for name in distributions if not _installed(name)]
        yield Finding(
            what=f"extra [{extra}]",
            ok=not missing,
            found=f"missing: {', '.join(missing)}" if missing else "installed",
            remedy=f"pip install 'tunesmith[{extra}]'" if missing else "",
        )
    memory = psutil.virtual_memory()
    yield Finding(
        what="memory",
        ok=memory.available >= 4 * GIB,
        found=f"{memory.available / GIB:.1f} GiB of {memory.total / GIB:.1f} GiB available",
        remedy="" if memory.available >= 4 * GIB else "close programs: tuning 135M needs 4 GiB",
    )
    yield Finding(what="processors", ok=True, found=f"{os.cpu_count()}")
    yield from _disk(folder)


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    yield Finding(
        what="disk",
        ok=free >= 2 * GIB,
        found=f"{free / GIB:.1f} GiB free",
        remedy="" if free >= 2 * GIB else "free some space: a project of this size needs 2 GiB",
    )
    try:
        refuse_network_disk(folder)
    except StoreError as error:
        yield Finding(what="file system", ok=False, found=error.message, remedy=error.remedy)
    else:
        yield Finding(what="file system", ok=True, found="local")


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
