"""Get one package of npm: its tarball as the registry has it, nothing installed, nothing run."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from tunesmith.core.errors import PackageError
from tunesmith.stages.ingest.archive import EPOCH
from tunesmith.stages.ingest.container import files_of
from tunesmith.stages.ingest.entry import Quarantined

_QUIET = ("--loglevel=error", "--no-update-notifier", "--no-fund", "--no-audit")


def command_of(name: str, target: Path) -> list[str]:
    """What leaves the tarball of `name`, as in "left-pad@1.3.0", in the folder `target`.

    `npm pack` of a name with a version fetches and builds nothing; no script of it is run.

    Raises:
        PackageError: npm is not on PATH.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise PackageError(
            f"npm is needed for npm:{name}, and is not on PATH",
            remedy="install Node.js, which brings it; or fetch the package yourself (npm pack "
            "--ignore-scripts) and name the .tgz as a file of the project: file:data/NAME.tgz",
        )
    # The prefix is where npm looks for a project's own .npmrc.
    where = ["--pack-destination", str(target), "--prefix", str(target)]
    return [npm, "pack", name, "--ignore-scripts", "--json", *where, *_QUIET]


def as_zip(tarball: Path, folder: Path) -> Path:
    """The tarball as a zip, which the steps that follow read packages as; the same bytes each time.

    Raises:
        PackageError: it is no whole tarball, or hostile.
    """
    wrapped, target = folder / "wrapped", folder / "package"
    with zipfile.ZipFile(wrapped, "w", zipfile.ZIP_STORED) as sink:
        sink.write(tarball, tarball.name)
    with (
        zipfile.ZipFile(wrapped) as archive,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as sink,
    ):
        for file in files_of(archive, archive.infolist()[0], ("**",), folder):
            if isinstance(file, Quarantined):
                raise PackageError(
                    f"{tarball.name} is refused: {file.reason}",
                    remedy="do not use this package; one made by npm never looks like this",
                )
            info = zipfile.ZipInfo(file.name.removeprefix(f"{tarball.name}/"), EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            with file.stream, sink.open(info, "w", force_zip64=True) as into:
                shutil.copyfileobj(file.stream, into, 1 << 20)
    wrapped.unlink()
    return target
