"""Checks of arguments by annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mera._utils.door import checked
from mera._utils.errors import MOST, InputError


@checked
def function(
    n: int = 1,
    x: float = 1.0,
    flag: bool = True,
    text: str = "",
    tensor: Tensor | None = None,
    sizes: Sequence[int] = (),
    rates: float | Sequence[float] = 1.0,
    shape: tuple[int, ...] = (),
    pair: tuple[float, float] = (0, 1),
    items: Iterable[Tensor] = (),
    table: Mapping[str, Any] = {},
    call: Callable[[int], int] = abs,
    named: Annotated[int, "help"] = 1,
    anything: Any = None,
    unknown: Missing = None,  # noqa: F821
) -> int:
    """Return n."""
    return n


RIGHT = {
    "n": [1, np.int64(2), -3], "x": [1, 2.5, np.float32(1), float("inf")], "flag": [False], "text": ["a"],
    "tensor": [None, torch.zeros(2)], "sizes": [[1, 2], (3,), torch.Size([2])], "shape": [(1, 2), [3]],
    "rates": [1, [0.5, 1], torch.ones(2), np.ones(3)], "pair": [(1, 2), [0.5, 1]], "table": [{}, {"a": 1}],
    "items": [[torch.zeros(1)], iter([1])], "call": [print, int], "named": [3], "anything": [None, object()],
    "unknown": [None, 1],
}  # fmt: skip
WRONG = {
    "n": [1.0, True, "1", None, 2**63], "x": ["1", True, None, float("nan")], "flag": [1, None], "text": [1, None],
    "tensor": [1, np.zeros(2), torch.zeros(2, device="meta"), torch.zeros(2).to_sparse(), torch.zeros(2).cfloat()],
    "sizes": ["12", [1.5], None, 3, np.ones(2), {1}], "shape": ["a", (1.5,), 3],
    "rates": ["a", None, [None], np.ones((2, 2))],
    "pair": [(1,), 1, None], "table": [[], None], "items": [[1], "a", None, torch.zeros(2)], "call": [1, None],
    "named": ["a"],
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_arguments_that_fit(name):
    for value in RIGHT[name]:
        function(**{name: value})


@pytest.mark.parametrize("name", WRONG)
def test_arguments_that_do_not_fit(name):
    for value in WRONG[name]:
        with pytest.raises(InputError, match=f"Expected {name} as "):
            function(**{name: value})


def test_words():
    with pytest.raises(InputError, match=r"Expected sizes as a sequence of integers; got \[1\.5\]"):
        function(sizes=[1.5])
    with pytest.raises(InputError, match="Expected rates as a number or a sequence of numbers; got None"):
        function(rates=None)
    with pytest.raises(InputError, match=r"Expected tensor as a dense tensor of real numbers or None; got a meta"):
        function(tensor=torch.zeros(2, device="meta"))
    with pytest.raises(TypeError, match="unexpected keyword"):
        function(other=1)
    assert function.__name__ == "function"


def test_messages_have_a_bounded_length():
    error = InputError("a" * 10**6, "b" * 10**6, where="c")
    assert len(str(error)) < 2 * MOST + 100
    assert "aaa ... aaa" in str(error)
