import re

import numpy as np
import pytest
from PIL import Image

from landcover_tf.legend import load_legend
from landcover_tf.pictures import (
    FALSE_COLOUR,
    Stretch,
    class_picture,
    composite,
    picture_bands,
    save_confusion_matrix,
    save_panels,
)


def test_composite_finds_its_bands_by_name():
    image = np.zeros((2, 2, 3), np.float32)
    image[0, 0] = (0.1, 0.2, 0.9)  # blue, green, red
    picture = composite(image, ["B02", "B03", "B04"])
    assert picture[0, 0, 0] > picture[0, 0, 1] > picture[0, 0, 2]
    assert composite(image, ["blue", "green", "red"]).tolist() == picture.tolist()


def test_composite_of_nothing_valid_is_black():
    assert not composite(np.full((2, 2, 4), np.nan), list("abcd")).any()


def test_letters_that_the_font_lacks_are_told_in_one_sentence(tmp_path, capsys, recwarn):
    """Each letter was a warning of two lines, at every use."""
    path = tmp_path / "matrix.png"
    save_confusion_matrix(path, np.eye(2), ["森林", "水体"], title="森")
    told = capsys.readouterr().err
    before, letters, after = re.fullmatch(r"(.* lacks )(.*)(, drawn as .*\n)", told).groups()
    assert before == "warning: the font of pictures lacks "
    assert sorted(letters) == sorted("森林水体")
    assert after == f", drawn as boxes in {path}\n"
    assert [w for w in recwarn if "Glyph" in str(w.message)] == []


def test_limits_take_haze_away_and_keep_the_colours_whatever_else_is_in_the_picture():
    """Each patch had a stretch of its own, of all bands alike: forests were blue, fields cyan."""
    # Blue, green, red of dark forest, of a field and of a cloud; haze adds 0.06 to blue.
    image = np.array([[[0.08, 0.04, 0.02], [0.11, 0.12, 0.07], [0.9, 0.9, 0.9]]])
    limits = np.array([[0.08, 0.04, 0.02], [0.12, 0.12, 0.12]])
    picture = composite(image, ["B02", "B03", "B04"], limits=limits)
    # The widest band, red, spans 0.1: red (0.07 - 0.02) / 0.1 = 0.5, green 0.8, blue 0.3.
    field = [int(255 * part**0.8) for part in (0.5, 0.8, 0.3)]
    assert picture[0].tolist() == [[0, 0, 0], field, [255, 255, 255]]
    alone = composite(image[:, :2], ["B02", "B03", "B04"], limits=limits)
    assert alone.tolist() == picture[:, :2].tolist()


def test_a_stretch_reaches_from_black_to_white_and_draws_nan_black():
    stretch = Stretch.of(np.arange(101, dtype=np.uint16))  # Percentiles of 0 to 100 are themselves.
    assert (stretch.low, stretch.high) == (2, 98)
    drawn = stretch.apply(np.array([[0, 2, 50], [98, 200, np.nan]]))
    # Half way: 255 * 0.5 ** 0.8 = 146.46.
    assert drawn.tolist() == [[0, 0, 146], [255, 255, 0]]
    assert Stretch.of(np.zeros(0)) == Stretch(low=0, high=1)


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (["B01", "B02", "B03", "B04"], (4, 3, 2)),
        (["red", "green", "blue", None], (1, 2, 3)),
        (["coastal", "b", "g", "r"], (4, 3, 2)),
        (["Blue", "Green", "Red", "NIR"], (3, 2, 1)),
        (["B2, central wavelength 490 nm", "B03", "B4, central wavelength 665 nm"], (3, 2, 1)),
        (["B02", "B03", "B08", "B11"], (1, 2, 3)),
        ([None] * 4, (1, 2, 3)),
        ([None] * 2, (1, 1, 1)),
    ],
)
def test_all_pictures_of_a_raster_show_the_same_bands(names, bands):
    """map.png and dataset.html took others than the report where names were not Sentinel-2's."""
    assert picture_bands(names) == bands
    # One bright pixel a band: each of them is seen in the colour of its band.
    image = np.eye(len(names), dtype=np.float32)[None]
    picture = composite(image, [name or f"band {i}" for i, name in enumerate(names)])
    shown = [np.flatnonzero(picture[0, :, colour]).tolist() for colour in range(3)]
    assert shown == [[band - 1] for band in bands]


def test_a_picture_in_false_colour_finds_the_near_infrared():
    assert picture_bands(["blue", "green", "red", "nir"], FALSE_COLOUR) == (4, 3, 2)


def test_the_whole_legend_is_drawn_below_a_narrow_picture(tmp_path):
    legend = load_legend("landcover9")
    panel = np.zeros((40, 40, 3), np.uint8)
    save_panels(tmp_path / "p.png", [("a", panel)] * 2, legend=legend, panel_inches=2.6)
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    for side in (picture[:, :3], picture[:, -3:]):
        assert (side == 255).all()
    for land_cover in legend.classes:
        assert (picture == land_cover.rgb).all(axis=-1).any(), land_cover.name


def test_class_picture_uses_the_legend_and_shows_strangers():
    legend = load_legend("landcover9")
    picture = class_picture(np.array([[0, 20, 33]], np.uint8), legend)
    assert picture[0].tolist() == [[240, 240, 240], list(legend.classes[1].rgb), [255, 0, 255]]


def test_pictures_are_files_of_sensible_size(tmp_path):
    legend = load_legend("landcover9")
    panel = np.zeros((40, 60, 3), np.uint8)
    save_panels(tmp_path / "p.png", [("a", panel)] * 3, legend=legend, metres_per_pixel=10.0)
    save_confusion_matrix(tmp_path / "m.png", np.eye(8) * 1500, legend.names, title="t")
    width, height = Image.open(tmp_path / "p.png").size
    assert width > 2 * height
    assert min(Image.open(tmp_path / "m.png").size) > 400


def test_a_long_strip_does_not_make_a_picture_of_its_own_proportions(tmp_path):
    # 900 x 1 px, as a raster of 20,000 x 20 px is shown: 360,000 px high at a panel's full width.
    strip = np.full((900, 1, 3), (200, 30, 30), np.uint8)
    save_panels(tmp_path / "p.png", [("a", strip)] * 2, legend=load_legend("landcover9"))
    with Image.open(tmp_path / "p.png") as file:
        assert file.height < 2 * file.width
        drawn = (np.asarray(file.convert("RGB")) == (200, 30, 30)).all(axis=-1)
    assert drawn.any(axis=1).sum() > 900
