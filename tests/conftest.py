"""Every test starts from the same seed and the same default dtype; each process of pytest keeps to one core."""

import os
import shutil
from importlib import import_module

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; processes that tests start inherit it

import pytest
import torch

from mera.physics import Target


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20201029)
    yield
    torch.compiler.reset()  # what was compiled for other flows counts towards torch's limit
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def quick(monkeypatch):
    """Few samples and short chains, where a test asks how parts fit together, not how good results are."""
    monkeypatch.setattr(import_module("mera.inpaint.gaussian"), "SAMPLES", 512)
    for short_run in (Target.short_run, import_module("mera.sampling.hamiltonian").short_run):
        monkeypatch.setattr(short_run, "__defaults__", (1, 8))


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
