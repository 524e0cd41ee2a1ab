"""Each public function either works with a wrong argument, or refuses it in words that name the argument."""

import warnings

import numpy as np
import pytest
import torch

from mera._utils.errors import InputError
from tests.tables.calls import CALLS

WRONG = {
    "None": None,
    "text": "nonsense",
    "no text": "",
    "number": 3,
    "zero": 0,
    "minus one": -1,
    "half": 0.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "huge": 2**70,
    "bool": True,
    "list": [],
    "list of text": ["a", "b"],
    "tuple": (0, 2),
    "dict": {},
    "object": object(),
    "class": int,
    "function": print,
    "numpy": np.zeros((2, 1, 4, 4)),
    "numpy of objects": np.array([None, "a"], dtype=object),
    "empty tensor": torch.zeros(0),
    "scalar": torch.tensor(1.0),
    "rank one": torch.randn(3),
    "wrong rank": torch.randn(2, 1, 4, 4, 1),
    "complex": torch.zeros(2, 1, 4, 4, dtype=torch.cfloat),
    "sparse": torch.zeros(2, 1, 4, 4).to_sparse(),
    "meta": torch.zeros(2, 1, 4, 4, device="meta"),
    "NaN tensor": torch.full((2, 1, 4, 4), float("nan")),
    "integers": torch.zeros(2, 1, 4, 4, dtype=torch.int64),
}
REFUSALS = (InputError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, FloatingPointError)
"""Errors with a message of this package: of a value, of a file, of a number that is not finite."""


def outcomes(name):
    """The wrong calls of a function that end in a raw error."""
    function, make = CALLS[name]
    raw = []
    for argument in make():
        right = make()
        for kind, value in WRONG.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    function(**right | {argument: value})
                    right = make()  # a call that is accepted may change what it is given
                except REFUSALS as error:
                    if len(str(error)) > 1000:
                        raw.append(f"{argument}={kind}: a message of {len(str(error))} characters")
                except BaseException as error:
                    raw.append(f"{argument}={kind}: {type(error).__name__}: {str(error)[:150]}")
    return raw


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mera.train.settings.STEPS", 2)  # what steps=None asks for
    assert outcomes(name) == []


def test_the_size_of_the_table():
    calls = sum(len(make()) for _, make in CALLS.values()) * len(WRONG)
    assert calls > 5000, calls
