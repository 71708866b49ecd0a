"""Another Python, and what is installed there: asked of itself, as this process does not know."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tunesmith
from tunesmith.core.errors import UsageError

ALONE = "-I"
"""How it is started: it hears no PYTHON... variable, and imports nothing that a user has installed
for himself, or that lies in the current folder."""
SECONDS = 120
_ASKED = """
import json, sys
said = {"tunesmith": None}
try:
    import tunesmith
    said["tunesmith"] = tunesmith.__version__
except ImportError:
    pass
if said["tunesmith"] == sys.argv[1]:
    from tunesmith.core.code_version import code_version, environment
    from tunesmith.core.errors import MissingExtra
    from tunesmith.core.kinds import kind
    of = kind(sys.argv[2])
    try:
        said.update(environment=environment(of), code=code_version(of))
    except MissingExtra as error:
        said["missing"] = error.message
print(json.dumps(said))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python that a step can run in."""

    path: Path
    code: str
    """A digest of the step's code there."""
    environment: Mapping[str, str]
    """Versions of what else bears on the step: Python and the libraries."""

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start it."""
        return (str(self.path), ALONE)


def interpreter(path: Path | None, kind: str, variables: Mapping[str, str]) -> Interpreter:
    """The Python at `path`, or in the virtual environment there; without one the Python of this
    process. Of what it has it says what bears on steps of that kind. It sees these `variables` of
    the environment alone.

    Raises:
        UsageError: it is no Python, or has no Tunesmith, another version, or not all libraries.
    """
    # A virtual environment is known by the place of its Python, a link that is not to be followed.
    found = Path(os.path.abspath(path)) if path is not None else Path(sys.executable)
    if found.is_dir():
        found /= "bin/python"
    remedy = f"install the version that is used here: {found} -m pip install ...; or name another"
    said = _said(found, kind, variables)
    if said["tunesmith"] is None:
        raise UsageError(f"{found} has no Tunesmith", remedy=remedy)
    if said["tunesmith"] != tunesmith.__version__:
        raise UsageError(
            f"{found} has Tunesmith {said['tunesmith']}, and this is {tunesmith.__version__}",
            remedy=remedy,
        )
    if "missing" in said:
        raise UsageError(f"{found}: {said['missing']}", remedy="install there what the lock names")
    return Interpreter(path=found, code=said["code"], environment=said["environment"])


def _said(path: Path, kind: str, variables: Mapping[str, str]) -> dict[str, Any]:
    remedy = "name the interpreter, or the folder of a virtual environment: --python ../clean"
    words = [str(path), ALONE, "-c", _ASKED, tunesmith.__version__, kind]
    try:
        done = subprocess.run(  # noqa: S603  # no shell; it is the Python that the user names
            words, env=variables, check=False, capture_output=True, text=True, timeout=SECONDS
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{path} cannot be started as a Python: {error}", remedy=remedy) from error
    except ValueError:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(f"{path} does not answer as a Python: {why}", remedy=remedy) from None
    if not isinstance(found, dict) or "tunesmith" not in found:
        raise UsageError(f"{path} does not answer as a Python", remedy=remedy)
    return found
