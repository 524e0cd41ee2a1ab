"""Notebook representations of results, and commands with modules and data of the user's own."""

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

import mera
from mera.analysis.drawing import draw_layout
from mera.analysis.drawing.images import progression
from mera.train import fit
from tests.helpers.command import SMALL, mera_command, plain, run
from tests.helpers.training import IMAGES, SHORT, small_flow

PNG = b"\x89PNG\r\n"


def test_pictures_show_themselves():
    flow = small_flow()
    result = fit(flow, IMAGES, SHORT)
    for picture in (
        draw_layout(flow.layout),
        draw_layout(flow.layout),
        mera.drawing.side_view(flow.inference_cone((3, 4))),
        progression(flow.progression(flow.sample_latents(2))),
        result.history,
        result.history.plot("seconds"),
    ):
        assert picture._repr_png_().startswith(PNG)
    assert [line["step"] for line in result.history.metrics] == [3, 6]
    assert result.history.metrics[-1]["test_bits"] == result.test_loss


def test_history_of_a_resumed_run(tmp_path):
    from tests.helpers.callbacks import StopAt

    folder = mera.train.RunFolder(tmp_path)
    fit(small_flow(), IMAGES, SHORT, folder, callbacks=[StopAt(4)])
    result = fit(small_flow(), IMAGES, SHORT, folder, resume=True)
    assert [line["step"] for line in result.history.metrics] == [3, 6]


MODULE = """
import mera, torch
from mera import data

@mera.models.register("mine")
def mine(L: int = 8, width: int = 4):
    return mera.build("rgflow", L=L, layers=1, hidden=(width,))

@data.register("noise")
def noise(L):
    images = torch.randint(0, 256, (40, 3, L, L), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return data.DataSplits("noise", 3, data.ArrayDataset(images), data.ArrayDataset(images[:10]))
"""


@pytest.mark.slow
def test_modules_of_the_user(tmp_path):
    (tmp_path / "my_module.py").write_text(MODULE)
    done = mera_command(tmp_path, "--import", "my_module", "train", "mine", "--width", 3, "--data", "noise", "--L", 8,
                        "--out", "run", "--steps", 2, "--eval-images", 5)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mine, " in done.stdout
    again = mera_command(tmp_path, "--import=my_module", "evaluate", "run")
    assert again.returncode == 0, again.stderr
    missing = mera_command(tmp_path, "--import", "no_such_module", "info", "rgflow")
    assert (missing.returncode, missing.stderr) == (1, "error: No module named 'no_such_module'\n")


@pytest.fixture
def photographs(tmp_path):
    from mera.analysis.drawing.images import save_image

    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(20):
        save_image(torch.randint(0, 256, (3, 10, 10), dtype=torch.uint8), folder / f"{i:02d}.png")
    return folder


def test_a_run_can_be_moved_and_so_can_its_data(tmp_path, photographs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("train", "rgflow", *SMALL, "--data", "folder", "--root", "photos", "--out", "run", "--steps", 2,
               "--eval-images", 2)  # fmt: skip
    assert done.exit_code == 0, done.output
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "run").rename(elsewhere / "run")
    monkeypatch.chdir(elsewhere)
    assert run("evaluate", "run").exit_code == 0  # from another folder
    photographs.rename(elsewhere / "moved")
    lost = run("evaluate", "run")
    assert isinstance(lost.exception, FileNotFoundError)
    assert "photos" in str(lost.exception)
    assert "--root names another place" in str(lost.exception)
    for command in (
        ("evaluate", "run"),
        (
            "inpaint",
            "run",
            "--test",
            0,
            "--region",
            "0:2,0:2",
            "--draws",
            2,
            "--steps",
            1,
            "--warmup",
            3,
            "--iterations",
            4,
        ),
    ):
        done = run(*command, "--root", "moved")
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert run("train", "--resume", "run", "--steps", 3, "--root", "moved").exit_code == 0
    assert run("evaluate", "run").exit_code == 0  # the run remembers the new place
    (elsewhere / "moved" / "00.png").unlink()
    warned = run("evaluate", "run")
    assert "learnt from 18 training and 2 test examples; here are" in plain(warned)


@pytest.mark.usefixtures("quick")
def test_a_run_from_python_is_one_for_the_command_line_too(tmp_path):
    folder = mera.train.RunFolder(tmp_path / "run")
    images = mera.data.load("msds1", L=8, train_size=60, test_size=20)
    fit(small_flow(), images, SHORT, folder)  # without `create`
    for command in (
        ("evaluate",),
        ("sample", "--n", 2),
        (
            "inpaint",
            "--test",
            1,
            "--region",
            "0:2,0:2",
            "--draws",
            2,
            "--warmup",
            3,
            "--iterations",
            4,
            "--steps",
            2,
            "--leapfrog",
            2,
            "--particles",
            8,
            "--moves",
            1,
        ),
    ):
        done = run(command[0], folder.path, *command[1:])
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert run("train", "--resume", folder.path, "--steps", 8).exit_code == 0
    assert folder.steps()[-1] == 8
    noted = mera.train.RunFolder(tmp_path / "noted")
    fit(small_flow(), images.train.array, SHORT, noted, extra={"note": "mine"})  # data without a name
    assert noted.config()["note"] == "mine"
    done = run("evaluate", noted.path)
    assert "which learnt data that were passed from Python" in str(done.exception)
    assert run("sample", noted.path, "--n", 2).exit_code == 0
    for command in (
        ("figures", noted.path, "--only", "5"),
        ("explain", noted.path, "--images", 60, "--only", "bits"),
    ):
        done = run(*command)
        assert done.exit_code == 0, (command, done.output, done.exception)
        assert "its data came from Python; using samples of the flow instead" in plain(done)


OWN = """
import torch
from mera import data
from mera.bijectors import LULinear, register

@register("mine-alone")
def mine(event_shape, per_site=False):
    return LULinear(event_shape, per_site)

@data.register("lines")
def lines(L):
    x = torch.randn(40, 1, L, generator=torch.Generator().manual_seed(0))
    return data.DataSplits("lines", 1, data.ArrayDataset(x), data.ArrayDataset(x[:10]))
"""


@pytest.mark.slow
def test_a_run_of_fields_on_a_line(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "chain.toml").write_text(
        '[lattice]\nshape = [8]\n\n[[node]]\nname = "a"\nkind = "local"\nkernel = 4\nbijector = "mine-alone"\n\n'
        '[[node]]\nname = "s"\nkind = "local"\nkernel = 4\nbijector = "actnorm"\n\n'
        '[[node]]\nname = "z"\nkind = "latent"\n'
    )
    wrong = mera_command(tmp_path, "--import", "own", "train", "--layout", "chain.toml", "--data", "msds1",
                         "--train-size", 20, "--out", "wrong", "--steps", 1)  # fmt: skip
    assert "Expected examples of shape (1, 8), as the flow's; got (3, 8, 8)" in wrong.stderr
    assert not (tmp_path / "wrong").exists()
    done = mera_command(tmp_path, "--import", "own", "train", "--layout", "chain.toml", "--data", "lines",
                        "--out", "run", "--steps", 3, "--eval-images", 5)  # fmt: skip
    assert done.returncode == 0, done.stderr
    drawn = mera_command(tmp_path, "--import", "own", "sample", "run", "--n", 5)
    assert drawn.returncode == 0, drawn.stderr
    assert np.load(tmp_path / "run" / "samples_T1.0.npy").shape == (5, 1, 8)
    forgotten = mera_command(tmp_path, "evaluate", "run")
    assert forgotten.returncode == 1
    assert "got 'mine-alone'" in forgotten.stderr
    assert "import the module that registers it first (mera --import MODULE" in forgotten.stderr
    refused = mera_command(tmp_path, "--import", "own", "inpaint", "run", "--test", 0, "--region", "0:2")
    assert "Expected a run that learnt images; got fields in run" in refused.stderr


CELLS = [
    """import torch
import mera
from mera import data
from mera.bijectors import LULinear, register
from mera.train import RunFolder, fit
images = data.load("msds1", L=8, train_size=60, test_size=10)
images""",
    """@register("mine")
def mine(event_shape, per_site=False):
    return LULinear(event_shape, per_site)""",
    """flow = mera.build("rgflow", L=8, layers=1, hidden=(6,))
flow""",
    "flow.plan",
    "flow.layout",
    "flow.inference_cone((3, 4))",
    """run = RunFolder("run")
result = fit(flow, images, steps=30, eval_every=10, run=run, resume="auto", extra={"note": "mine"})
result.history""",
    "result.history.plot('seconds')",
    """filled = flow.inpaint(flow.from_images(images.test[0][None]), (slice(2, 5), slice(2, 5)), draws=4, steps=3)
filled""",
    "mera.show(images.test.array)",
    "mera.show(flow.progression(flow.sample_latents(2))[1])",
]
SHOWS = [
    {"text/html"}, set(), {"text/html"}, {"text/html"}, {"image/png"}, {"text/html"}, {"image/png"}, {"image/png"},
    {"image/png"}, {"image/png"}, {"image/png"},
]  # fmt: skip


@pytest.mark.slow
def test_a_notebook_keeps_every_figure_and_no_debris(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, timeout=300)
    with client.setup_kernel():
        for again in range(2):  # each cell can run twice
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            client.execute_cell(notebook.cells[1], 1)
            for cell, expected in zip(notebook.cells, SHOWS, strict=True):
                kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
                assert expected == kinds - {"text/plain", "image/jpeg"}, (cell.source, cell.outputs)
                assert all(output.output_type != "stream" for output in cell.outputs), cell.outputs
            shown = [output.data["text/plain"] for output in notebook.cells[6].outputs]
            if not again:
                assert len(shown) == 2  # the last state of the progress bar, and the curves
                assert "100%" in shown[0]
                assert "step 30" in shown[0]
                assert "test" in shown[0]
