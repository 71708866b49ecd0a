"""Rows that are lost, or there twice, are not passed over."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tunesmith.asset.accounted import require_accounted
from tunesmith.core.errors import StoreError


def test_every_row_is_on_one_side():
    require_accounted(0)
    require_accounted(6, 1, 2, 3)
    for sides in [(1, 2, 2), (1, 2, 4)]:
        with pytest.raises(StoreError, match=r"6 rows came in and 1 \+ 2 \+ \d = \d are accounted"):
            require_accounted(6, *sides)


def test_it_is_looked_at_without_assertions_too():
    code = "from tunesmith.asset.accounted import require_accounted; require_accounted(2, 1)"
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "2 rows came in" in done.stderr
