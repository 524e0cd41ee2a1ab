"""Notebook representations of results, and commands with modules and data of the user's own."""

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

import mera
from mera.drawing.images import save_image
from mera.train import fit
from tests.helpers import command
from tests.helpers.command import SMALL, mera_command, run
from tests.helpers.training import SHORT, small_flow


def succeed(words, *arguments):
    """The output of a command, its words and further arguments."""
    return command.plain(command.succeed(*words.split(), *arguments))


FILL = "--region 0:2,0:2 --warmup 3 --iterations 4 --steps 2 --leapfrog 2 --particles 8"


def test_a_run_can_be_moved_and_so_can_its_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photographs = tmp_path / "photos"
    photographs.mkdir()
    photos = [f"{i:02d}.png" for i in range(20)]
    for name in photos:
        save_image(torch.randint(0, 256, (3, 10, 10), dtype=torch.uint8), photographs / name)
    succeed("train rgflow --data photos --data-options crop=centre --out run --steps 2 --eval-images 2", *SMALL)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "run").rename(elsewhere / "run")
    monkeypatch.chdir(elsewhere)
    succeed("evaluate run")  # from another folder
    photographs.rename("moved")
    lost = run("evaluate", "run")
    assert isinstance(lost.exception, FileNotFoundError)
    assert "photos" in str(lost.exception)
    assert "--root names another place" in str(lost.exception)
    succeed("evaluate run --root moved")
    succeed(f"inpaint run --test 0 --root moved {FILL}")
    succeed("train --resume run --steps 3 --root moved")
    succeed("evaluate run")  # the run remembers the new place
    learnt = mera.train.RunFolder("run").facts()["data"]["test"]["files"]
    (elsewhere / "moved" / next(name for name in photos if name not in learnt)).unlink()
    succeed("evaluate run")  # whose test examples are the same
    refused = str(run("train", "--resume", "run").exception)
    assert "Expected the data of the run in run, train." in refused
    (elsewhere / "moved" / learnt[0]).unlink()
    assert "warning: Expected the data of the run in run, test.number=" in succeed("evaluate run")


@pytest.mark.usefixtures("quick")
def test_a_run_from_python_is_one_for_the_command_line_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = mera.data.load("msds1", L=8, train_size=60, test_size=20)
    fit(small_flow(), images, SHORT, "run")  # without `create`
    for words in ("evaluate run", "sample run --n 2", f"inpaint run --test 1 {FILL}", "train --resume run --steps 8"):
        succeed(words)
    assert mera.train.RunFolder("run").steps()[-1] == 8
    fit(small_flow(), images.train.array, SHORT, "noted", extra={"note": "mine"})  # data without a name
    assert mera.train.RunFolder("noted").facts()["note"] == "mine"
    assert "which learnt data that were passed from Python" in str(run("evaluate", "noted").exception)
    succeed("sample noted --n 2")


OWN = """
import mera, torch
from mera import data
from mera.bijectors import LULinear, register

@mera.models.register("mine")
def line(L: int = 8, width: int = 4):
    return mera.build("rgflow", L=L, dim=1, channels=1, layers=1, hidden=(width,))

@register("mine-alone")
def mine(event_shape, per_site=False):
    return LULinear(event_shape, per_site)

@data.register("lines")
def lines(L):
    x = torch.randn(40, 1, *(L if isinstance(L, tuple) else (L,)), generator=torch.Generator().manual_seed(0))
    return data.DataSplits("lines", 1, data.ArrayDataset(x), data.ArrayDataset(x[:10]))
"""
LAYOUT = """
lattice.shape = [8]
node = [
    {name = "a", kind = "local", kernel = 4, bijector = "mine-alone"},
    {name = "s", kind = "local", kernel = 4, bijector = "actnorm"},
    {name = "z", kind = "latent"},
]
"""


@pytest.mark.slow
def test_models_bijectors_and_data_of_the_user(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "chain.toml").write_text(LAYOUT)

    def own(words, status=0, before="--import own "):
        done = mera_command(tmp_path, *f"{before}{words}".split())
        assert done.returncode == status, done.stderr
        return done.stderr if status else done.stdout

    assert "mine, " in own("train mine --width 3 --data lines --L 8 --out model --steps 2 --eval-images 5")
    own("evaluate model", before="--import=own ")
    assert own("info rgflow", 1, "--import no_such_module ") == "error: No module named 'no_such_module'\n"
    wrong = own("train chain.toml --data msds1 --data-options train_size=20 --out wrong --steps 1", 1)
    assert "Expected examples of shape (1, 8), as the flow's; got (3, 8, 8)" in wrong
    assert not (tmp_path / "wrong").exists()
    own("train chain.toml --data lines --out run --steps 3 --eval-images 5")
    own("sample run --n 5")
    assert np.load(tmp_path / "run" / "samples_T1.0.npy").shape == (5, 1, 8)
    forgotten = own("evaluate run", 1, before="")
    assert "got 'mine-alone'" in forgotten
    assert "import the module that registers it first (mera --import MODULE" in forgotten
    refused = own("inpaint run --test 0 --region 0:2", 1)
    assert "Expected a run of a Flow on two dimensions; got a Flow in run" in refused


CELLS = [
    ("text/html", """import torch
import mera
from mera import data
from mera.bijectors import LULinear, register
from mera.train import RunFolder, fit
images = data.load("msds1", L=8, train_size=60, test_size=10)
images"""),
    ("", """@register("mine")
def mine(event_shape, per_site=False):
    return LULinear(event_shape, per_site)"""),
    ("text/html", """flow = mera.build("rgflow", L=8, layers=1, hidden=(6,))
flow"""),
    ("text/html", "flow.plan"),
    ("image/png", "flow.layout"),
    ("text/html", "flow.inference_cone((3, 4))"),
    ("image/png", """run = RunFolder("run")
result = fit(flow, images, steps=30, eval_every=10, run=run, resume="auto", extra={"note": "mine"})
result.history"""),
    ("image/png", "result.history.plot('seconds')"),
    ("image/png", """hole = (slice(2, 5), slice(2, 5))
filled = flow.inpaint(flow.from_images(images.test[0][None]), hole, samples=0, steps=3)
filled"""),
    ("image/png", "mera.show(images.test.array)"),
    ("image/png", "mera.show(flow.progression(flow.sample_latents(2))[1])"),
]  # fmt: skip
"""What each cell shows, and its code."""


@pytest.mark.slow
def test_a_notebook_keeps_every_figure_and_no_debris(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for _, code in CELLS])
    client = NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, timeout=300)
    with client.setup_kernel():
        for again in range(2):  # each cell can run twice
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            client.execute_cell(notebook.cells[1], 1)
            for cell, (expected, _) in zip(notebook.cells, CELLS, strict=True):
                kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
                pictures = {"image/jpeg", "image/png"} if expected else set()  # notebooks show HTML before them
                assert kinds - {"text/plain"} - pictures == {expected} - {""} - pictures, (cell.source, cell.outputs)
                assert expected in kinds | {""}, (cell.source, cell.outputs)
                assert all(output.output_type != "stream" for output in cell.outputs), cell.outputs
            shown = [output.data["text/plain"] for output in notebook.cells[6].outputs]
            if not again:
                assert len(shown) == 2  # the last state of the progress bar, and the curves
                assert "100%" in shown[0]
                assert "step 30" in shown[0]
                assert "test" in shown[0]
