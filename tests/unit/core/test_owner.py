"""A process is told apart from every other, also from a later one with its number."""

from __future__ import annotations

import os
import subprocess
import sys

from tunesmith.core.owner import is_gone, owner


def test_this_process_is_here():
    assert not is_gone(owner())


def test_another_machine_is_never_judged():
    assert not is_gone("another-host:1:0.00")
    assert not is_gone("not a name")


def test_a_number_that_was_used_again_is_another_process():
    host, pid, _ = owner().rsplit(":", 2)
    assert is_gone(f"{host}:{pid}:0-1")


def test_an_ended_process_is_gone_also_before_its_parent_has_noticed():
    code = "from tunesmith.core.owner import owner; print(owner(), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as ended:
        assert ended.stdout is not None
        name = ended.stdout.read().strip()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it is now a zombie
        assert is_gone(name)
    assert is_gone(name)
