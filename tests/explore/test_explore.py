"""The explorer in a real browser: served by the command line, seen by Chromium."""

import io
import re
import time
from contextlib import contextmanager

import pytest
from PIL import Image

from tests.explore.conftest import served

pytestmark = pytest.mark.slow
SECOND = 1000
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")


@contextmanager
def opened(browser, address, width=1280):
    """The page, watched for errors and for requests that leave this machine."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(60 * SECOND)
    page, errors = context.new_page(), []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: request.url.startswith(LOCAL) or errors.append(request.url))
    # A picture that waits for the sanitizer, and is gone before it has come, raises an error: no picture may use it.
    sanitizer = "export default { sanitize() { throw new Error('A picture is sanitized'); } };"
    page.route("**/dompurify.mjs", lambda route: route.fulfill(content_type="text/javascript", body=sanitizer))
    page.goto(address)
    page.get_by_text("New image").wait_for()
    yield page
    assert errors == []
    page.wait_for_load_state("networkidle")  # the server's log has an exception for a file that nobody waits for
    context.close()


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page


def image(page):
    return page.locator('[aria-label="the image"] img')


def changes(page, act):
    """Act, and wait until the image is another one."""
    before = image(page).get_attribute("src")
    act()
    page.wait_for_function(
        "old => document.querySelector('[aria-label=\"the image\"] img').getAttribute('src') != old", arg=before
    )


def see_level(page):
    """Open the panel of the coarse level, whose strongest latents are then searched."""
    page.get_by_role("tab", name="Levels").click()
    assert page.locator('[aria-label^="receptive field"]').count() == 0
    page.get_by_text(re.compile(r"^z1: ")).click()
    page.locator('[aria-label^="receptive field of z1"]').first.wait_for()


def mark(page):
    """Drag a rectangle on the image, of three pixels if the image has 8 x 8."""
    box = image(page).bounding_box()
    cell = box["width"] / 8
    page.mouse.move(box["x"] + 1.5 * cell, box["y"] + 2.5 * cell)
    page.mouse.down()
    page.mouse.move(box["x"] + 3.5 * cell, box["y"] + 2.5 * cell, steps=10)
    page.mouse.up()
    page.mouse.move(box["x"] + 6.5 * cell, box["y"] + 6.5 * cell)
    page.wait_for_function("document.querySelectorAll('[aria-label=\"the image\"] rect').length >= 3")


def fill(page):
    page.get_by_role("tab", name="Fill").click()
    page.get_by_role("button", name="Fill", exact=True).click()


def test_a_latent_is_moved_and_taken_back(page):
    page.locator('[alt="map of the cost"]').wait_for()  # the first tab, drawn without a click
    see_level(page)
    slider = page.locator('[aria-label^="z1, channel"]').first
    value = float(slider.get_attribute("aria-valuenow"))
    slider.locator('[tabindex="0"]').focus()
    changes(page, lambda: page.keyboard.press("PageUp"))
    assert float(slider.get_attribute("aria-valuenow")) > value
    changes(page, lambda: page.get_by_role("button", name="Undo").click())
    page.wait_for_function(
        "([label, old]) => Math.abs(document.querySelector(`[aria-label='${label}']`).ariaValueNow - old) < .01",
        arg=[slider.get_attribute("aria-label"), value],
    )
    changes(page, lambda: page.get_by_text("Redraw the level").first.click())
    changes(page, lambda: page.get_by_text("Undo").click())


def test_pixels_are_marked_and_filled(page):
    fill(page)
    page.get_by_text("First mark the pixels to fill").wait_for()  # nothing is marked
    mark(page)
    assert page.locator('[aria-label="the image"] rect').count() == 3
    fill(page)
    page.locator('[aria-label="filling 4"]').wait_for()
    see_level(page)
    handle = page.locator('[aria-label^="z1, channel"] [tabindex="0"]').first
    changes(page, lambda: handle.press("PageUp"))
    page.get_by_role("tab", name="Fill").click()
    page.locator('[aria-label="filling 4"]').wait_for(state="detached")  # they were of another image
    fill(page)
    page.locator('[aria-label="filling 4"]').wait_for()
    changes(page, lambda: page.get_by_text("Take it").first.click())
    assert page.locator('[aria-label="the image"] rect').count() == 0


def test_a_filling_is_stopped(browser):
    endless = "studio.SEARCH['iterations'] = 10**6"
    with served("rgflow", "--L", 8, first=endless) as address, opened(browser, address) as page:
        mark(page)
        fill(page)
        note = page.locator(".q-notification", has_text=re.compile(r"filling: \d+%"))  # and not that of the map
        note.get_by_role("button", name="Stop").dispatch_event("click")  # it moves as the text beside it grows
        page.get_by_text("Stopped.").wait_for()
        page.locator("button:not([disabled])", has_text=re.compile("^Fill$")).wait_for()


def test_pictures_are_opened_or_refused(page, tmp_path):
    good = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(good, format="PNG")
    chooser = page.locator('input[type="file"]')
    before = image(page).get_attribute("src")
    for name, content, message in (
        ("broken.png", good.getvalue()[:50], "or is damaged"),
        ("zipped.png", b"PK\x03\x04" + bytes(1000), "or is damaged"),
        ("large.png", bytes(100 * 2**20), "at most 20 MiB"),
    ):
        (tmp_path / name).write_bytes(content)
        chooser.set_input_files(tmp_path / name)
        page.get_by_text(message).first.wait_for()
        page.get_by_text(message).first.wait_for(state="detached")
        assert image(page).get_attribute("src") == before
    (tmp_path / "good.png").write_bytes(good.getvalue())
    changes(page, lambda: chooser.set_input_files(tmp_path / "good.png"))
    photograph = page.locator('[aria-label="the photograph"]')
    changes(page, lambda: photograph.click(position={"x": 5, "y": 5}))  # another window of it
    changes(page, lambda: page.get_by_text("New image").click())
    photograph.wait_for(state="hidden")


def test_two_visitors_have_their_own_images(browser, address):
    with opened(browser, address) as one, opened(browser, address) as other:
        first = image(other).get_attribute("src")
        assert image(one).get_attribute("src") != first
        changes(one, lambda: one.get_by_text("New image").click())
        assert image(other).get_attribute("src") == first


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_narrow_window(browser, address, width):
    with opened(browser, address, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        see_level(page)
        slider = page.locator('[aria-label^="z1, channel"]').last
        slider.scroll_into_view_if_needed()
        box = image(page).bounding_box()  # what the slider changes is in sight
        assert 0 <= box["y"] <= page.viewport_size["height"] - box["height"]


def test_it_ends_while_work_goes_on(browser):
    with served("rgflow", "--L", 32, "--hidden", 64) as address, opened(browser, address) as page:
        mark(page)
        fill(page)
        page.get_by_text("filling").first.wait_for()
        began = time.monotonic()
    assert time.monotonic() - began < 12
