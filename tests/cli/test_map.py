"""The command `mera map`, and flows on other lattices on the command line."""

import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import mera
from mera import analysis
from mera.drawing.curves import map_figure
from mera.inpaint import Inpainting
from mera.train import RunFolder
from mera.train.evaluate import sample
from tests.helpers.callbacks import StopAt
from tests.helpers.command import SMALL, run
from tests.helpers.laws import randomize


@pytest.fixture
def flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow = randomize(mera.build("rgflow", L=16, m=4, channels=3, layers=1, hidden=(4,)), 0.1).float()
    mera.save(flow, "flow.mera")
    return flow


def painted(name, *shape):
    """The pixels of a picture that is written."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(name)
    return pixels


def test_a_picture_is_mapped(flow):
    pixels = painted("a.png", 70, 50)
    result = run("map", "flow.mera", "a.png", "--out", "maps", "--tile", 32, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    reflected = np.pad(pixels, ((0, 10), (0, 14), (0, 0)), mode="reflect")
    image = torch.from_numpy(reflected).movedim(-1, 0)[None]
    streamed = flow.resized((80, 64)).stream(image[0])
    levels = streamed.bits(shape=(70, 50)).float().mean((1, 2))  # of the picture, without what was added
    assert found["levels"] == pytest.approx(levels.tolist(), abs=1e-3)
    assert found["bits_per_dim"] == pytest.approx(sum(found["levels"]))
    assert found["log_prob"] is None  # that of the pass is of more pixels than the picture has
    with Image.open("maps/map.png") as picture:
        assert picture.size[0] > 300
    figure = map_figure(torch.rand(3, 4, 4), torch.rand(2, 4, 4), (2, 4), "bits/dim", [0.25, 0.5])
    assert [float(axes.get_title().split()[-2]) for axes in figure.axes[1:4]] == [0.75, 0.25, 0.5]
    assert f"Expected an empty folder for a stream; got {Path('maps').resolve()}" in str(
        run("map", "flow.mera", "a.png", "--out", "maps").exception
    )
    painted("small.png", 1, 50)
    results = [run("map", "flow.mera", "small.png", "a.png", "--scale", 35) for _ in range(2)]
    assert "bits/dim" in results[0].stdout
    assert "picture: small_map.png" in results[0].stdout
    assert "a.png: 35 x 25 pixels" in results[0].stdout
    assert ["small_map.png: will be replaced" in result.stderr for result in results] == [False, True]
    assert Path("a_map.png").is_file()
    assert "one picture with --out" in str(run("map", "flow.mera", "small.png", "a.png", "--out", "c").exception)
    whole = analysis.map_picture(flow, torch.from_numpy(pixels).movedim(-1, 0)[:, :64, :48])
    assert not whole.is_reflected
    assert whole.total == pytest.approx(whole.streamed.bits_per_dim)
    assert whole.sites == (2, 4, 4)
    assert torch.equal((255 * whole.image).round().byte(), torch.from_numpy(pixels).movedim(-1, 0)[:, :64, :48])
    assert whole._repr_png_().startswith(b"\x89PNG")


@pytest.mark.usefixtures("flow")
def test_two_pictures_are_mixed():
    """What does not fit is reflected and cut off again, and level 0 gives the first picture."""
    first, _ = painted("a.png", 38, 50), painted("b.png", 70, 64)
    pictures = []
    for level in (0, 1, 2):
        assert run("mix", "flow.mera", "a.png", "b.png", "--level", level, "--out", "mixed.png").exit_code == 0
        pictures.append(np.asarray(Image.open("mixed.png")).astype(int))
    assert [picture.shape for picture in pictures] == [(38, 50, 3)] * 3
    assert np.abs(pictures[0] - first).max() <= 1
    assert np.abs(pictures[1] - pictures[0]).mean() > 5 < np.abs(pictures[1] - pictures[2]).mean()
    found = json.loads(run("mix", "flow.mera", "a.png", "b.png", "--json").stdout)
    assert found["pictures"] == ["a_b_mix_2.png", "a_b_mix_2_levels.png"]
    assert np.array_equal(np.asarray(Image.open("a_b_mix_2.png")), pictures[2])
    assert Path("a_b_mix_2_levels.png").is_file()
    painted("c.png", 40, 40)
    assert "a_c_mix_1.png" in run("mix", "flow.mera", "a.png", "b.png", "c.png", "--level", 1).stdout
    assert Path("a_b_mix_1.png").is_file()


@pytest.mark.filterwarnings("ignore:The means of cells differ")
@pytest.mark.usefixtures("flow")
def test_a_picture_is_refined():
    painted("a.png", 11, 20)
    assert "as 22 x 40: a_refined.png" in run("refine", "flow.mera", "a.png").stdout
    assert json.loads(run("refine", "flow.mera", "a.png", "--json").stdout)["pixels"] == [22, 40]
    assert np.asarray(Image.open("a_refined.png")).shape == (22, 40, 3)
    assert run("refine", "flow.mera", "a.png", "--times", 4, "--out", "b.png").exit_code == 0
    assert np.asarray(Image.open("b.png")).shape == (44, 80, 3)
    assert "times as a power of two, 2 or more; got 3" in str(run("refine", "a.png", "--times", 3).exception)
    assert "a level from 0 to 3" in str(run("mix", "flow.mera", "a.png", "b.png", "--level", 4).exception)


@pytest.mark.usefixtures("flow")
def test_results_have_names_of_their_own():
    """What is wrong with names is said before anything is computed, and no picture is lost."""
    for name in ("a.png", "b.png", "a.gif"):
        painted(name, 16, 16)
    before = Path("a.png").read_bytes()
    for words, message in (
        ("mix flow.mera a.png b.png a.gif --out c.png", "one picture with --out; got 2 pictures"),
        ("mix flow.mera a.png b.png --out b.png", "different names: .*; got b.png twice"),
        ("refine flow.mera a.png --out a.png", "got a.png twice"),
        ("refine flow.mera a.png a.png", "got a_png_refined.png twice"),
        ("refine flow.mera a.png none.png", "a picture in none.png; got no such file"),
        ("inpaint flow.mera a.png --region 2:4,2:4 --out x.jpg", "the path of a PNG; got x.jpg"),
    ):
        assert re.search(message, str(run(*words.split()).exception)), words
    assert Path("a.png").read_bytes() == before
    assert not Path("a_refined.png").exists()
    assert run("inpaint", "a.png", "--test", 0, "--region", "2:4,2:4").exit_code == 2


@pytest.mark.usefixtures("flow")
def test_pictures_of_one_stem_do_not_clash_and_wrong_masks_replace_nothing():
    for name in ("a.png", "a.webp", "b.png"):
        painted(name, 16, 16)
    assert run("refine", "flow.mera", "a.png").exit_code == 0
    assert run("refine", "flow.mera", "a.webp", "b.png").exit_code == 0
    assert {path.name for path in Path().glob("*_refined.png")} == {
        "a_png_refined.png", "a_webp_refined.png", "b_refined.png",
    }  # fmt: skip
    Path("b_filled.png").write_bytes(b"")
    painted("mask.png", 8, 8)
    failed = run("inpaint", "flow.mera", "b.png", "--mask", "mask.png")
    assert "a mask of the image's size" in str(failed.exception)
    assert "will be replaced" not in failed.stderr


@pytest.mark.usefixtures("flow")
def test_a_filled_picture_keeps_what_its_file_holds():
    values = np.random.default_rng(0).integers(0, 256, (20, 16, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save("a.png", exif=exif, icc_profile=b"a profile")
    words = ("--region", "3:5,4:6", "--samples", 0, "--steps", 1, "--draws", 4)
    assert run("inpaint", "flow.mera", "a.png", *words).exit_code == 0
    with Image.open("a_filled.png") as image:
        assert (image.info["icc_profile"], image.getexif()[0x0112]) == (b"a profile", 6)
        changed = (np.asarray(image) != values).any(2)
    assert 0 < changed.sum() <= 4
    assert not changed[:14].any()  # upright, the first rows are the left of what is stored... turned by 90 degrees
    assert run("refine", "flow.mera", "a.png").exit_code == 0
    with Image.open("a_refined.png") as image:
        assert (image.size, image.mode, image.getexif()[0x0112]) == ((32, 40), "RGBA", 6)


def test_samples_of_levels_that_share_are_the_corner_of_one_patch(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = {"share_levels": True, "shared_from": 2, "boundary": "open", "layers": 1, "hidden": (4,)}
    flow = randomize(mera.build("rgflow", L=32, **options), 0.1).float()
    mera.save(flow, "flow.mera")
    for height, width, edge, levels in ((40, 48, 64, 5), (16, 8, 32, 4), (7, 5, 32, 4)):
        words = ("sample", "flow.mera", "--L", f"{height},{width}", "--n", 2, "--seed", 3, "--out", "s.npy")
        assert run(*words).exit_code == 0
        x = flow.to_images(sample(flow.resized((edge, edge), levels), 2, 0.8, seed=3))
        assert np.array_equal(np.load("s.npy"), x[..., :height, :width])
    for wrong in ("0", "-5", "8,-2", "2.5", "none", "true"):
        error = run("sample", "flow.mera", f"--L={wrong}", "--n", 1).exception
        assert "Expected the shape to be an integer >= 1 or 2 of them" in str(error), wrong
    mera.save(mera.build("rgflow", L=4, **options | {"shared_from": 0}), "one.mera")
    assert run("sample", "one.mera", "--L", 4, "--n", 1, "--out", "s.npy").exit_code == 0


@pytest.mark.usefixtures("flow")
def test_other_lattices():
    mera.save(mera.build("rgflow", L=4, m=2, dim=1, channels=1, layers=1, hidden=(4,)), "fields.mera")
    assert run("sample", "flow.mera", "--L", "32,48", "--n", 2, "--out", "s.npy").exit_code == 0
    assert np.load("s.npy").shape == (2, 3, 32, 48)
    assert "Expected a .npy file" in str(run("sample", "fields.mera", "--out", "s.png").exception)
    assert "multiples of (16, 16)" in str(run("sample", "flow.mera", "--L", 30).exception)
    Path("photos").mkdir()
    painted("photos/a.png", 200, 80)
    learn = "train rgflow --data photos --steps 2 --eval-images 4 --out run"
    assert run(*learn.split(), *SMALL).exit_code == 0
    fill = "inpaint run --test 0 --L 16 --region 2:4,2:4 --samples 0 --steps 2"
    for words, text in (("evaluate run", "test images"), ("evaluate run --L 16", "test images"), (fill, "4 of 256")):
        assert text in run(*words.split()).stdout


def test_bytes_are_no_fields(tmp_path, monkeypatch):
    """A run of fields is told from one of images before its first evaluation too."""
    monkeypatch.chdir(tmp_path)
    small = mera.build("rgflow", L=8, m=4, channels=1, layers=1, hidden=(4,), prior="gaussian")
    fields = torch.randn(40, 1, 8, 8)
    mera.train.fit(small, fields, steps=2, eval_every=50, run="run", quiet=True, callbacks=[StopAt(1)])
    assert RunFolder("run").learnt_fields()
    np.save("a.npy", np.zeros((1, 8, 8), np.uint8))
    assert "which learnt fields; got 8-bit integers" in str(run("map", "run", "a.npy").exception)
    assert run("sample", "run", "--n", 2, "--out", "s.npy").exit_code == 0
    assert np.load("s.npy").dtype == np.float32


def test_the_picture_of_a_filling_shows_two_more_draws(monkeypatch):
    """Of twelve draws, the first two, between the mean and the spread."""
    command = import_module("mera.cli.inpaint")
    shown = []
    monkeypatch.setattr(command, "inpainted", lambda images, *rest, **options: shown.extend(images) or Figure())
    image, hidden = torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.bool)
    hidden[2, 3] = True
    names = ["the image", "likeliest", "draw", "mean", "spread, 0.1 is white", *(f"sample {i}" for i in range(1, 13))]
    zero = torch.zeros(())
    pictures = dict.fromkeys(names, image)
    result = Inpainting(image[None], zero, image[None], zero[None], 1, hidden, image[None], pictures=pictures)
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(4,))
    command._Window(flow, Path("a.png"), image, hidden).figure(result)
    assert shown == ["the image", "draw", "mean", "sample 1", "sample 2", "spread, 0.1 is white"]
