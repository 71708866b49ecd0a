from __future__ import annotations

import functools
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


PARTS = (9, 4, 1, 6)
"""A beginning, and three ways to go on."""


def branched() -> tuple[torch.Tensor, torch.Tensor]:
    """A stream of a plain document and one with branches, and its positions."""
    ids, _ = stream((5, sum(PARTS)))
    begun = PARTS[0]
    positions = [*range(5), *range(begun)]
    for length in PARTS[1:]:
        positions += range(begun, begun + length)
    return ids, torch.tensor(positions)


@pytest.mark.parametrize("window", [None, 3, 12])
def test_what_goes_on_from_one_beginning_is_as_if_each_were_alone(
    model: Any, window: int | None
) -> None:
    """Also where a layer sees no further than a window, shorter or longer than the beginning."""
    if window is not None:  # as Mistral's layers hand it on
        for layer in model.model.layers:
            forward = layer.self_attn.forward
            layer.self_attn.forward = functools.partial(forward, sliding_window=window)
    ids, positions = branched()
    documents = Documents(lengths=(5, sum(PARTS)), branches=((), PARTS))

    found = hidden_states(model, ids, positions, documents)

    plain, rest = found[:5], found[5:].split(PARTS)
    parts = ids[5:].split(PARTS)

    def alone(some: torch.Tensor) -> torch.Tensor:
        lengths = Documents(lengths=(len(some),))
        return hidden_states(model, some, torch.arange(len(some)), lengths)

    torch.testing.assert_close(plain, alone(ids[:5]), rtol=0, atol=1e-10)
    torch.testing.assert_close(rest[0], alone(parts[0]), rtol=0, atol=1e-10)
    for part, states in zip(parts[1:], rest[1:], strict=True):
        expected = alone(torch.cat([parts[0], part]))[PARTS[0] :]
        torch.testing.assert_close(states, expected, rtol=0, atol=1e-10)


def test_branches_are_a_mask_that_is_written_shorter(model: Any) -> None:
    """Forward and backward."""
    ids, positions = branched()
    length = sum(PARTS)
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    start = PARTS[0]
    for part in PARTS[1:]:
        mask[start + part :, start : start + part] = False
        start += part

    def gradient(documents: Documents) -> tuple[torch.Tensor, torch.Tensor]:
        embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
        states = model.get_decoder()(
            inputs_embeds=embedded[None],
            position_ids=positions[None],
            documents=documents,
            use_cache=False,
        ).last_hidden_state[0]
        generator = torch.Generator().manual_seed(1)
        direction = torch.randn(states.shape, dtype=states.dtype, generator=generator)
        (grad,) = torch.autograd.grad((states * direction).sum(), embedded)
        return states.detach(), grad

    found = gradient(Documents(lengths=(5, length), branches=((), PARTS)))
    expected = gradient(Documents(lengths=(5, length), masks=(None, mask)))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_what_was_read_for_inference_first_can_be_trained_on(model: Any) -> None:
    """Masks are kept from one pass to the next, and inference's own tensors refuse a gradient."""
    parts = (6, 3, 2)  # of no other test: the mask is made here first
    ids, positions = torch.arange(1, 12), torch.arange(11)
    documents = Documents(lengths=(11,), branches=(parts,))
    with torch.inference_mode():
        read = hidden_states(model, ids, positions, documents)
    model.requires_grad_(True)
    trained = hidden_states(model, ids, positions, documents)
    trained.sum().backward()
    torch.testing.assert_close(trained.detach(), read, rtol=0, atol=1e-10)


def test_branches_do_not_see_one_another(model: Any) -> None:
    """The derivative of one by another's embeddings is exactly zero."""
    ids, positions = branched()
    embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
    states = model.get_decoder()(
        inputs_embeds=embedded[None],
        position_ids=positions[None],
        documents=Documents(lengths=(5, sum(PARTS)), branches=((), PARTS)),
        use_cache=False,
    ).last_hidden_state[0]
    whole = (5, *PARTS)
    for number, part in enumerate(states.split(whole)):
        direction = torch.randn(part.shape, dtype=part.dtype, generator=torch.Generator())
        (grad,) = torch.autograd.grad((part * direction).sum(), embedded, retain_graph=True)
        for other, influence in enumerate(grad.split(whole)):
            assert bool(influence.any()) == (other == number or (other == 1 and number > 1))
