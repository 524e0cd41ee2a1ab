"""The explorer in a real browser: served by the command line, seen by Chromium."""

import http.client
import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest
import torch
from PIL import Image

import mera
from tests.helpers.command import run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
SECOND = 1000


@contextmanager
def served(*arguments):
    """The address of an explorer that a process of its own serves."""
    command = [sys.executable, "-m", "mera", "explore", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=os.environ | {"PYTHONUNBUFFERED": "1"})  # fmt: skip
    try:
        line = next((line for line in process.stdout if "exploring" in line), "")
        yield re.search(r"http://\S+", line).group()
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert "Traceback" not in output, output


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("explore") / "small.safetensors"
    mera.save(mera.build("rgflow", L=8, m=4, channels=3, hidden=(6,)), path)
    with served(path) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@contextmanager
def opened(browser, address, width=1280):
    """The page, watched for errors and for requests that leave this machine."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(60 * SECOND)
    page, errors = context.new_page(), []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if is_outside(request.url) else None)
    # A picture that waits for the sanitizer, and is gone before it has come, raises an error: no picture may use it.
    sanitizer = "export default { sanitize() { throw new Error('A picture is sanitized'); } };"
    page.route("**/dompurify.mjs", lambda route: route.fulfill(content_type="text/javascript", body=sanitizer))
    page.goto(address)
    page.get_by_text("New image").wait_for()
    yield page
    assert errors == []
    context.close()


def is_outside(url):
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


def is_in_sight(page, element):
    box = element.bounding_box()
    return box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


def image(page):
    return page.locator('[aria-label="the image"] img')


def changes(page, act):
    """Act, and wait until the image is another one."""
    before = image(page).get_attribute("src")
    act()
    page.wait_for_function(
        "old => document.querySelector('[aria-label=\"the image\"] img').getAttribute('src') != old", arg=before
    )


@pytest.mark.slow
def test_a_latent_is_moved_and_taken_back(browser, address):
    with opened(browser, address) as page:
        page.get_by_text("z1:").click()
        page.locator('[aria-label^="receptive field of z1"]').first.wait_for()
        slider = page.locator('[aria-label^="z1, channel"]').first
        value = float(slider.get_attribute("aria-valuenow"))
        slider.locator('[tabindex="0"]').focus()
        changes(page, lambda: page.keyboard.press("PageUp"))
        assert float(slider.get_attribute("aria-valuenow")) > value
        changes(page, lambda: page.get_by_text("Back to it").click())
        page.wait_for_function(
            "([label, old]) => Math.abs(document.querySelector(`[aria-label='${label}']`).ariaValueNow - old) < .01",
            arg=[slider.get_attribute("aria-label"), value],
        )
        changes(page, lambda: page.get_by_text("Redraw the level").first.click())
        changes(page, lambda: page.get_by_text("Undo").click())


@pytest.mark.slow
def test_pixels_are_marked_and_filled(browser, address):
    with opened(browser, address) as page:
        page.get_by_role("tab", name="Fill").click()
        page.get_by_role("button", name="Fill", exact=True).click()
        page.get_by_text("First mark the pixels to fill").wait_for()  # nothing is marked
        page.get_by_label("first row").fill("7")
        page.get_by_text("Mark the rectangle").click()
        page.get_by_text("Expected a rectangle that ends after its start; got 7 to 4").wait_for()
        box = image(page).bounding_box()
        cell = box["width"] / 8
        page.mouse.move(box["x"] + 1.5 * cell, box["y"] + 2.5 * cell)
        page.mouse.down()
        page.mouse.move(box["x"] + 3.5 * cell, box["y"] + 2.5 * cell, steps=10)
        page.mouse.up()
        page.mouse.move(box["x"] + 6.5 * cell, box["y"] + 6.5 * cell)
        page.wait_for_function("document.querySelectorAll('[aria-label=\"the image\"] rect').length == 3")
        page.get_by_role("button", name="Fill", exact=True).click()
        page.locator('[aria-label="filling 4"]').wait_for()
        page.get_by_role("tab", name="Levels").click()
        page.get_by_text("z1:").click()
        page.locator('[aria-label^="receptive field of z1"]').first.wait_for()  # the sliders are then made for good
        handle = page.locator('[aria-label^="z1, channel"] [tabindex="0"]').first
        changes(page, lambda: handle.press("PageUp"))
        page.get_by_role("tab", name="Fill").click()
        page.locator('[aria-label="filling 4"]').wait_for(state="detached")  # they were of another image
        page.get_by_role("button", name="Fill", exact=True).click()
        page.locator('[aria-label="filling 4"]').wait_for()
        changes(page, lambda: page.get_by_text("Take it").first.click())
        assert page.locator('[aria-label="the image"] rect').count() == 0
        page.get_by_text("Show the map").click()
        page.locator('[alt="map of the cost"]').wait_for()


@pytest.mark.slow
def test_a_filling_is_stopped(browser, address):
    with opened(browser, address) as page:
        page.get_by_role("tab", name="Fill").click()
        page.get_by_text("Mark the rectangle").click()
        page.get_by_role("button", name="Fill", exact=True).click()
        page.get_by_text(re.compile(r"filling: \d+%")).wait_for()  # how much is done
        page.get_by_role("button", name="Stop").dispatch_event("click")  # it moves as the text beside it grows
        page.get_by_text("Stopped.").wait_for()
        assert page.locator('[aria-label="filling 1"]').count() == 0


@pytest.mark.slow
def test_mixtures_are_chosen(browser, address):
    with opened(browser, address) as page:
        page.get_by_role("tab", name="Mix").click()
        page.get_by_text("Show the mixtures").click()
        changes(page, lambda: page.get_by_text("z1 and coarser").click())


@pytest.mark.slow
def test_cones_light_up(browser, address):
    with opened(browser, address) as page:
        page.get_by_role("tab", name="Cones").click()
        page.get_by_text("Draw the layout").click()
        page.locator('[alt="the layout from the side"]').wait_for()
        page.get_by_text("Show the cones").click()
        frame = page.frame_locator("iframe")
        frame.locator("canvas").first.hover()
        assert "can change" in frame.locator("#said").inner_text()


@pytest.mark.slow
def test_pictures_are_opened_or_refused(browser, address, tmp_path):
    good, broken = io.BytesIO(), tmp_path / "broken.png"
    Image.linear_gradient("L").convert("RGB").save(good, format="PNG")
    broken.write_bytes(good.getvalue()[:50])
    zipped, large = tmp_path / "zipped.png", tmp_path / "large.png"
    zipped.write_bytes(b"PK\x03\x04" + bytes(1000))
    large.write_bytes(bytes(100 * 2**20))
    (tmp_path / "good.png").write_bytes(good.getvalue())
    with opened(browser, address) as page:
        chooser = page.locator('input[type="file"]')
        before = image(page).get_attribute("src")
        for path, message in ((broken, "or a broken one"), (zipped, "or a broken one"), (large, "at most 20 MiB")):
            chooser.set_input_files(path)
            page.get_by_text(message).first.wait_for()
            page.get_by_text(message).first.wait_for(state="detached")
            assert image(page).get_attribute("src") == before
        changes(page, lambda: chooser.set_input_files(tmp_path / "good.png"))
        photograph = page.locator('[aria-label="the photograph"]')
        changes(page, lambda: photograph.click(position={"x": 5, "y": 5}))  # another window of it
        changes(page, lambda: page.get_by_text("Reduce it all").click())
        photograph.wait_for(state="hidden")


@pytest.mark.slow
def test_two_visitors_have_their_own_images(browser, address):
    with opened(browser, address) as one, opened(browser, address) as other:
        first = image(other).get_attribute("src")
        assert image(one).get_attribute("src") != first
        changes(one, lambda: one.get_by_text("New image").click())
        assert image(other).get_attribute("src") == first


@pytest.mark.slow
def test_random_events(browser, address):
    chance = random.Random(1)
    with opened(browser, address) as page:
        page.get_by_text("z1:").click()
        page.locator('[aria-label^="receptive field of z1"]').first.wait_for()

        def any_of(selector, act):
            """Choose and act within the page at once: elements come and go."""
            page.evaluate(
                """([selector, chance, act]) => {
                    const there = [...document.querySelectorAll(selector)].filter((one) => one.offsetParent);
                    if (there.length) there[Math.floor(chance * there.length)][act]();
                }""",
                [selector, chance.random(), act],
            )

        def click():
            any_of("button, .q-tab, .q-expansion-item .q-item", "click")

        def paint():
            box = image(page).bounding_box()
            for act in (page.mouse.down, page.mouse.up):
                page.mouse.move(box["x"] + chance.random() * box["width"], box["y"] + chance.random() * box["height"])
                act()

        def press():
            any_of('.q-slider [tabindex="0"]', "focus")
            page.keyboard.press(chance.choice(["ArrowLeft", "ArrowRight", "PageUp", "Home", "End", "Tab", "Enter"]))

        for _ in range(100):
            chance.choice([click, click, paint, press])()
        before = image(page).get_attribute("src")
        page.wait_for_timeout(SECOND)
        page.get_by_text("New image").evaluate("button => button.click()")
        page.wait_for_function(
            "old => document.querySelector('[aria-label=\"the image\"] img').getAttribute('src') != old", arg=before
        )


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_narrow_window(browser, address, width):
    with opened(browser, address, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_text("z1:").click()
        slider = page.locator('[aria-label^="z1, channel"]').last
        slider.wait_for()
        slider.scroll_into_view_if_needed()
        assert is_in_sight(page, image(page))  # what the slider changes


@pytest.mark.slow
def test_it_ends_while_work_goes_on(browser):
    with served("rgflow", "--L", 32, "--hidden", 64) as address, opened(browser, address) as page:
        page.get_by_role("tab", name="Fill").click()
        page.get_by_text("Mark the rectangle").click()
        page.get_by_role("button", name="Fill", exact=True).click()
        page.get_by_text("filling").first.wait_for()
        began = time.monotonic()
    assert time.monotonic() - began < 12


def test_who_may_ask(address):
    port = int(re.search(r":(\d+)/", address).group(1))
    token = address.split("token=")[1]

    def answer(path, method="GET", **headers):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            with connection.getresponse() as response:
                return response.status, response.getheader("set-cookie")

    cookie = answer(f"/?token={token}")[1]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    mine = cookie.split(";")[0]
    assert answer("/", Cookie=mine)[0] == 200
    assert answer("/", Cookie=f'prefs={{"a":1,"b":"x y"}}; {mine}')[0] == 200  # beside a cookie of another program
    for path, headers in (
        ("/", {}), ("/?token=guess", {}), ("/cones", {}), ("/cones?token=" + token, {}),
        ("/", {"Cookie": mine[:-1] + "!"}), ("/", {"Cookie": mine, "Origin": "http://127.0.0.1:1"}),
        ("/_nicegui_ws/socket.io/?EIO=4&transport=polling", {}),
    ):  # fmt: skip
        assert answer(path, **headers)[0] == 403, (path, headers)
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))  # another address of this machine


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("explore", "digits", "--port", taken.getsockname()[1], "--no-browser")
    assert result.exit_code == 1
    assert "Expected a free port" in str(result.exception)
