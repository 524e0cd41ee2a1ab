"""What arrays of any library hold."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mera._utils.memmap import kind_of


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.dtype("u1"), "uint8"), (torch.uint8, "uint8"), (np.dtype(">f4"), "float"), (np.dtype("f2"), "float"),
        (torch.bfloat16, "float"), (torch.float64, "float"), ("bfloat16", "float"), ("float128", "float128"),
        (torch.float8_e5m2, "float8_e5m2"), (np.dtype(">i2"), "i2"), (np.dtype(bool), "bool"),
    ],
)  # fmt: skip
def test_kinds(dtype, kind):
    assert kind_of(SimpleNamespace(dtype=dtype)) == kind
