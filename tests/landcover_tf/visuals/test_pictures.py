import numpy as np
import pytest

from landcover_tf.legend import load_legend
from landcover_tf.visuals.pictures import (
    FALSE_COLOUR,
    Stretch,
    class_picture,
    composite,
    picture_bands,
)


def test_composite_finds_its_bands_by_name():
    image = np.zeros((2, 2, 3), np.float32)
    image[0, 0] = (0.1, 0.2, 0.9)  # blue, green, red
    picture = composite(image, ["B02", "B03", "B04"])
    assert picture[0, 0, 0] > picture[0, 0, 1] > picture[0, 0, 2]
    assert composite(image, ["blue", "green", "red"]).tolist() == picture.tolist()


def test_composite_of_nothing_valid_is_black():
    assert not composite(np.full((2, 2, 4), np.nan), list("abcd")).any()


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


def test_class_picture_uses_the_legend_and_shows_strangers():
    legend = load_legend("landcover9")
    picture = class_picture(np.array([[0, 20, 33]], np.uint8), legend)
    assert picture[0].tolist() == [[240, 240, 240], list(legend.classes[1].rgb), [255, 0, 255]]
