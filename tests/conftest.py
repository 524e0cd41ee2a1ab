"""Every test starts from the same seed and the same default dtype."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20201029)
    yield
    torch.compiler.reset()  # what was compiled for other flows counts towards torch's limit
    torch.set_default_dtype(torch.float32)
