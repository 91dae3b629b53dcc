"""The map viewer in a real browser, from a local file."""

import shutil

import numpy as np
import pytest
import rasterio
from fakes.report_page import LEGEND, page, write
from rasterio.transform import from_origin

from landcover_tf.report import map_tiles
from landcover_tf.report.map_layers import MapLayers


@pytest.mark.parametrize("embedded", [True, False])
def test_the_viewer_shows_what_rasterio_reads(layers, tmp_path, browser, monkeypatch, embedded):
    if not embedded:
        monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 1000)
    name = "the 2nd #report ü%20"
    pyramid = page(layers, tmp_path, name)
    assert (pyramid.embedded is not None) == embedded
    assert (tmp_path / f"{name}_tiles").exists() != embedded
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    messages: list[str] = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto((tmp_path / f"{name}.html").as_uri())
    tab.wait_for_function("window.landcoverViewer && landcoverViewer.map.getLayers()")
    for row, col in [(0, 0), (255, 256), (299, 419), (131, 77)]:
        tab.evaluate(f"landcoverViewer.inspect([{col}.5, -{row}.5])")
        tab.wait_for_function(f"document.getElementById('viewer-inspector').dataset.row == '{row}'")
        shown = tab.evaluate("({...document.getElementById('viewer-inspector').dataset})")
        with rasterio.open(layers.map) as raster:
            code = raster.read(1)[row, col]
        assert shown["code"] == str(code)
        if code != LEGEND.nodata:
            tab.wait_for_function(
                "document.getElementById('viewer-inspector').dataset.probabilities"
            )
            with rasterio.open(layers.probabilities) as raster:
                expected = raster.read()[:, row, col]
            shown = tab.evaluate(
                "document.getElementById('viewer-inspector').dataset.probabilities"
            )
            assert shown == ",".join(map(str, expected))
    tab.evaluate("landcoverViewer.inspect([-3, 5])")
    assert tab.text_content("#viewer-inspector") == "Outside the map."
    assert messages == []
    assert all(url.startswith(("file:", "data:")) for url in requests)
    tab.screenshot(path=str(tmp_path / "viewer.png"))
    assert (tmp_path / "viewer.png").stat().st_size > 20_000


def test_only_the_pixel_that_was_asked_for_last_is_shown(layers, tmp_path, browser):
    """The first pixel needs two pictures, the second one without class only one."""
    page(layers, tmp_path)
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    with rasterio.open(layers.map) as raster:
        codes = raster.read(1)
    (row, col), (empty_row, empty_col) = np.argwhere(codes != 0)[7], np.argwhere(codes == 0)[3]
    both = (
        "(places) => Promise.all(places.map(([row, col]) => "
        "landcoverViewer.inspect([col + 0.5, -row - 0.5])))"
    )
    places = [[int(row), int(col)], [int(empty_row), int(empty_col)]]
    tab.evaluate(both, places)
    assert f"row {empty_row}, column {empty_col}" in tab.text_content("#viewer-inspector")
    assert tab.locator("#viewer-inspector .bars").count() == 0
    tab.evaluate(both, places[::-1])
    assert f"row {row}, column {col}" in tab.text_content("#viewer-inspector")
    assert tab.locator("#viewer-inspector .bars").count() == 1


def test_layers_and_classes_can_be_switched_by_keyboard(layers, tmp_path, browser):
    page(layers, tmp_path)
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    tab.focus("[data-layer=map]")
    tab.keyboard.press("Space")
    assert tab.evaluate("landcoverViewer.layers.map.getVisible()") is False
    tab.focus("[data-opacity=image]")
    tab.keyboard.press("Home")
    assert tab.evaluate("landcoverViewer.layers.image.getOpacity()") == 0
    tab.focus("[data-class='20']")
    tab.keyboard.press("Space")
    assert tab.is_checked("[data-class='20']") is False
    # On a phone nothing sticks out to the right.
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.inner_html("#t table").count("<b>") == 0, "text is escaped"


def test_a_tap_shows_the_pixel_on_the_screen_of_a_phone(layers, tmp_path, browser):
    page(layers, tmp_path)
    phone = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    tab = phone.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    assert tab.locator("#viewer .for-touch").first.is_visible()
    assert tab.locator("#viewer .for-mouse").first.is_hidden()
    tab.locator("#viewer-map").scroll_into_view_if_needed()
    place = tab.locator("#viewer-map").bounding_box()
    tab.touchscreen.tap(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    tab.wait_for_function("document.getElementById('viewer-inspector').dataset.probabilities")
    tab.wait_for_function(
        "box = document.getElementById('viewer-inspector').getBoundingClientRect(), "
        "box.top > 0 && box.bottom <= 844"
    )
    for row in ("label:has([data-layer=map])", "label:has([data-class='20'])", "#viewer-none"):
        assert tab.locator(row).bounding_box()["height"] >= 44
    phone.close()


@pytest.mark.parametrize(
    ("crs", "shown"),
    # 40 px of 10 m are 0.4 ha; 199 960 px are 1999.6 ha.
    [("EPSG:32634", ["0.4 ha", "2,000 ha"]), (None, ["40 px", "199,960 px"])],
)
def test_areas_of_classes_have_the_digits_that_they_need(tmp_path, browser, crs, shown):
    codes = np.full((400, 500), 20, np.uint8)
    codes[0, :40] = 60
    page(MapLayers(map=write(tmp_path / "map.tif", codes, crs=crs)), tmp_path)
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    rows = [
        tab.text_content(f".class-row:has([data-class='{code}']) .class-area") for code in (60, 20)
    ]
    assert [row.split(" · ")[0] for row in rows] == shown


@pytest.mark.parametrize(
    ("pixel", "crs", "shown"),
    # Centre of row 2 and column 3: the corner and 3.5 and 2.5 pixels.
    [(1e-4, "EPSG:4326", "15.00035, 45.99975"), (10, "EPSG:32633", "50.0, 21.0")],
)
def test_positions_have_the_digits_that_pixels_need(tmp_path, browser, pixel, crs, shown):
    place = from_origin(15, 46, pixel, pixel)
    path = write(tmp_path / "map.tif", np.full((4, 5), 20, np.uint8), crs=crs, transform=place)
    page(MapLayers(map=path), tmp_path)
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    tab.evaluate("landcoverViewer.inspect([3.5, -2.5])")
    assert shown in tab.text_content("#viewer-inspector")


def test_a_pixel_without_confidence_or_probabilities_shows_none(tmp_path, browser):
    """Both rasters end left of the map's last two columns; column 1 is declared no data."""
    shares = np.zeros((8, 4, 3), np.uint8)
    shares[1] = 200
    shares[2] = 54
    shares[:, :, 1] = 255
    layers = MapLayers(
        map=write(tmp_path / "map.tif", np.full((4, 5), 20, np.uint8)),
        confidence=write(tmp_path / "confidence.tif", shares[1], ["confidence: mean"], nodata=255),
        probabilities=write(tmp_path / "probabilities.tif", shares, nodata=255),
    )
    for path, count in ((layers.confidence, 1), (layers.probabilities, 8)):
        with rasterio.open(path, "r+") as raster:
            raster.scales = (1 / 254,) * count
    page(layers, tmp_path)
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    for col, some in ((0, True), (1, False), (2, True), (4, False)):
        tab.evaluate(f"landcoverViewer.inspect([{col}.5, -1.5])")
        text = tab.text_content("#viewer-inspector")
        assert f"column {col}" in text
        # 200 / 254 = 0.787
        assert ("Confidence79 %, mean" in text) == some
        assert ("79 %" in text, "onfidence" in text) == (some, some)
        assert tab.locator("#viewer-inspector .bars").count() == some


def test_a_page_without_its_tiles_says_so(layers, tmp_path, browser, monkeypatch):
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 1000)
    page(layers, tmp_path)
    tab = browser.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_function("window.landcoverViewer")
    assert tab.locator("#viewer-missing").is_hidden()
    shutil.rmtree(tmp_path / "report_tiles")
    tab.reload()
    tab.locator("#viewer-missing").wait_for(state="visible")
    assert "Keep the folder report_tiles beside" in tab.text_content("#viewer-missing")
    tab.click("#viewer-centre")
    tab.wait_for_function(
        "/is missing/.test(document.getElementById('viewer-inspector').textContent)"
    )
    assert errors == []
