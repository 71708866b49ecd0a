from __future__ import annotations

import subprocess
import sys

import pydantic
import pytest

from tunesmith.stages.export.config import ExportConfig


@pytest.mark.parametrize("form", ["adapter", "merged", "gguf-adapter"])
def test_only_gguf_can_be_quantised(form: str) -> None:
    with pytest.raises(pydantic.ValidationError, match='only format "gguf" can be quantised'):
        ExportConfig(format=form, quantisation="q8_0")  # type: ignore[arg-type]


def test_settings_and_the_command_load_no_weights() -> None:
    code = (
        "import sys, tunesmith.cli.export\nassert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
