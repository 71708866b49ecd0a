from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from tunesmith.lm.attention import Documents, attend_by_document, hidden_states
from tunesmith.stages.finetune.fuse import GatedMlp, Member, RmsNorm, fuse
from tunesmith.stages.finetune.lora import LoraLinear, add_lora, trainable

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": None,
}
LENGTHS = (5, 1, 9)


def make(kind: str, lowest_layer: int = 0) -> tuple[Any, list[torch.nn.Parameter]]:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES)
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
    attend_by_document(model)
    layers = add_lora(model, 4, 6.0, seed=1, lowest_layer=lowest_layer)
    for layer in layers.values():
        torch.nn.init.normal_(layer.lora_b, std=0.3)
    return model, trainable(layers)


def result(model: Any, parameters: list[torch.nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.arange(sum(LENGTHS)) % 50
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    states = hidden_states(model, ids, positions, Documents(lengths=LENGTHS))
    direction = torch.randn(states.shape, generator=torch.Generator().manual_seed(3)).double()
    grads = torch.autograd.grad((states * direction).sum(), parameters)
    return states.detach(), torch.cat([grad.flatten() for grad in grads])


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3_text"])
@pytest.mark.parametrize("lowest_layer", [0, 2])
def test_fused_is_the_same_arithmetic(
    kind: str, lowest_layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.stages.finetune.fuse.PLAIN_NORMS", set())  # see below
    expected = result(*make(kind, lowest_layer))
    model, parameters = make(kind, lowest_layer)
    weights = {name: p.clone() for name, p in model.named_parameters()}
    fuse(model)
    found = result(model, parameters)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert [p.shape for p in parameters] == [p.shape for p in make(kind, lowest_layer)[1]]
    assert sum(p.numel() for p in model.parameters()) == sum(w.numel() for w in weights.values())


def test_the_norm_is_torchs() -> None:
    """transformers' own goes through float32 whatever it is given, so torch's is the oracle."""
    stock = transformers.models.llama.modeling_llama.LlamaRMSNorm(16, eps=1e-5).double()
    torch.nn.init.normal_(stock.weight, mean=1.0)
    stock.weight.requires_grad_(False)
    x = torch.randn(2, 7, 16, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(x)
    expected = torch.nn.functional.rms_norm(x, (16,), stock.weight, 1e-5)
    found = RmsNorm(stock)(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    (expected_grad,) = torch.autograd.grad((expected * direction).sum(), x)
    (grad,) = torch.autograd.grad((found * direction).sum(), x)
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-13)
    torch.testing.assert_close(found, stock(x), rtol=0, atol=1e-5)


def test_what_is_fused() -> None:
    model, _ = make("llama")
    fuse(model)
    layer = model.model.layers[0]
    assert isinstance(layer.self_attn.q_proj, Member)
    assert isinstance(layer.self_attn.o_proj, LoraLinear)
    assert isinstance(layer.mlp, GatedMlp)
    assert isinstance(model.model.norm, RmsNorm)
    gemma, _ = make("gemma3_text")
    fuse(gemma)
    assert isinstance(gemma.model.layers[0].mlp.up_proj, Member)  # its activation is another


def test_the_stacked_weights_lie_in_memory_once() -> None:
    model, _ = make("qwen2")
    attention = model.model.layers[0].self_attn
    q, k = attention.q_proj.frozen.weight, attention.k_proj.frozen.weight
    before = q.clone()
    fuse(model)
    whole = attention.q_proj.group.weight
    assert q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr()
    assert whole.untyped_storage().data_ptr() == q.untyped_storage().data_ptr()
    assert torch.equal(q, before)


def test_gradients_by_differences() -> None:
    """Against numbers, not against other code."""
    model, _ = make("llama")
    fuse(model)
    layer = model.model.layers[0]
    x = torch.randn(3, 32, dtype=torch.float64, requires_grad=True)

    def through(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        q, k, v = (getattr(layer.self_attn, n)(x) for n in ("q_proj", "k_proj", "v_proj"))
        return layer.mlp(layer.input_layernorm(x)).sum(-1) + (q.sum(-1) * k.sum(-1) * v.sum(-1))

    inside = [p for p in layer.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(through, (x, *inside))
