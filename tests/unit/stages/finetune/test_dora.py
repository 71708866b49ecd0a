from __future__ import annotations

from typing import Any

import peft
import pytest
import torch

from tunesmith.lm.load import load_model
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.dora import DoraLinear
from tunesmith.stages.finetune.trained import Trained, prepare, trained_bytes, trained_config

IDS = torch.arange(50)[None]
DORA = ModelConfig(base="b", dataset="d", method="dora", rank=4, alpha=6.0)


def ours(tiny: Any) -> tuple[Any, Trained]:
    """The tiny model in float64, with adapters that do something."""
    model = load_model(tiny.base, tiny.blobs).model.double()
    trained = prepare(model, DORA, seed=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in trained.parameters:
        parameter.data += 0.1 * torch.randn(
            parameter.shape, dtype=parameter.dtype, generator=generator
        )
    return model, trained


def theirs(tiny: Any, trained: Trained, folder: Any) -> tuple[Any, list[torch.nn.Parameter]]:
    """PEFT's, loaded from what we save; its parameters in the order of ours."""
    (folder / "adapter_model.safetensors").write_bytes(trained_bytes(trained))
    (folder / "adapter_config.json").write_bytes(trained_config(trained, DORA, tiny.base))
    stock = load_model(tiny.base, tiny.blobs).model.double()
    model = peft.PeftModel.from_pretrained(stock, str(folder), is_trainable=True).eval()
    modules = dict(model.named_modules())
    parameters = []
    for name in trained.adapters:
        layer = modules[f"base_model.model.{name}"]
        parameters += [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        parameters.append(layer.lora_magnitude_vector["default"].weight)
    assert {id(p) for p in parameters} == {id(p) for p in model.parameters() if p.requires_grad}
    return model, parameters


def steps(model: Any, parameters: list[torch.nn.Parameter]) -> list[list[torch.Tensor]]:
    """Logits, then the gradients and the parameters of three steps of AdamW."""
    optimiser = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    found = []
    for _ in range(3):
        logits = model(IDS).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], IDS[0, 1:])
        grads = list(torch.autograd.grad(loss, parameters))
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad
        optimiser.step()
        found.append([logits.detach(), *grads, *(p.detach().clone() for p in parameters)])
    return found


# peft asks transformers for a property that transformers renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_forward_gradients_and_three_steps_are_those_of_peft(tiny: Any, tmp_path: Any) -> None:
    model, trained = ours(tiny)
    stock, parameters = theirs(tiny, trained, tmp_path)

    for found, expected in zip(
        steps(model, trained.parameters), steps(stock, parameters), strict=True
    ):
        for one, other in zip(found, expected, strict=True):
            assert torch.isfinite(one).all()  # defect 30
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_the_base_weights_are_bit_equal_after_steps(tiny: Any) -> None:
    """Defect 30."""
    model, trained = ours(tiny)
    steps(model, trained.parameters)
    base = load_model(tiny.base, tiny.blobs).model.double()

    for name, layer in trained.adapters.items():
        assert torch.equal(layer.frozen.weight, base.get_submodule(name).weight), name


def test_nothing_changes_before_the_first_step(tiny: Any) -> None:
    model = load_model(tiny.base, tiny.blobs).model
    before = model(IDS).logits
    prepare(model, DORA, seed=1)

    assert torch.equal(model(IDS).logits, before)


@pytest.mark.parametrize("bias", [False, True])
def test_a_row_of_zeros_has_finite_gradients(bias: bool) -> None:
    """Defect 30: a pruned row has no direction; PEFT divides zero by zero there."""
    frozen = torch.nn.Linear(6, 5, bias=bias).requires_grad_(False)
    frozen.weight[2] = 0
    layer = DoraLinear(frozen, 3, 0.7, torch.Generator().manual_seed(0))
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)

    out = layer(x)
    grads = torch.autograd.grad(out.square().sum(), [x, *layer.trained().values()])

    torch.testing.assert_close(out, frozen(x))
    assert all(bool(torch.isfinite(grad).all()) for grad in grads)
