"""The explorer's operations on an image, without a browser."""

import io
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

import mera
from mera._utils.random import fixed_seed
from mera.explore.studio import SEARCH, Learnt, Studio
from mera.train import RunFolder, fit
from tests.helpers.command import run
from tests.helpers.laws import randomize


@pytest.fixture(scope="module")
def learnt():
    torch.manual_seed(0)
    return Learnt(randomize(mera.build("rgflow", L=(8, 16), m=4, channels=3, layers=1, hidden=(6,)), 0.1).float())


@pytest.fixture
def studio(learnt):
    with fixed_seed(1):
        return Studio(learnt)


def test_a_latent_is_set_within_its_cone(learnt, studio):
    for level in range(len(learnt.flow.plan.latents)):
        latent = learnt.leads(level)[0][0]
        before = studio.data.clone()
        studio.set(latent, 1.25)
        assert studio.value(latent) == 1.25
        expected = learnt.flow.inverse(studio.latents)[0]
        torch.testing.assert_close(studio.data, expected, rtol=1e-5, atol=1e-5)
        changed = ((studio.data - before).abs() > 1e-5).any(1)[0]
        assert changed.any()
        assert not (changed & ~learnt.flow.generation_cone(level, latent[2:]).pixels).any()


def test_leading_latents_have_thumbnails():
    """Also where visitors ask at once: the threads wait, as derivatives in torch's forward mode could not nest."""
    fresh = Learnt(mera.build("rgflow", L=8, m=4, hidden=(6,)))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(fresh.leads, [0, 1, 0, 1]))
    for level, leads in enumerate(found[:2]):
        assert {latent[0] for latent, _ in leads} == {level}
        assert len({latent for latent, _ in leads}) == len(leads) == 6
        assert all(picture.shape == (3, 8, 8) and picture.dtype == torch.uint8 for _, picture in leads)
        assert found[level + 2] is leads
        assert fresh.leads(level) is leads


def test_undo(studio):
    """Undo reverts all values of a slider at once, unless another change came between."""
    images, one, other = [studio.data.clone()], (0, 0, 0, 0), (1, 1, 0, 1)

    def changed(change, *arguments):
        change(*arguments)
        return studio.data.clone()

    images.append(changed(studio.redraw, 0))
    for value in (0.5, 1.0):
        studio.set(one, value)
    images.append(changed(studio.set, one, 1.5))
    images.append(changed(studio.set, other, -1.0))
    images.append(changed(studio.set, one, 1.0))
    for expected in reversed(images[:-1]):
        assert studio.undo()
        assert torch.equal(studio.data, expected)
    assert not studio.undo()
    studio.set(one, 2.0)
    assert studio.undo()
    assert torch.equal(studio.data, images[0])


def test_bits_per_dim_count_the_preprocessing(studio):
    pixels = torch.randint(0, 256, studio.data.shape, dtype=torch.uint8)
    torch.manual_seed(0)
    studio.show(pixels[0])
    torch.manual_seed(0)
    x, change = studio.flow.preprocess(pixels)
    expected = -(studio.flow.log_prob(x) + change).item() / (x.numel() * math.log(2))
    assert studio.bits_per_dim() == pytest.approx(expected, abs=1e-3)


def test_redrawing_a_level(learnt, studio):
    old = studio.latents
    studio.redraw(1)
    for h, (before, after) in enumerate(zip(old, studio.latents, strict=True)):
        close = torch.isclose(before, after, atol=1e-4)
        assert close.all() if h != 1 else not close.all()


@pytest.mark.usefixtures("quick")
def test_fillings_and_cost(studio, monkeypatch):
    short = {"samples": 2, "steps": 3, "warmup": 3, "iterations": 4, "leapfrog": 2, "particles": 8}
    monkeypatch.setattr("mera.explore.studio.SEARCH", SEARCH | short)
    mask = torch.zeros(8, 16, dtype=torch.bool)
    mask[2:4, 5:8] = True
    fillings = studio.fill(mask)
    assert len(fillings) == 2
    for filling in fillings:
        assert torch.equal(filling[..., ~mask], studio.data[..., ~mask])
        assert not torch.equal(filling, studio.data)
    titles = [axes.get_title() for axes in studio.cost().axes]
    assert titles[1].startswith("all levels: ")
    assert titles[2].startswith("level 0")
    with pytest.raises(ValueError, match="mask"):
        studio.fill(mask & ~mask)


def test_a_photograph_stays_a_photograph(studio):
    """A window of it is the image, whose changes are pasted at another look; the rest stays bit for bit."""
    pixels = torch.randint(0, 256, (3, 30, 50), dtype=torch.uint8)
    studio.show(pixels)
    assert torch.equal(studio.whole, pixels)
    assert torch.equal(studio.picture, pixels[:, 11:19, 17:33])
    studio.look(0, 49)
    assert torch.equal(studio.picture, pixels[:, :8, 34:])
    studio.redraw(0)
    changed = studio.picture
    studio.look(20, 10)
    assert torch.equal(studio.whole[:, :8, 34:], changed)
    assert not torch.equal(changed, pixels[:, :8, 34:])
    assert torch.equal(studio.whole[:, 8:], pixels[:, 8:])
    assert studio.cost().axes[0].get_images()[0].get_array().shape == (30, 50, 3)
    pixels[:] = 120
    pixels[:, 16:24, 32:48] = torch.randint(0, 256, (3, 8, 16), dtype=torch.uint8)
    studio.show(pixels)
    studio.cost()
    row, column = studio.surprising  # the middle of the window that is noise
    assert abs(row - 20) <= 2
    assert abs(column - 40) <= 2
    studio.draw()
    assert studio.photograph is None


def test_small_pictures_are_enlarged(studio):
    for picture, colour in (
        (Image.new("RGB", (30, 5), (200, 40, 90)), (200, 40, 90)),
        (Image.new("LA", (1, 1)), (255, 255, 255)),  # transparent, on white
    ):
        file = io.BytesIO()
        picture.save(file, format="PNG")
        studio.show(studio.read(file.getvalue()))
        assert (studio.picture.int() - torch.tensor(colour).view(3, 1, 1)).abs().max() <= 1


def test_fields_are_refused_and_a_mixture_is_opened(tmp_path):
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(6,), norm=False, prior="gaussian")
    fit(flow, torch.randn(40, 1, 8, 8), run=RunFolder(tmp_path / "fields"), steps=1, batch_size=8)
    refused = run("explore", tmp_path / "fields", "--no-browser").exception
    assert "Expected a run that learnt images, or --html; got fields in" in str(refused)
    assert Studio(Learnt(mera.Symmetrized(flow))).picture.shape == (1, 8, 8)
