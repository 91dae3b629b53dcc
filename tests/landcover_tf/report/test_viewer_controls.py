"""What the controls of the map viewer change, in a real browser."""

import io

import numpy as np
import pytest
from fakes.report_page import LEGEND, page, write
from PIL import Image

from landcover_tf.report.map_layers import MapLayers

HALVES = (20, 60)
"""Classes of the left and of the right half of the map of `halves`."""
BACKGROUND = (233, 237, 241)


@pytest.fixture
def halves(tmp_path, browser):
    """A tab with a map of two halves, drawn one screen pixel per map pixel."""
    codes = np.full((300, 400), HALVES[0], np.uint8)
    codes[:, 200:] = HALVES[1]
    page(MapLayers(map=write(tmp_path / "map.tif", codes)), tmp_path)
    tab = browser.new_page(viewport={"width": 1200, "height": 1000})
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    tab.evaluate("landcoverViewer.view.setResolution(1)")
    return tab


def colours(tab):
    """Returns what is seen 100 px left and right of the middle, each as (red, green, blue)."""
    picture = Image.open(io.BytesIO(tab.locator("#viewer-map").screenshot())).convert("RGB")
    x, y = picture.width // 2, picture.height // 2 + 60
    return picture.getpixel((x - 100, y)), picture.getpixel((x + 100, y))


def expect(tab, left, right):
    for _ in range(50):
        if colours(tab) == (left, right):
            return
        tab.wait_for_timeout(100)
    assert colours(tab) == (left, right)


def rgb(code):
    return next(c.rgb for c in LEGEND.classes if c.code == code)


def test_classes_opacity_and_swipe_change_what_is_seen(halves):
    left, right = map(rgb, HALVES)
    expect(halves, left, right)
    halves.uncheck("[data-class='20']")
    expect(halves, BACKGROUND, right)
    halves.check("[data-class='20']")
    expect(halves, left, right)
    halves.click("#viewer-none")
    expect(halves, BACKGROUND, BACKGROUND)
    halves.click("#viewer-all")
    expect(halves, left, right)
    assert halves.locator(".swipe-handle").is_hidden()
    halves.select_option("#viewer-swipe-layer", "map")
    expect(halves, left, BACKGROUND)
    place = halves.locator(".swipe-handle").bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + 30
    halves.mouse.move(x, y)
    halves.mouse.down()
    halves.mouse.move(x + 150, y)
    halves.mouse.up()
    expect(halves, left, right)
    halves.focus("#viewer-swipe")
    halves.keyboard.press("Home")
    expect(halves, BACKGROUND, BACKGROUND)
    halves.select_option("#viewer-swipe-layer", "")
    halves.focus("[data-opacity=map]")
    halves.keyboard.press("Home")
    expect(halves, BACKGROUND, BACKGROUND)


YELLOW = (253, 231, 37)
"""The end of the colour ramp, for a confidence of 1."""


@pytest.fixture
def opaque_layers(tmp_path, browser):
    """A tab with a map of 20, a reference of 60, an image and a confidence of 1 everywhere."""
    shape = (300, 400)
    image = np.random.default_rng(0).integers(900, 4000, (3, *shape)).astype(np.uint16)
    page(
        MapLayers(
            map=write(tmp_path / "map.tif", np.full(shape, 20, np.uint8)),
            image=write(tmp_path / "image.tif", image, ("B02", "B03", "B04")),
            reference=write(tmp_path / "reference.tif", np.full(shape, 60, np.uint8)),
            confidence=write(tmp_path / "confidence.tif", np.full(shape, 255, np.uint8)),
        ),
        tmp_path,
    )
    tab = browser.new_page(viewport={"width": 1200, "height": 1000})
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    tab.evaluate("landcoverViewer.view.setResolution(1)")
    return tab


def test_a_ticked_layer_lies_above_the_others(opaque_layers):
    tab, mapped, reference = opaque_layers, rgb(20), rgb(60)
    expect(tab, mapped, mapped)
    tab.check("[data-layer=reference]")
    expect(tab, reference, reference)
    tab.check("[data-layer=confidence]")
    expect(tab, YELLOW, YELLOW)
    tab.uncheck("[data-layer=confidence]")
    expect(tab, reference, reference)
    tab.uncheck("[data-layer=map]")
    tab.check("[data-layer=map]")
    expect(tab, mapped, mapped)
    # The image is the ground of all others, whenever it is ticked.
    tab.uncheck("[data-layer=image]")
    tab.check("[data-layer=image]")
    expect(tab, mapped, mapped)


def test_a_swiped_layer_is_shown_on_top_while_it_is_swiped(opaque_layers):
    tab, mapped, reference = opaque_layers, rgb(20), rgb(60)
    tab.select_option("#viewer-swipe-layer", "reference")
    expect(tab, reference, mapped)
    assert tab.is_checked("[data-layer=reference]")
    tab.select_option("#viewer-swipe-layer", "confidence")
    expect(tab, YELLOW, mapped)
    assert not tab.is_checked("[data-layer=reference]")
    tab.select_option("#viewer-swipe-layer", "image")
    for _ in range(50):
        left, right = colours(tab)
        if left != mapped and right == mapped:
            break
        tab.wait_for_timeout(100)
    assert left != mapped and right == mapped
    tab.select_option("#viewer-swipe-layer", "confidence")
    tab.uncheck("[data-layer=confidence]")
    expect(tab, mapped, mapped)
    assert tab.input_value("#viewer-swipe-layer") == ""
    assert tab.locator(".swipe-handle").is_hidden()


def test_the_wheel_scrolls_the_page_until_someone_works_with_the_map(opaque_layers):
    tab = opaque_layers
    tab.set_viewport_size({"width": 1200, "height": 500})
    # OpenLayers learns of the smaller map, and chooses a resolution that it allows.
    tab.wait_for_function(
        "innerHeight === 500 && landcoverViewer.map.getSize()[1] === "
        "document.getElementById('viewer-map').clientHeight"
    )
    before = tab.evaluate("landcoverViewer.view.getResolution()")
    tab.evaluate("document.getElementById('viewer-map').scrollIntoView()")
    place, top = tab.locator("#viewer-map").bounding_box(), tab.evaluate("scrollY")
    x, y = place["x"] + 300, place["y"] + 200
    tab.mouse.move(x, y)
    tab.mouse.move(x + 5, y)
    assert tab.locator("#viewer-hint").is_hidden()
    # It is shown for a moment only.
    tab.evaluate(
        """() => {
        window.hints = [];
        const hint = document.getElementById("viewer-hint");
        const observer = new MutationObserver(() => hints.push(hint.hidden ? "hidden" : "shown"));
        observer.observe(hint, { attributeFilter: ["hidden"] });
        }"""
    )
    tab.mouse.wheel(0, 40)
    tab.wait_for_function(f"scrollY > {top}")
    assert tab.evaluate("landcoverViewer.view.getResolution()") == before
    tab.wait_for_function("hints.join() === 'shown,hidden'")
    tab.keyboard.down("Control")
    tab.mouse.wheel(0, -100)
    tab.keyboard.up("Control")
    tab.wait_for_function(f"landcoverViewer.view.getResolution() < {before}")
    tab.wait_for_function("!landcoverViewer.view.getAnimating()")
    before = tab.evaluate("landcoverViewer.view.getResolution()")
    tab.mouse.click(x, y)
    tab.mouse.wheel(0, -100)
    tab.wait_for_function(f"landcoverViewer.view.getResolution() < {before}")
    assert tab.locator("#viewer-hint").is_hidden()


def test_the_map_stays_on_the_screen_of_a_laptop_beside_the_classes(opaque_layers):
    tab = opaque_layers
    tab.set_viewport_size({"width": 1366, "height": 768})
    tab.evaluate("document.getElementById('viewer-none').scrollIntoView({ block: 'end' })")
    assert tab.evaluate("scrollY") > 0
    box = tab.locator("#viewer-map").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 768
    tab.set_viewport_size({"width": 1366, "height": 500})
    assert tab.locator("#viewer-map").bounding_box()["height"] < 500
    # The cross that the keyboard inspects is not hidden by the handle of the swipe.
    tab.select_option("#viewer-swipe-layer", "map")
    tab.focus("#viewer-map")
    depth = "([name, part]) => +getComputedStyle(document.querySelector(name), part).zIndex"
    cross = tab.evaluate(depth, ["#viewer-map", "::after"])
    assert cross > tab.evaluate(depth, [".swipe-handle", None])


def test_the_keyboard_moves_the_map_and_inspects_its_middle(halves):
    halves.evaluate("landcoverViewer.view.setResolution(0.25)")
    halves.focus("#viewer-map")
    halves.keyboard.press("ArrowRight")  # OpenLayers pans by 128 screen pixels, 32 of the map.
    halves.wait_for_function("landcoverViewer.view.getCenter()[0] > 231")
    halves.wait_for_function("!landcoverViewer.view.getAnimating()")
    halves.keyboard.press("Enter")
    halves.wait_for_function("document.getElementById('viewer-inspector').dataset.col == '232'")
    assert "60 water bodies" in halves.text_content("#viewer-inspector")
