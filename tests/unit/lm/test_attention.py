from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import Documents, attend_by_document, hidden_states
from tunesmith.lm.load import load_model

LENGTHS = (7, 1, 19, 4)


@pytest.fixture
def model(tiny: Any) -> Any:
    loaded = load_model(tiny.base, tiny.blobs).model.double()
    attend_by_document(loaded)
    return loaded


def stream(lengths: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 300, (sum(lengths),), generator=generator)
    return ids, torch.cat([torch.arange(length) for length in lengths])


def test_packed_documents_are_what_each_is_alone(tiny: Any, model: Any) -> None:
    stock = load_model(tiny.base, tiny.blobs).model.double()
    ids, positions = stream(LENGTHS)

    packed = hidden_states(model, ids, positions, Documents(lengths=LENGTHS))

    alone = [stock.model(part[None]).last_hidden_state[0] for part in ids.split(LENGTHS)]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=1e-10)


def test_nothing_leaks_between_documents(model: Any) -> None:
    """The derivative of one document's states by another's embeddings is exactly zero."""
    ids, positions = stream(LENGTHS)
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    states = model.get_decoder()(
        inputs_embeds=embedded[None],
        position_ids=positions[None],
        documents=Documents(lengths=LENGTHS),
        use_cache=False,
    ).last_hidden_state[0]
    for number, part in enumerate(states.split(LENGTHS)):
        # By a random direction: a plain sum of normalised states could cancel.
        direction = torch.randn(part.shape, dtype=part.dtype, generator=torch.Generator())
        (grad,) = torch.autograd.grad((part * direction).sum(), embedded, retain_graph=True)
        for other, influence in enumerate(grad.split(LENGTHS)):
            assert bool(influence.any()) == (other == number)


def test_a_mask_says_what_attends_to_what(model: Any) -> None:
    """With the causal mask written out, nothing changes; without the first token, much does."""
    ids, positions = stream((5, 6))
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    blind = causal.clone()
    blind[1:, 0] = False

    def states(mask: torch.Tensor | None) -> torch.Tensor:
        documents = Documents(lengths=(5, 6), masks=(None, mask))
        return hidden_states(model, ids, positions, documents)

    torch.testing.assert_close(states(causal), states(None), rtol=0, atol=1e-10)
    torch.testing.assert_close(states(blind)[:6], states(None)[:6], rtol=0, atol=1e-10)
    assert (states(blind)[6:] - states(None)[6:]).abs().max() > 1e-3


def test_other_models_and_plain_calls_are_not_affected(tiny: Any, model: Any) -> None:
    stock = load_model(tiny.base, tiny.blobs).model.double()
    ids, _ = stream((30,))

    assert stock.config._attn_implementation == "sdpa"
    torch.testing.assert_close(model(ids[None]).logits, stock(ids[None]).logits)


def test_architectures_that_could_leak_are_refused() -> None:
    with torch.device("meta"):
        mamba = transformers.MambaForCausalLM(
            transformers.MambaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1)
        )
    with pytest.raises(DataError, match="mamba"):
        attend_by_document(mamba)
