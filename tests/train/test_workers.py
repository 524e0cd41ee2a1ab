"""Errors in the processes that read images come out as they are, not as a traceback in a message."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import get_worker_info

from mera import data
from mera.train import fit
from tests.helpers.command import SMALL, run
from tests.helpers.training import IMAGES, SHORT, small_flow


class Corrupt(data.ArrayDataset):
    """Images that cannot be read during training; a first look and the first pass over them, to start from, work."""

    def __init__(self, images, error):
        super().__init__(images)
        self.error, self.reads = error, 0

    def __getitem__(self, index):
        self.reads += 1
        if self.reads > len(self) + 2 or get_worker_info() is not None:
            raise self.error
        return super().__getitem__(index)


def corrupt_images(error):
    return data.DataSplits("corrupt", 3, Corrupt(IMAGES.train.array, error), IMAGES.test)


def settings(workers):
    return replace(SHORT, steps=3, workers=workers)


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, data.DataMissingError])
def test_the_message_of_an_error_is_its_own(kind):
    text = "Expected an image in a.png; got a corrupt one: line one\nError: line two: and a colon"
    with pytest.raises(kind) as info:
        fit(small_flow(), corrupt_images(kind(text)), settings(0))
    assert type(info.value) is kind
    assert str(info.value) == text


def test_images_of_different_sizes():
    class Mixed(data.ArrayDataset):
        def __getitem__(self, index):
            return self.array[index] if get_worker_info() is None else self.array[index, :, : 7 + index % 2]

    with pytest.raises(ValueError, match=r"^Expected examples of one shape, \(1, 2\); got \(1, 3\) as example 1"):
        data.first([torch.zeros(1, 2), torch.zeros(1, 3)], 2)
    mixed = data.DataSplits("mixed", 3, Mixed(IMAGES.train.array), IMAGES.test)
    with pytest.raises(RuntimeError, match=r"Expected examples of one shape, \(3, 7, 8\); got \(3, 8, 8\) as example"):
        fit(small_flow(), mixed, settings(1))


def test_the_command_line_names_the_file(tmp_path):
    from PIL import Image

    root, out = tmp_path / "images", tmp_path / "run"
    root.mkdir()
    for i in range(20):
        Image.new("RGB", (9, 9), (20 * i % 255, i, 0)).save(root / f"{i:02d}.png")
    arguments = ["rgflow", *SMALL, "--data", "folder", "--root", root, "--out", out, "--eval-images", 2]
    assert run("train", *arguments, "--steps", 1).exit_code == 0
    broken = root / "03.png"
    broken.write_bytes(broken.read_bytes()[:40])
    result = run("train", "--resume", out, "--steps", 5)
    assert result.exit_code == 1
    message = str(result.exception)
    assert message.startswith(f"Expected an image in {broken}; got a file that cannot be read")
    assert len(message.splitlines()) == 1


def test_workers_read_what_one_process_reads():
    flows = [small_flow(), small_flow()]
    for flow, workers in zip(flows, (0, 2), strict=True):
        fit(flow, IMAGES, settings(workers))
    for name, tensor in flows[0].state_dict().items():
        assert torch.equal(tensor, flows[1].state_dict()[name])
