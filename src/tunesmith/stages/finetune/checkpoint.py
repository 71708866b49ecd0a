"""What a run leaves behind so that another attempt at it goes on from there, bit for bit.

The order of the rows follows from the seed, and nothing else is drawn at random, so the trained
parameters, the optimiser's two moments and the curve are all the state that there is. It lies in
one file, named by its step; a marker that names it with its digest is put in place last, so that a
crash at any point leaves either the old checkpoint or the new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from tunesmith.core.canonical import fingerprint, sha256
from tunesmith.core.failpoint import failpoint
from tunesmith.stages.finetune.step_record import StepRecord

MARKER = "checkpoint.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where the checkpoints of one run lie, and what they must be of to be of use."""

    folder: Path
    identity: str
    """Digest of all that bears on the course of the run."""

    def save(
        self,
        parameters: Sequence[torch.nn.Parameter],
        optimiser: torch.optim.Optimizer,
        curve: Sequence[StepRecord],
    ) -> None:
        """Keep the state after the last step of `curve`, and then let go of the one before."""
        tensors: dict[str, torch.Tensor] = {}
        for number, parameter in enumerate(parameters):
            tensors[f"parameter.{number}"] = parameter.detach()
            for name, value in optimiser.state[parameter].items():
                tensors[f"{name}.{number}"] = value
        lines = json.dumps([asdict(record) for record in curve]).encode()
        tensors["curve"] = torch.frombuffer(bytearray(lines), dtype=torch.uint8)
        data = safetensors.torch.save(tensors)
        name = f"step-{len(curve)}.safetensors"
        _write(self.folder / name, data)
        failpoint("checkpoint.written")
        marker = {"identity": self.identity, "file": name, "sha256": sha256(data)}
        _write(self.folder / MARKER, json.dumps(marker).encode())
        failpoint("checkpoint.marked")
        for other in self.folder.glob("step-*.safetensors"):
            if other.name != name:
                other.unlink()

    def restore(
        self, parameters: Sequence[torch.nn.Parameter], optimiser: torch.optim.Optimizer
    ) -> list[StepRecord]:
        """Set `parameters` and `optimiser` to the last state that was kept; the curve up to it.

        The curve is empty, and nothing was changed, if there is none, if it is of another run, or
        if it is damaged: then the run starts anew.
        """
        data = self._last()
        if data is None:
            return []
        tensors = safetensors.torch.load(data)
        for number, parameter in enumerate(parameters):
            parameter.data.copy_(tensors.pop(f"parameter.{number}"))
            optimiser.state[parameter] = {
                name.rpartition(".")[0]: value
                for name, value in tensors.items()
                if name.rpartition(".")[2] == str(number)
            }
        lines = json.loads(tensors["curve"].numpy().tobytes())
        return [StepRecord(**line | {"row_ids": tuple(line["row_ids"])}) for line in lines]

    def _last(self) -> bytes | None:
        try:
            marker = json.loads((self.folder / MARKER).read_bytes())
            data = (self.folder / Path(marker["file"]).name).read_bytes()
        except (OSError, ValueError, KeyError):
            return None
        whole = sha256(data) == marker["sha256"] and marker["identity"] == self.identity
        return data if whole else None


def identity_of_run(identity: Mapping[str, Any]) -> str:
    """Digest of what bears on the course of a run; where it is to end does not."""
    config = dict(identity.get("config", {}))
    config.pop("stop_after", None)
    return fingerprint({**identity, "config": config})


def _write(path: Path, data: bytes) -> None:
    """Put `data` in place whole, or not at all."""
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
