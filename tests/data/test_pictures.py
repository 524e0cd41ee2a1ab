"""A folder of photographs of all kinds: what is read, what is left out, and what training makes of it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import mera
from mera import data
from mera.data.fingerprint import fingerprint
from mera.data.picture_files import read_picture
from mera.train import fit
from mera.train.evaluate import example_losses, mean_and_error, pictures_of
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


def test_folders_train_and_test_are_the_splits(tmp_path):
    for split, numbers in (("train", range(9)), ("test", range(20, 23))):
        (tmp_path / split).mkdir()
        for number in numbers:
            photograph(number).save(tmp_path / split / f"{number:02d}.png")
    for options in ({}, {"scale": None}, {"crop": "centre"}):
        splits = data.load(tmp_path, L=16, **options)
        learnt, tested = ({int(part[i][2, 0, 0]) for i in range(len(part))} for part in (splits.train, splits.test))
        assert (max(learnt), min(tested)) == (8, 20)
        assert splits.test.names == [f"test/{number}.png" for number in range(20, 23)]


def test_pictures_of_the_test_are_never_learnt(tmp_path):
    """Also where those to learn from are too small."""
    for split, edge in (("train", 8), ("test", 64)):
        (tmp_path / split).mkdir()
        for number in range(3):
            photograph(number, (edge, edge)).save(tmp_path / split / f"{number}.png")
    message = "Expected pictures of 32 x 32 pixels in .*train and in .*test; got none in one of them"
    with pytest.warns(UserWarning, match="3 of 6 files are not used"), pytest.raises(ValueError, match=message):
        data.load(tmp_path, L=32)


def test_a_folder_is_read_with_the_channels_of_the_flow(photos):
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(4,))
    assert fit(flow, photos, steps=1, batch_size=2, eval_images=2).unit == "bits/dim"


@pytest.mark.parametrize("options", [{"flip": False}, {"turn": True}, {"colours": True}])
def test_a_fingerprint_tells_augmentation(photos, options):
    ours, others = (fingerprint(data.load(photos, L=16, **o).train) for o in ({}, options))
    assert ours != others
    crop = [fingerprint(data.load(photos, L=16, crop="centre", flip=flip).train) for flip in (False, True)]
    assert crop[0] != crop[1]


@pytest.mark.slow
def test_more_pictures_than_open_files(tmp_path):
    """A limit of open files changes neither what is read nor the splits."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        photograph(number, (20, 20)).save(folder / f"{number:02d}.png")
        np.save(folder / f"{number:02d}.npy", np.full((3, 20, 20), number, np.uint8))
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
import mera
for scale in (960, None):
    data = mera.data.load({str(folder)!r}, L=16, scale=scale, test_windows=9)
    print(len(data.train.parts) + len(data.test.parts), data.train[0].shape[0], data.test[0].shape[0])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["60", "3", "3", "120", "3", "3"], done.stderr


def test_errors_are_over_pictures():
    """Windows of one picture are not independent."""
    images = [torch.full((1, 40, 40), number, dtype=torch.uint8) for number in (0, 100, 200, 250)]
    splits = data.windows(images[:1], L=8, test=images[1:], test_windows=90)
    pictures = pictures_of(splits.test, 60)
    assert pictures.bincount().tolist() == [20, 20, 20]
    levels = torch.tensor([1.0, 2.0, 4.0])
    values = levels[pictures] + 0.01 * torch.randn(60)
    assert mean_and_error(values, pictures)[1] == pytest.approx(levels.std().item() / 3**0.5, rel=0.02)
    assert mean_and_error(values)[1] == pytest.approx(values.std().item() / 60**0.5)
    assert mean_and_error(values[:20], pictures[:20])[1] == pytest.approx(values[:20].std().item() / 20**0.5)
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(4,))
    result = mera.train.fit(flow, splits, steps=1, eval_images=60, batch_size=4, quiet=True)
    assert "bits/dim on test images, error over 3 pictures" in repr(result)
    losses = example_losses(flow, splits.test, 60)
    assert result.test_error == pytest.approx(mean_and_error(losses, pictures)[1], rel=1e-6)


def test_pictures_are_reduced_once_and_upright(photos, tmp_path, monkeypatch):
    wide = photograph(0, (400, 200))
    exif = wide.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    wide.save(photos / "more" / "turned.jpg", exif=exif, quality=95)
    splits = data.load(str(photos), L=16, scale=80)
    sizes = {part.source.shape for part in splits.train.parts}
    assert sizes == {(3, 53, 80), (3, 80, 40)}
    assert all(part.source.name == str(part.source.file) for part in splits.train.parts)  # in messages
    (turned,) = (part.source[:1, :, :].float() for part in splits.train.parts if part.source.shape == (3, 80, 40))
    assert turned[0, 0].max() < 10 < 245 < turned[0, -1].min()  # the left as stored is the top as seen
    monkeypatch.setattr("mera.data.pictures.read_picture", lambda *_: pytest.fail("decoded again"))
    again = data.load(str(photos), L=16, scale=80)
    assert torch.equal(data.first(again.test, 5), data.first(splits.test, 5))


def test_modes(tmp_path):
    folder = tmp_path / "modes"
    folder.mkdir()
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40)
    Image.fromarray(ramp.astype(np.uint16)).save(folder / "a16.png")
    Image.fromarray(ramp.astype(np.uint16)).save(folder / "h16.png", transparency=0)
    grey = Image.fromarray((ramp / 257).round().astype(np.uint8))
    for name, mode in (("b.png", "L"), ("c.jpg", "CMYK"), ("d.png", "P"), ("e.tif", "RGB"), ("f.png", "LA")):
        grey.convert(mode).save(folder / name)
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(folder / "g.png")
    splits = data.load(str(folder), L=40, test_windows=1)
    shown = [part.source[:, :, :].float() for part in (*splits.train.parts, *splits.test.parts)]
    assert len(shown) == 8
    files = [part.source.file.name for part in (*splits.train.parts, *splits.test.parts)]
    for name, pixels in zip(files, shown, strict=True):
        if name == "g.png":
            assert (pixels == 255).all()  # transparent pixels are shown on white
        else:
            off = 4 if name == "c.jpg" else 0.51  # a JPEG loses
            assert (pixels - torch.from_numpy(ramp / 257).float())[:, 0, 1:].abs().max() < off, name
            assert (pixels[:, 0, 0] == (255 if name == "h16.png" else 0)).all() or name == "c.jpg"
        for longest in (None, 960):  # in every command the same
            assert torch.equal(read_picture(folder / name, 3, longest).float(), pixels)


@pytest.mark.parametrize("value", [-1, 65536])
def test_values_beyond_16_bits_are_refused(tmp_path, value):
    Image.fromarray(np.array([[0, value]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"an image of 8 or 16 bits per value; got values from .*{value}"):
        read_picture(tmp_path / "a.tif")


def test_a_stack_is_no_picture(tmp_path):
    """Its first page alone would pass for the whole of it."""
    pages = [Image.new("L", (40, 30), value) for value in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="one page of the stack as an array; got 3 pages of one size"):
        read_picture(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="got a folder"):
        read_picture(tmp_path)


def test_files_that_cannot_be_used_are_listed(photos):
    (photos / "bad.jpg").write_bytes(b"no picture")
    photograph(0, (10, 10)).save(photos / "small.png")
    with pytest.warns(UserWarning, match=r"2 of 14 files are not used: .*bad\.jpg.*small\.png: smaller than 16 x 16"):
        splits = data.load(str(photos), L=16)
    assert len(splits.train.parts) + len(splits.test.parts) == 12


def test_pictures_that_are_refused(tmp_path, monkeypatch):
    """Too many pixels, no file, and a cache that cannot be written."""
    photograph(0, (90, 60)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"large.png: Expected a picture; .* exceeds limit of 2000 pixels"):
        read_picture(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"Expected a picture in .*none.png; got no such file"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError, match=str(tmp_path / "file")):
        data.load(tmp_path, L=16)


def test_a_folder_is_learnt_by_its_path(photos, monkeypatch):
    """A file that cannot be read is named in training, and not again by other commands."""
    monkeypatch.chdir(photos.parent)
    (photos / "bad.jpg").write_bytes(b"no picture")
    small = ("--L", 16, "--layers", 1, "--hidden", 6, "--steps", 2, "--eval-images", 5)
    with pytest.warns(UserWarning, match="1 of 13 files are not used") as warned:
        succeed("train", "rgflow", *small, "--data", "photos", "--data-options", "test_windows=20", "--out", "run")
    assert len(warned) == 1
    flow = mera.load("run")
    assert (flow.recipe.options["details"], flow.recipe.options["boundary"]) == (2, "open")
    facts = mera.train.RunFolder("run").facts()
    assert facts["preset"] == "photographs"
    assert len(facts["data"]["test"]["files"]) > 0
    succeed("evaluate", "run")
    succeed("train", "--resume", "run", "--steps", 3)
    succeed("map", "run", photos / "03.png", "--out", "map")
