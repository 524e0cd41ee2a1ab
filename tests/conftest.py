"""Every test starts from the same seed and the same default dtype; each process of pytest keeps to one core."""

import os
from importlib import import_module

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; processes that tests start inherit it

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20201029)
    yield
    torch.compiler.reset()  # what was compiled for other flows counts towards torch's limit
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def quick(monkeypatch):
    """Few samples and small forests, where a test asks how parts fit together, not how good results are."""
    monkeypatch.setattr(import_module("mera.analysis.factors"), "TREES", 10)
    monkeypatch.setattr(import_module("mera.inpaint.gaussian"), "SAMPLES", 512)
