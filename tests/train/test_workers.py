"""Errors in the processes that read images come out as they are, not as a traceback in a message."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

import mera
from mera import data
from mera.train import RunFolder, fit
from mera.train.likelihoods import likelihood
from tests.helpers.command import SMALL, run
from tests.helpers.training import FLIPPED, IMAGES, SHORT, same, small_flow


def settings(workers):
    return replace(SHORT, steps=3, workers=workers)


class Corrupt(data.ArrayDataset):
    """Looked at, and read once from the first to the last, to start from; then an example is found to be corrupt."""

    reads, error = 0, ValueError()

    def __getitem__(self, index):
        self.reads += 1
        if self.reads > len(self) + 40:
            raise self.error
        return super().__getitem__(index)


def test_an_error_comes_out_as_it_is_and_the_run_goes_on_once_it_is_mended(tmp_path):
    corrupt, run = Corrupt(IMAGES.train.array), RunFolder(tmp_path)
    corrupt.error = ValueError("Expected an image in a.png; got a corrupt one: line one\nError: line two: and a colon")
    with pytest.raises(ValueError, match="a corrupt one") as info:
        fit(small_flow(), data.DataSplits("corrupt", 3, corrupt, IMAGES.test), settings(0), run)
    assert info.value is corrupt.error
    assert run.steps() == [0]
    flow, again = small_flow(), small_flow()
    fit(flow, IMAGES, settings(0))
    fit(again, IMAGES, settings(0), run, resume=True)
    assert same(flow, again)


def test_the_command_line_names_the_file(tmp_path):
    root, out = tmp_path / "images", tmp_path / "run"
    root.mkdir()
    for i in range(20):
        Image.new("RGB", (9, 9), (20 * i % 255, i, 0)).save(root / f"{i:02d}.png")
    arguments = ["rgflow", *SMALL, "--data", root, "--data-options", "crop=centre", "--out", out, "--eval-images", 2]
    broken = root / "03.png"
    broken.write_bytes(broken.read_bytes()[:40])
    result = run("train", *arguments, "--steps", 5)
    assert result.exit_code == 1
    message = str(result.exception)
    assert message.startswith(f"{broken}: Expected a picture; got a file that cannot be read")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("examples", [IMAGES, FLIPPED])
def test_workers_read_what_one_process_reads(examples):
    flows = [small_flow(), small_flow()]
    for flow, workers in zip(flows, (0, 2), strict=True):
        fit(flow, examples, settings(workers))
    assert same(*flows)


def test_a_label_for_each_example_is_asked_for():
    flow = mera.build("rgflow", L=8, layers=1, hidden=(4,), classes=2)
    examples = data.ArrayDataset(IMAGES.test.array, torch.zeros(20, dtype=torch.long))
    examples.labels["class"] = torch.zeros(9, dtype=torch.long)  # changed after the check
    with pytest.raises(ValueError, match="Expected a label for each of 20 examples; got 9"):
        likelihood(flow, examples)


def test_starts_are_drawn_from_all_examples():
    """The first examples of a folder that is sorted by class are of one class."""
    objective = likelihood(small_flow(), data.ArrayDataset(torch.arange(1000.0).view(1000, 1, 1, 1)))
    x, _ = objective.start(small_flow(), 100)
    assert len(x.unique()) == 100
    assert x.mean() == pytest.approx(500, abs=120)
    assert (x.min() < 50, x.max() > 950) == (True, True)
