from __future__ import annotations

from typing import Any

from tunesmith.lm.size import num_layers


def test_layers_are_counted(tiny: Any) -> None:
    assert num_layers(tiny.base, tiny.blobs) == 2
