"""Functions of the project's own files, which run in a process of their own (`function_worker`)."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}
)
"""What such a process sees of the environment."""


def command(path: Path, function: str) -> list[str]:
    """The words that start the process which answers with `function` of the file at `path`."""
    worker = Path(__file__).with_name("function_worker.py")
    # -P, -s: it imports what is installed, and nothing that lies about.
    return [sys.executable, "-P", "-s", "-B", str(worker), str(path), function]


def libraries_of(text: str) -> Iterator[tuple[str, str]]:
    """(distribution, version) of what a file imports that did not come with Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # said when it is run
        return
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    names -= sys.stdlib_module_names
    known = importlib.metadata.packages_distributions() if names else {}
    for name in names:
        for distribution in known.get(name, ()):
            yield distribution, importlib.metadata.version(distribution)
