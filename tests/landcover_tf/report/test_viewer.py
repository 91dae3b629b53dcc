"""The map viewer in a real browser, from a local file."""

import base64
import io
import shutil

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from landcover_tf.errors import OutputError, RasterError
from landcover_tf.legend import load_legend
from landcover_tf.report import map_tiles
from landcover_tf.report.map_layers import MapLayers
from landcover_tf.report.map_tiles import build_pyramid
from landcover_tf.report.page import Card, Page, Section, Table, viewer_data, write_page

HEIGHT, WIDTH = 300, 420
LEGEND = load_legend("landcover9")


def write(path, array, names=(), **profile):
    array = array if array.ndim == 3 else array[None]
    defaults = {"crs": "EPSG:32634", "transform": from_origin(500_000, 4_200_000, 10, 10)}
    with rasterio.open(
        path, "w", driver="GTiff", height=array.shape[1], width=array.shape[2],
        count=len(array), dtype=array.dtype, **(defaults | profile),
    ) as raster:  # fmt: skip
        raster.write(array)
        for i, name in enumerate(names, 1):
            raster.set_band_description(i, name)
    return path


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    codes = np.array([0, *LEGEND.codes], np.uint8)[rng.integers(0, 9, (HEIGHT, WIDTH))]
    probabilities = rng.integers(0, 256, (8, HEIGHT, WIDTH)).astype(np.uint8)
    image = rng.integers(900, 4000, (3, HEIGHT, WIDTH)).astype(np.uint16)
    return MapLayers(
        map=write(folder / "map.tif", codes),
        image=write(folder / "image.tif", image, ("B02", "B03", "B04")),
        confidence=write(folder / "confidence.tif", probabilities.max(axis=0)),
        reference=write(folder / "reference.tif", np.roll(codes, 3, axis=0)),
        probabilities=write(folder / "probabilities.tif", probabilities),
    )


def page(layers, folder, name="report"):
    pyramid = build_pyramid(layers, folder / f"{name}_tiles", LEGEND)
    section = Section(
        id="t",
        title="Table",
        paragraphs=["0a" * 32],
        tables=[Table(header=("class", "F1"), rows=[("<b>", "1")])],
    )
    write_page(
        Page(
            title="A run",
            subtitle="of a test",
            cards=[Card(value="0.5", label="macro F1")],
            sections=[section],
            viewer=viewer_data(pyramid, LEGEND, layers.map),
        ),
        folder / f"{name}.html",
    )
    return pyramid


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-headless-shell", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if not executable:
        pytest.skip("no Chromium on this machine")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=quiet)
        yield chromium
        chromium.close()


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
    tab.wait_for_timeout(100)
    box = tab.locator("#viewer-inspector").bounding_box()
    assert box["y"] > 0 and box["y"] + box["height"] <= 844
    for row in ("label:has([data-layer=map])", "label:has([data-class='20'])", "#viewer-none"):
        assert tab.locator(row).bounding_box()["height"] >= 44
    phone.close()


def test_the_wheel_scrolls_the_page_until_someone_works_with_the_map(opaque_layers):
    tab = opaque_layers
    tab.set_viewport_size({"width": 1200, "height": 500})
    tab.wait_for_timeout(300)  # A resolution that the smaller map allows is chosen.
    before = tab.evaluate("landcoverViewer.view.getResolution()")
    tab.evaluate("document.getElementById('viewer-map').scrollIntoView()")
    place, top = tab.locator("#viewer-map").bounding_box(), tab.evaluate("scrollY")
    x, y = place["x"] + 300, place["y"] + 200
    tab.mouse.move(x, y)
    tab.mouse.move(x + 5, y)
    assert tab.locator("#viewer-hint").is_hidden()
    tab.mouse.wheel(0, 40)
    tab.wait_for_function(f"scrollY > {top}")
    assert tab.evaluate("landcoverViewer.view.getResolution()") == before
    assert tab.locator("#viewer-hint").is_visible()
    tab.locator("#viewer-hint").wait_for(state="hidden")
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


def test_the_keyboard_moves_the_map_and_inspects_its_middle(halves):
    halves.evaluate("landcoverViewer.view.setResolution(0.25)")
    halves.focus("#viewer-map")
    halves.keyboard.press("ArrowRight")  # OpenLayers pans by 128 screen pixels, 32 of the map.
    halves.wait_for_function("landcoverViewer.view.getCenter()[0] > 231")
    halves.wait_for_function("!landcoverViewer.view.getAnimating()")
    halves.keyboard.press("Enter")
    halves.wait_for_function("document.getElementById('viewer-inspector').dataset.col == '232'")
    assert "60 water bodies" in halves.text_content("#viewer-inspector")


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


def decoded(url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


def test_shares_are_scaled_and_no_data_is_none(tmp_path):
    """Predictions store round(254 p) with 255 for no data; the viewer shows 255ths."""
    stored = np.array([[0, 127, 212, 254, 255]], np.uint8)
    path = write(tmp_path / "confidence.tif", stored, nodata=255)
    with rasterio.open(path, "r+") as raster:
        raster.scales = (1 / 254,)
    codes = write(tmp_path / "map.tif", np.full((1, 5), 20, np.uint8))
    layers = MapLayers(map=codes, confidence=path, probabilities=path)
    tile = build_pyramid(layers, tmp_path / "tiles", LEGEND).embedded["0/0/0"]
    # 127 / 254 = 1/2 of 255, rounded to even; 212 / 254 * 255 = 212.8.
    expected = [0, 128, 213, 255, 0]
    assert decoded(tile["values"])[0, :5, 1].tolist() == expected
    assert decoded(tile["probabilities"])[0, :5].tolist() == expected
    floats = np.array([[0, 0.5, np.nan, 1, 1.5]], np.float32)
    layers = MapLayers(map=codes, confidence=write(tmp_path / "floats.tif", floats))
    tile = build_pyramid(layers, tmp_path / "tiles", LEGEND).embedded["0/0/0"]
    assert decoded(tile["values"])[0, :5, 1].tolist() == [0, 128, 0, 255, 255]


def test_a_class_that_only_the_map_names_is_listed(tmp_path):
    codes = np.full((4, 5), 20, np.uint8)
    codes[0] = 255
    path = write(tmp_path / "map.tif", codes)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {20: (1, 2, 3, 255), 255: (154, 155, 156, 255)})
        raster.update_tags(1, CLASS_20="woods", CLASS_255="uncertain")
    classes = viewer_data(build_pyramid(MapLayers(map=path), tmp_path / "t", LEGEND), LEGEND, path)[
        "classes"
    ]
    assert [c["code"] for c in classes] == [*LEGEND.codes, 255]
    assert classes[-1]["name"] == "uncertain"
    assert classes[-1]["color"] == "#9a9b9c"
    assert classes[-1]["area_ha"] == pytest.approx(0.05)
    assert classes[1]["name"] == "forests"


def test_tiles_of_an_earlier_report_are_replaced_but_nothing_else(layers, tmp_path, monkeypatch):
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 1000)
    folder = tmp_path / "report_tiles"
    build_pyramid(layers, folder, LEGEND)
    before = (folder / "1/0/0.js").read_text()
    build_pyramid(MapLayers(map=layers.map), folder, LEGEND)
    assert len((folder / "1/0/0.js").read_text()) < len(before)
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputError, match="cannot write the map tiles"):
        build_pyramid(layers, other, LEGEND)
    assert {p.name for p in tmp_path.iterdir()} == {"report_tiles", "thesis"}
    assert (other / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("dtype", "nodata", "missing"),
    [("uint16", None, 0), ("int16", -9999, -9999), ("float32", np.nan, np.nan)],
)
def test_no_data_of_the_reference_is_that_of_the_legend(tmp_path, dtype, nodata, missing):
    codes = write(tmp_path / "map.tif", np.full((2, 5), 20, np.uint8))
    labels = np.array([[10, 20, 90, 30, missing]] * 2).astype(dtype)
    # The second one has no pixels under the last two columns of the map.
    for name, part in (("whole", labels), ("cut", labels[:, :3])):
        reference = write(tmp_path / f"{name}.tif", part, nodata=nodata)
        layers = MapLayers(map=codes, reference=reference)
        tile = build_pyramid(layers, tmp_path / "tiles", LEGEND).embedded["0/0/0"]
        expected = [10, 20, 90, 30 if name == "whole" else 0, 0]
        assert decoded(tile["values"])[0, :5, 2].tolist() == expected


def test_a_reference_with_overviews_of_any_kind_is_read_from_its_own_pixels(tmp_path):
    size = 576  # Larger than a tile, so the first one is decimated.
    codes = np.random.default_rng(0).choice(np.array([10, 20, 60], np.uint8), (size, size))
    path = write(tmp_path / "map.tif", codes)
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews([2, 4], Resampling.cubic)
    plain = write(tmp_path / "plain.tif", codes)
    pyramid = build_pyramid(MapLayers(map=plain, reference=path), tmp_path / "t", LEGEND)
    assert set(np.unique(decoded(pyramid.embedded["0/0/0"]["values"])[..., 2])) <= {0, 10, 20, 60}


def test_codes_of_the_reference_never_wrap(layers, tmp_path, monkeypatch):
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 1000)
    folder = tmp_path / "report_tiles"
    build_pyramid(layers, folder, LEGEND)
    before = {path: path.read_bytes() for path in folder.rglob("*.js")}
    # 276 = 256 + 20: the classes of another legend, such as CORINE's 211 to 523.
    strange = write(tmp_path / "strange.tif", np.full((HEIGHT, WIDTH), 276, np.uint16))
    with pytest.raises(RasterError, match=r"strange.tif has codes \[276\] that legend"):
        build_pyramid(MapLayers(map=layers.map, reference=strange), folder, LEGEND)
    with pytest.raises(RasterError, match=r"strange.tif must be a uint8 class map, got uint16"):
        build_pyramid(MapLayers(map=strange), folder, LEGEND)
    assert {path: path.read_bytes() for path in folder.rglob("*.js")} == before


def test_a_reference_may_name_a_class_of_its_own(tmp_path):
    path = write(tmp_path / "map.tif", np.full((4, 5), 255, np.uint8))
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(1, CLASS_255="uncertain")
    pyramid = build_pyramid(MapLayers(map=path, reference=path), tmp_path / "t", LEGEND)
    assert (decoded(pyramid.embedded["0/0/0"]["values"])[:4, :5, 2] == 255).all()


def test_class_areas_are_those_of_the_map(layers, tmp_path):
    data = viewer_data(build_pyramid(layers, tmp_path / "tiles", LEGEND), LEGEND, layers.map)
    with rasterio.open(layers.map) as raster:
        codes = raster.read(1)
    for entry in data["classes"]:
        pixels = int((codes == entry["code"]).sum())
        assert entry["pixels"] == pixels
        assert entry["area_ha"] == pytest.approx(pixels * 0.01)
    assert sum(entry["fraction"] for entry in data["classes"]) == pytest.approx(1)


def test_a_reference_on_another_grid_is_warped(layers, tmp_path):
    coarse = np.full((40, 40), 20, np.uint8)
    reference = write(
        tmp_path / "coarse.tif", coarse, transform=from_origin(499_000, 4_201_000, 300, 300)
    )
    pyramid = build_pyramid(
        MapLayers(map=layers.map, reference=reference), tmp_path / "tiles", LEGEND
    )
    assert pyramid.description["reference"] and not pyramid.description["image"]
    bare = write(tmp_path / "bare.tif", coarse, crs=None, transform=from_origin(0, 0, 1, 1))
    with pytest.raises(RasterError, match="one of them has no CRS"):
        build_pyramid(MapLayers(map=layers.map, reference=bare), tmp_path / "tiles", LEGEND)
    with pytest.raises(RasterError, match="cannot read a raster"):
        build_pyramid(MapLayers(map=tmp_path / "absent.tif"), tmp_path / "tiles", LEGEND)
