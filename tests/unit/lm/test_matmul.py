from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.lm import matmul

SIZES = st.integers(1, 40)


@given(rows=SIZES, inner=SIZES, columns=SIZES, seed=st.integers(0, 9))
def test_products_are_those_of_float64(rows: int, inner: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inner, generator=generator)
    weight = torch.randn(columns, inner, generator=generator)
    bias = torch.randn(columns, generator=generator)
    expected = x.double() @ weight.double().t()
    close = {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(matmul.linear(x, weight).double(), expected, **close)
    with_bias = matmul.linear(x, weight, bias).double()
    torch.testing.assert_close(with_bias, expected + bias.double(), **close)
    turned = matmul.product(x, weight.t().contiguous()).double()
    torch.testing.assert_close(turned, expected, **close)
    torch.testing.assert_close(matmul.linear(x.double(), weight.double()), expected)


def test_a_strip_of_a_matrix_goes_to_the_library_that_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("oneDNN is a thousand times slower here")

    monkeypatch.setattr(matmul, "_onednn", refuse)
    wide = torch.randn(4, 10)
    strip = wide[:, 3:8]
    torch.testing.assert_close(matmul.linear(strip, torch.ones(2, 5)), strip @ torch.ones(5, 2))
    torch.testing.assert_close(matmul.linear(torch.ones(2, 5), strip), torch.ones(2, 5) @ strip.t())


@pytest.mark.parametrize("wrong", ["it raises", "it is wrong"])
def test_an_operator_that_is_not_what_it_was_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    def changed(x: torch.Tensor, weight: torch.Tensor, _bias: object) -> torch.Tensor:
        if wrong == "it raises":
            raise RuntimeError("another schema")
        return x @ weight.t() + 1

    monkeypatch.setattr(matmul, "_onednn", changed)
    matmul._usable.cache_clear()
    try:
        assert not matmul._usable()
        x, weight = torch.randn(3, 5), torch.randn(4, 5)
        torch.testing.assert_close(matmul.linear(x, weight), x @ weight.t())
    finally:
        matmul._usable.cache_clear()


def test_a_model_that_was_sped_up_says_the_same_and_still_learns() -> None:
    torch.manual_seed(0)
    stock = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    fast = copy.deepcopy(stock)
    matmul.speed_up(fast)
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), stock(x), rtol=1e-5, atol=1e-6)
    for model in (fast, stock):
        model(x).square().sum().backward()
    for one, two in zip(fast.parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6)
    assert fast.state_dict().keys() == stock.state_dict().keys()
