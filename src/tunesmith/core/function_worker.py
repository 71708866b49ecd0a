"""Runs a function of the project in a process of its own: it imports nothing of Tunesmith.

It is given rows on standard input, a JSON object a line, and answers a line each: `{"rows": [...]}`
or `{"problem": "..."}`. What the function prints does not get between the answers. It is the user's
own code, and trusted; it is kept from what would make its answers depend on more than its row, or
would leave something behind.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

MAX_ANSWER_BYTES = 16 << 20
_MAX_DEPTH = 100
_KINDS = (type(None), bool, int, str)
_REFUSED = (
    "os.exec", "os.fork", "os.forkpty", "os.kill", "os.link", "os.mkdir", "os.posix_spawn",
    "os.remove", "os.rename", "os.rmdir", "os.spawn", "os.symlink", "os.system", "os.truncate",
    "pty.spawn", "shutil.rmtree", "socket.bind", "socket.connect", "socket.getaddrinfo",
    "socket.sendto", "sqlite3.connect", "subprocess.Popen",
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main(path: str, name: str) -> None:
    """Answer every line of standard input with what the function `name` of a file returns."""
    rows, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.addaudithook(_guard(path))
    try:
        function = _function(path, name)
    except BaseException as error:
        answers.write(json.dumps({"broken": _said(error, path)}).encode() + b"\n")
        answers.flush()
        os._exit(0)
    for line in rows:
        answers.write(_answer(function, json.loads(line), path) + b"\n")
        answers.flush()
    os._exit(0)  # threads that the file has started are not waited for


def _function(path: str, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise AttributeError(f"there is no function {name!r} in it")
    return function


def _answer(function: Any, row: dict[str, Any], path: str) -> bytes:
    try:
        returned = function(row)
        rows = [] if returned is None else [returned] if type(returned) is dict else returned
        if type(rows) is not list or any(type(each) is not dict for each in rows):
            raise TypeError("it returned neither a dict, nor a list of dicts, nor None")
        _check(rows, 0)
        text = json.dumps({"rows": rows}, ensure_ascii=False, allow_nan=False)
        if len(text.encode()) > MAX_ANSWER_BYTES:  # half of a character pair is no UTF-8 either
            raise ValueError(f"it returned more than {MAX_ANSWER_BYTES} bytes")
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        return json.dumps({"problem": _said(error, path)}).encode()
    return text.encode()


def _check(value: Any, depth: int) -> None:
    """Raise TypeError or ValueError where a value is none that JSON has."""
    if depth > _MAX_DEPTH:
        raise ValueError("it returned something nested too deeply")
    if type(value) in _KINDS:
        return
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"it returned {value}, which JSON has not")
    elif type(value) is list:
        for each in value:
            _check(each, depth + 1)
    elif type(value) is dict:
        for key, each in value.items():
            if type(key) is not str:
                raise TypeError(f"it returned a key that is a {type(key).__name__}, not a string")
            _check(each, depth + 1)
    else:
        raise TypeError(f"it returned a {type(value).__name__}, which JSON has not")


def _said(error: BaseException, path: str) -> str:
    """The line of an exception, and the line of the file that it came from."""
    said = " ".join(traceback.format_exception_only(error)[-1].split())[:200]
    said = re.sub(r"0x[0-9a-f]{6,}", "0x...", said)  # where something lies is chance
    said = said.encode("utf-8", "backslashreplace").decode()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [each.lineno for each in frames if each.filename == path]
    return f"{said} ({Path(path).name}, line {lines[-1]})" if lines else said


def _guard(path: str) -> Any:
    """What refuses to write, to reach out, and to read what is no library."""
    own = str(Path(path).parent)
    folders = {*sys.path, sys.prefix, sys.base_prefix, "/usr/share/zoneinfo", own}
    libraries = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in folders if folder)
    others = (os.devnull, "/dev/urandom", "/etc/localtime")

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            file, _, flags = arguments
            if isinstance(file, int):
                return
            real = os.path.realpath(os.fsdecode(file))
            writes = isinstance(flags, int) and flags & _WRITES
            if real in others or (real.startswith(libraries) and not writes):
                return
            what = "write" if writes else "read"
            raise PermissionError(
                f"a function may not {what} {file}: it is given its row, and nothing else"
            )
        if event in _REFUSED:
            raise PermissionError(f"a function may not do this ({event}): it only answers")

    return refuse


def _end_with_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:3])
