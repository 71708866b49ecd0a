"""The folder of an adapter in PEFT's format."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.blobs import Blobs
from tunesmith.records.model import ModelVersion

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


def write_adapter_files(folder: Path, blobs: Blobs, model: ModelVersion) -> None:
    """Write what was tuned as it is kept: that is PEFT's format."""
    (folder / ADAPTER).write_bytes(blobs.get(model.adapter))
    (folder / ADAPTER_CONFIG).write_bytes(blobs.get(model.adapter_config))
