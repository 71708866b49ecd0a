"""Weight-decomposed low-rank adapters (DoRA, arXiv 2402.09353), in PEFT's format."""

from __future__ import annotations

import torch

from tunesmith.lm.adapter import row_norms
from tunesmith.stages.finetune.lora import LoraLinear
from tunesmith.stages.finetune.lora_matmul import lora_matmul


class DoraLinear(LoraLinear):
    """A frozen linear layer whose weight is `m * V / |V|`, with `V = W + scaling * B @ A` and |V|
    the lengths of its rows; m starts as |W|, so nothing changes at first.

    |V| follows V but gets no gradient (section 4.3 of the paper, and PEFT).
    """

    use_dora = True

    def __init__(
        self, frozen: torch.nn.Linear, rank: int, scaling: float, generator: torch.Generator
    ) -> None:
        super().__init__(frozen, rank, scaling, generator)
        self.magnitude = torch.nn.Parameter(self._norms())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features)."""
        (out,) = lora_matmul(x, self.frozen.weight, None, self.scaling, [self])
        out = out * (self.magnitude / self._norms())
        return out if self.frozen.bias is None else out + self.frozen.bias

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """What is trained, by the names that PEFT puts after the layer's."""
        return {**super().trained(), "lora_magnitude_vector": self.magnitude}

    @torch.no_grad()
    def _norms(self) -> torch.Tensor:
        """|V|, (out_features,)."""
        return row_norms(
            torch.addmm(self.frozen.weight, self.lora_b, self.lora_a, alpha=self.scaling)
        )
