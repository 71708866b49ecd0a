"""What a module says, as a digest: its syntax trees without comments, docstrings and layout.

To parse and write out a package of a hundred files takes half a second, which every command would
wait for. So the digest is kept beside the compiled code, in `__pycache__`, with the digest of the
bytes that it was made from; whoever can write there can change the code.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tunesmith.core.canonical import sha256

_KEPT = re.compile(r"[0-9a-f]{64} [0-9a-f]{64}")


@functools.cache
def code_digest(name: str) -> str:
    """The digest of a module, or of all modules of a package."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    origin = Path(spec.origin)
    is_package = spec.submodule_search_locations is not None
    paths = sorted(origin.parent.rglob("*.py")) if is_package else [origin]
    files = {str(path.relative_to(origin.parent)): path.read_bytes() for path in paths}
    kept = origin.parent / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.digest"
    return _kept(kept, files)


def _kept(place: Path, files: Mapping[str, bytes]) -> str:
    """The digest of these files as it is kept, or made anew and kept, where that can be."""
    raw = hashlib.sha256()
    for path, data in files.items():
        raw.update(f"{path}\0{len(data)}\0".encode() + data)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        said = place.read_text()
        if _KEPT.fullmatch(said) and said.startswith(raw.hexdigest()):
            return said[65:]
    made = _digest(files)
    if not sys.dont_write_bytecode:
        with contextlib.suppress(OSError):
            place.parent.mkdir(exist_ok=True)
            _replace(place, f"{raw.hexdigest()} {made}")
    return made


def _replace(place: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=place.parent)
    try:
        with open(handle, "w") as file:
            file.write(text)
        os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise


def _digest(files: Mapping[str, bytes]) -> str:
    trees = []
    for path, data in files.items():
        tree = ast.parse(data)
        _strip_docstrings(tree)
        trees.append(f"{path}\n{ast.dump(tree)}")
    return sha256("\n".join(trees).encode())


def _strip_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                statement
                for statement in node.body
                if not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ]
