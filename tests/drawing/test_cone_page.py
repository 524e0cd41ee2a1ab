"""The page of cones, in a real browser: what lights up is what the cones say."""

import re

import numpy as np
import pytest

import mera
from mera.drawing import cone_page
from tests.helpers.command import plain, succeed


@pytest.fixture(scope="module")
def flow():
    return mera.build("rgflow", L=(8, 16), m=4, channels=2, hidden=(4,))


@pytest.fixture
def page(flow, browser, tmp_path):
    path = tmp_path / "cones.html"
    path.write_text(cone_page(flow.plan, "</script><b>small</b>"))
    page, errors = browser.new_page(), []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert errors == []
    page.close()


def said(page):
    return page.locator("#said").inner_text()


@pytest.mark.slow
def test_keys_hold_a_choice_and_the_pointer_makes_one(page, flow):
    page.locator("canvas").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft"):  # the first one only chooses the first site
        page.keyboard.press(key)
    held = said(page)
    assert held.startswith("The pixel at (2, 15)")
    page.mouse.move(3, 3)
    assert said(page) == held
    page.keyboard.press("Escape")
    assert said(page) == ""
    assert page.locator("h1").inner_text() == "</script><b>small</b>"
    data, *levels = page.locator("canvas").all()
    assert len(levels) == len(flow.plan.latents)
    box = data.bounding_box()
    page.mouse.move(box["x"] + (5 + 0.5) * box["width"] / 16, box["y"] + (2 + 0.5) * box["height"] / 8)
    cone = flow.inference_cone(np.s_[2:3, 5:6])
    assert said(page) == (
        f"The pixel at (2, 5) can change {cone.count} of 256 latent variables, {100 * cone.fraction:.1f} %."
    )
    for h, caption in enumerate(page.locator("figcaption").all_inner_texts()[1:]):
        assert f"{int(cone.levels[h].sum())} of {flow.plan.latents[h].lattice.sites} sites" in caption
    box = levels[0].bounding_box()
    page.mouse.move(box["x"] + (3 + 0.5) * box["width"] / 8, box["y"] + 0.5 * box["height"] / 4)
    pixels = int(flow.generation_cone(0, (0, 3)).pixels.sum())
    assert said(page).startswith(f"A latent of z0 at (0, 3) can change {pixels} of 128 pixels")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["", "#small"])
@pytest.mark.parametrize("width", [350, 390, 1280])
def test_nothing_moves_under_the_pointer(page, width, mode, tmp_path):
    """Also inside another page, where captions take three lines; and the page fits a narrow window."""
    path = tmp_path / "large.html"
    path.write_text(cone_page(mera.build("rgflow", L=32, m=4, hidden=(4,)).plan, "a"))
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(reduced_motion="reduce")
    page.goto(path.as_uri() + mode)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = "Array.from(document.querySelectorAll('canvas'), c => [c.offsetLeft, c.offsetTop, c.offsetWidth])"
    before = page.evaluate(boxes)
    for canvas in page.locator("canvas").all():
        canvas.hover(position={"x": 3, "y": 3})
        assert said(page)
        assert page.evaluate(boxes) == before


def test_the_command(tmp_path):
    target = tmp_path / "cones.html"
    assert "one file" in plain(succeed("explore", "tree", "--L", 4, "--m", 2, "--html", target))
    assert re.search(r"const cones = \{.*\"title\": \"tree\"", target.read_text())


def test_lattices_that_do_not_fit_a_page():
    for shape in ((4, 4, 4), (128, 64)):
        layout = mera.Layout(shape, 1)
        layout.latent(layout.input)
        with pytest.raises(ValueError, match="at most 4,096 pixels"):
            cone_page(layout)
