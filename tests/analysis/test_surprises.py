"""What surprises in a picture is found, marked and written as a mask that fills take."""

import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mera
from mera import analysis
from tests.helpers.command import run


def spoilt():
    """A crop of a photograph, 128 x 150, a white scratch, and a square of noise; the picture and the two places."""
    pixels = mera.data.photograph()[:, 60:188, 200:350].clone()
    scratch, noise = torch.zeros(2, 128, 150, dtype=torch.bool)
    scratch[torch.arange(20, 70), torch.arange(90, 140)] = True
    noise[80:112, 20:52] = True
    pixels[:, scratch] = 255
    rough = pixels + 16 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(noise, rough.round().clamp(0, 255).to(torch.uint8), pixels), scratch, noise


def test_a_scratch_is_a_spot_and_noise_a_region():
    pixels, scratch, noise = spoilt()
    flow = mera.load_pretrained("photographs")
    found = analysis.find_surprises(flow, pixels)
    kinds = [part.kind for part in found.parts]
    assert {"spot", "region"} <= set(kinds)
    assert found.mask[scratch].float().mean() > 0.9
    assert found.mask[noise].float().mean() > 0.7
    clean = found.mask[:70, :80].float().mean()
    assert clean < 0.05
    scores = [part.score for part in found.parts]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 10
    marked = torch.zeros_like(found.mask)
    for part in found.parts:  # boxes hold the mask, and their pixels add up to it
        marked[slice(*part.rows), slice(*part.columns)] = True
    assert not (found.mask & ~marked).any()
    assert sum(part.pixels for part in found.parts) == found.mask.sum()
    (most,) = analysis.find_surprises(flow, pixels, most=1).parts
    assert most == found.parts[0]
    assert len(analysis.find_surprises(flow, pixels, score=3.0).parts) > len(found.parts)
    assert repr(analysis.find_surprises(flow, pixels, score=1e6)) == "nothing surprises"
    assert found._repr_png_().startswith(b"\x89PNG")
    assert str(found).count("\n") == len(found.parts) + 1


def test_fields_have_no_surprises_and_wrong_numbers_are_refused():
    flow = mera.load_pretrained("photographs")
    for picture, options, message in (
        (torch.zeros(3, 32, 32), {}, "a picture of 8-bit pixels; got torch.float32"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), {"most": 0}, "parts as an integer >= 1; got 0"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), {"score": -1}, "score as a positive number; got -1"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            analysis.find_surprises(flow, picture, **options)


def test_the_command_writes_a_mask_of_the_files_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = spoilt()[0][:, 10:74, 80:150]
    image = pixels.movedim(0, -1).numpy().repeat(2, 0).repeat(2, 1)
    Image.fromarray(image).save("a.png")
    result = run("find", "a.png", "--scale", 70, "--json")
    assert result.exit_code == 0, result.output
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["pictures"] == ["a_found.png", "a_found_boxes.png"]
    assert Path("a_found_boxes.png").is_file()
    with Image.open("a_found.png") as mask:
        white = np.asarray(mask)
    assert white.shape == (128, 140)
    assert set(np.unique(white)) == {0, 255}
    found = analysis.find_surprises(mera.load_pretrained("photographs"), "a.png", longest=70)
    assert np.array_equal(white[::2, ::2] > 0, found.mask.numpy())
    assert [part["pixels"] for part in line["found"]] == [part.pixels for part in found.parts]
    result = run("find", "a.png", "--scale", 70, "--most", 1, "--out", "b.png")
    assert "b.png" in result.stdout
    assert re.search(r"1 +spot", result.stdout)
    assert not re.search(r"\n2 +", result.stdout)
    hidden = import_module("mera.cli.inpaint")._hidden(pixels, Path("b.png"), None, 70)  # the mask that fills take
    assert hidden.sum() == line["found"][0]["pixels"]
