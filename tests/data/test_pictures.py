"""A folder of photographs of all kinds: what is read, what is left out, and what training makes of it."""

import numpy as np
import pytest
import torch
from PIL import Image

import mera
from mera import data
from tests.helpers.command import succeed


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def photograph(number, size=(96, 64)):
    """A picture whose columns get brighter, with its number in blue."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, :, 0] = np.linspace(0, 255, size[0])
    pixels[:, :, 2] = number
    return Image.fromarray(pixels)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number in range(12):
        photograph(number).save(folder / f"{number:02d}.png")
    return folder


def test_every_tenth_picture_is_for_the_test(photos):
    splits = data.load(str(photos), L=16, test_windows=20)
    blue = [{int(part[i][2, 0, 0]) for i in range(len(part))} for part in (splits.train, splits.test)]
    assert blue == [set(range(12)) - {9}, {9}]
    assert data.load(**splits.source).train[0].shape == (3, 16, 16)


def test_pictures_are_reduced_once_and_upright(photos, tmp_path, monkeypatch):
    wide = photograph(0, (400, 200))
    exif = wide.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    wide.save(photos / "more" / "turned.jpg", exif=exif, quality=95)
    splits = data.load(str(photos), L=16, scale=80)
    sizes = {part.source.shape for part in splits.train.parts}
    assert sizes == {(3, 53, 80), (3, 80, 40)}
    (turned,) = (part.source[:1, :, :].float() for part in splits.train.parts if part.source.shape == (3, 80, 40))
    assert turned[0, 0].max() < 10 < 245 < turned[0, -1].min()  # the left as stored is the top as seen
    monkeypatch.setattr("mera.data.pictures.read_reduced", lambda *_: pytest.fail("decoded again"))
    again = data.load(str(photos), L=16, scale=80)
    assert torch.equal(data.first(again.test, 5), data.first(splits.test, 5))


def test_modes(tmp_path):
    folder = tmp_path / "modes"
    folder.mkdir()
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40)
    Image.fromarray(ramp.astype(np.uint16)).save(folder / "a16.png")
    grey = Image.fromarray((ramp / 257).round().astype(np.uint8))
    for name, mode in (("b.png", "L"), ("c.jpg", "CMYK"), ("d.png", "P"), ("e.tif", "RGB"), ("f.png", "LA")):
        grey.convert(mode).save(folder / name)
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(folder / "g.png")
    splits = data.load(str(folder), L=40, test_windows=1)
    shown = [part.source[:, :, :].float() for part in (*splits.train.parts, *splits.test.parts)]
    assert len(shown) == 7
    for pixels, off in zip(shown[:-1], (0.51, 0.51, 4, 0.51, 0.51, 0.51), strict=True):  # a JPEG loses
        assert (pixels - torch.from_numpy(ramp / 257).float()).abs().max() < off
    assert (shown[-1] == 255).all()  # transparent pixels are shown on white


def test_files_that_cannot_be_used_are_listed(photos):
    (photos / "bad.jpg").write_bytes(b"no picture")
    photograph(0, (10, 10)).save(photos / "small.png")
    with pytest.warns(UserWarning, match=r"2 of 14 files are not used: .*bad\.jpg.*small\.png: smaller than 16 x 16"):
        splits = data.load(str(photos), L=16)
    assert len(splits.train.parts) == 11
    with pytest.raises(ValueError, match="pictures in all 14 files"):
        data.load(str(photos), L=16, strict=True)


def test_a_folder_is_learnt_by_its_path(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    small = ("--L", 16, "--layers", 1, "--hidden", 6, "--steps", 2, "--eval-images", 5)
    succeed("train", "rgflow", *small, "--data", "photos", "--out", "run")
    flow = mera.load("run")
    assert (flow.recipe.options["details"], flow.recipe.options["boundary"]) == (2, "open")
    succeed("evaluate", "run")
    succeed("train", "--resume", "run", "--steps", 3)
    succeed("map", "run", photos / "03.png", "--out", "map")
