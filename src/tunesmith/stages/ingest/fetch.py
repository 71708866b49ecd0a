"""Get one package through pip or npm: no dependencies, nothing built, nothing run, and the hash
pinned."""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

from tunesmith.core.errors import PackageError
from tunesmith.core.step import Context, Progress
from tunesmith.records.data import Package
from tunesmith.stages.ingest.asking import FetchConfig
from tunesmith.stages.ingest.npm import as_zip, command_of
from tunesmith.stages.ingest.origin import NPM

_PASSWORD = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_MIRROR = (
    "check the name and the version; set PIP_INDEX_URL for an internal mirror, or PIP_FIND_LINKS "
    "for a folder that holds the wheel"
)
_NPM_MIRROR = (
    "check the name and the version; set npm_config_registry, or registry in ~/.npmrc, for an "
    "internal mirror"
)
_SECONDS_TO_END = 5.0
"""How long it has to end when it is asked to, before it is killed."""


def fetch(config: FetchConfig, ctx: Context) -> Package:
    """The wheel, or the tarball of npm, that `config` pins, as a package. It is never imported and
    never executed.

    pip and npm are given the environment of this process, so that an organisation's mirror is used.

    Raises:
        PackageError: there is no such package, it cannot be reached, its hash is not the pinned
            one, or none is pinned yet.
    """
    is_npm = config.origin.startswith(NPM)
    requirement = config.origin.removeprefix("pypi:")
    wheel = _download(requirement, ctx.workdir, ctx.progress)
    with wheel.open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    if not config.sha256:
        raise PackageError(
            f"{requirement} is not pinned; what was found is {wheel.name}",
            remedy=f'if you trust it, add this line to its section: sha256 = "{found}"',
        )
    if found != config.sha256:
        raise PackageError(
            f"{requirement} is not what was pinned: {wheel.name} has the SHA-256 {found}, "
            f"the project file says {config.sha256}",
            remedy="find out why it changed; to accept the new one, pin its hash instead",
        )
    return Package(
        requirement=requirement,
        filename=wheel.name,
        wheel=ctx.blobs.put(as_zip(wheel, ctx.workdir) if is_npm else wheel, "application/zip"),
    )


def _download(requirement: str, folder: Path, progress: Progress) -> Path:
    """The one wheel that pip, or the one tarball that npm, leaves in `folder`."""
    target = folder / "wheel"
    target.mkdir()
    program, end = ("npm", "tgz") if requirement.startswith(NPM) else ("pip", "whl")
    if program == "npm":
        command = command_of(requirement.removeprefix(NPM), target)
    else:
        # -P: a typing.py or pip.py in the current folder is not the one that is meant.
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input", "-q"]
        command += ["-d", str(target), requirement]
    log = folder / "download.log"
    with log.open("wb") as output:
        # The requirement's form is checked by `Origin`, and no shell is involved.
        child = subprocess.Popen(  # noqa: S603
            command,
            cwd=target if program == "npm" else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    # Not Popen's own `with`: that waits for it, however long a silent index keeps it.
    try:
        start = time.monotonic()
        while child.poll() is None:
            progress(time.monotonic() - start, 0, f"{program} downloads {requirement}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.4)
    finally:
        _end(child)
    wheels = sorted(target.glob(f"*.{end}"))
    if child.returncode or len(wheels) != 1:
        said = _PASSWORD.sub("****", log.read_text(errors="replace")).strip()
        raise PackageError(
            f"{program} could not download {requirement}:\n{said[-1000:] or 'it left no package'}",
            remedy=_NPM_MIRROR if program == "npm" else _MIRROR,
        )
    return wheels[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have `process` end, if it has not: politely first, and in any case."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_END)
    finally:  # also when a second signal cuts the wait short
        process.kill()
        process.wait()
