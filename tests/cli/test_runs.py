"""Commands that compare runs, of images and of fields of the user's own."""

import json

import pytest

import mera
from mera.cli import import_extensions
from tests.helpers.command import SMALL, mera_command, plain, run

FIELDS = """
import torch
import mera
from mera.data import ArrayDataset, DataSplits

@mera.data.register("myfields")
def myfields(L: int = 8) -> DataSplits:
    "Gaussian fields."
    x = torch.randn(60, 1, L, L, generator=torch.Generator().manual_seed(0))
    return DataSplits("myfields", 1, ArrayDataset(x[:50]), ArrayDataset(x[50:]))
"""


@pytest.mark.slow
def test_runs_are_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_module.py").write_text(FIELDS)
    for words in (
        "--data msds1 --data-options train_size=40,test_size=20 --out runs/a",
        "--data myfields --out runs/deep/b",
    ):
        learn = f"--import my_module train rgflow {words} --steps 4 --eval-every 2"
        done = mera_command(tmp_path, *learn.split(), *SMALL)
        assert done.returncode == 0, done.stderr
    assert "nats/variable on test fields" in done.stdout

    (tmp_path / "my_module.py").rename(tmp_path / "runs" / "elsewhere.py")
    both = f"evaluate runs/a --import {tmp_path}/runs/elsewhere.py runs/deep/b --images 10".split()
    header, _, first, second = mera_command(tmp_path, *both).stdout.splitlines()
    assert all(unit in header for unit in ("bits/dim", "nats/variable"))
    assert [row.split()[0] for row in (first, second)] == ["runs/a", "runs/deep/b"]
    evaluated = json.loads(mera_command(tmp_path, *both, "--json").stdout)
    flow, test = mera.load(tmp_path / "runs" / "a"), mera.data.load("msds1", L=8, train_size=1, test_size=20).test
    assert evaluated[0]["bits/dim"] == pytest.approx(mera.train.example_losses(flow, test, 10).mean().item())
    assert 0 < evaluated[1]["nats/variable"] < 3
    assert evaluated[1]["test fields"] == 10

    nothing = run("train", "--resume", "runs/a", "--steps", "3")
    assert "Expected steps beyond the 4 that runs/a has taken" in str(nothing.exception)
    assert "after 4 steps" in plain(run("train", "--resume", "runs/a", "--minutes", "0.00001"))  # which are over


def test_a_file_that_another_module_hides_is_not_imported(tmp_path):
    (tmp_path / "random.py").write_text(FIELDS)
    with pytest.raises(ValueError, match=r"not named as another module of Python: rename it my_random.py; got"):
        import_extensions(["--import", str(tmp_path / "random.py"), "info"])
