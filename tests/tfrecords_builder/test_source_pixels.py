import numpy as np
import pytest
from builder_inputs import write_source
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.crosswalk import Crosswalk, load_crosswalk
from landcover_tf.errors import LabelError, RasterError
from landcover_tf.grid import Window
from landcover_tf.legend import Legend
from tfrecords_builder.pixels import open_raster
from tfrecords_builder.rasters import BandChoice, describe

LEGEND = load_crosswalk("landcover9", "landcover9")


def read(described, window, fill=0, crosswalk=LEGEND):
    with open_raster(described, crosswalk, fill) as reader:
        return reader.read(window)


def test_bands_are_taken_by_number_in_the_order_asked(small_source):
    described = describe(small_source[0], BandChoice(names=("nir", "red"), indexes=(2, 1)))
    pixels = read(described, Window(row_off=0, col_off=0, height=5, width=7))
    np.testing.assert_array_equal(pixels.image, small_source[1][[1, 0]].transpose(1, 2, 0))


@settings(max_examples=40)
@given(row=st.integers(-9, 4), col=st.integers(-9, 6))
def test_any_window_is_the_crop_of_a_padded_raster(small_source, row, col):
    described = describe(small_source[0], BandChoice(names=("a", "b")))
    window = Window(row_off=row, col_off=col, height=10, width=10)
    padded = np.full((40, 40, 2), -5, np.int16)
    padded[10:15, 10:17] = small_source[1].transpose(1, 2, 0)
    has_data = np.zeros((40, 40), bool)
    has_data[10:15, 10:17] = True
    part = slice(10 + row, 20 + row), slice(10 + col, 20 + col)
    pixels = read(described, window, fill=-5)
    np.testing.assert_array_equal(pixels.image, padded[part])
    np.testing.assert_array_equal(pixels.validity, np.where(has_data[part], 0, 1))
    np.testing.assert_array_equal(pixels.label, np.where(has_data[part], 10, 0))


def test_a_pixel_without_data_in_one_band_is_no_data_in_all(tmp_path):
    image = np.ones((2, 1, 4), np.float32)
    image[0, 0, 1], image[1, 0, 2], image[0, 0, 3] = np.nan, -1, np.inf
    found = write_source(
        tmp_path, image, np.full((1, 4), 10, np.uint8), image_profile={"nodata": -1.0}
    )
    described = describe(found, BandChoice(names=("a", "b")))
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=4), fill=-1)
    assert pixels.validity.tolist() == [[0, 1, 1, 1]]
    assert pixels.image.tolist() == [[[1, 1], [-1, -1], [-1, -1], [-1, -1]]]


def test_validity_bits_of_a_raster_are_kept(tmp_path):
    validity = np.array([[0, 8, 32, 1]], np.uint8)
    found = write_source(
        tmp_path, np.ones((1, 1, 4), np.uint8), np.full((1, 4), 10, np.uint8), validity=validity
    )
    described = describe(found, BandChoice(names=("a",)))
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=4), fill=0)
    assert pixels.validity.tolist() == validity.tolist()
    assert pixels.image[..., 0].tolist() == [[1, 1, 1, 0]]


def test_labels_are_remapped_and_unknown_codes_reported(tmp_path):
    label = np.array([[111, 112, 523, 777, -1]], np.int16)  # CORINE level 3 exceeds a byte.
    found = write_source(
        tmp_path, np.ones((1, 1, 5), np.uint8), label, label_profile={"nodata": -1}
    )
    described = describe(found, BandChoice(names=("a",)))
    corine = load_crosswalk("corine", "landcover9")
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=5), crosswalk=corine)
    assert pixels.label.tolist() == [[40, 40, 60, 0, 0]]
    assert pixels.unknown_codes == {777}


def test_nodata_of_labels_that_no_code_of_their_legend_fits(tmp_path):
    label = np.array([[-128, 10, 77]], np.int8)
    found = write_source(
        tmp_path, np.ones((1, 1, 3), np.uint8), label, label_profile={"nodata": -128}
    )
    described = describe(found, BandChoice(names=("a",)))
    window = Window(row_off=0, col_off=0, height=1, width=3)
    # 255, the legend's own no data and its crosswalk's first code, exceeds int8.
    legend = Legend(name="mine", classes=LEGEND.target.classes, nodata=255)
    codes = {code: code for code in (255, *legend.codes)}
    crosswalk = Crosswalk(source="mine", target=legend, codes=codes)
    pixels = read(described, window, crosswalk=crosswalk)
    assert pixels.label.tolist() == [[255, 10, 255]]
    assert pixels.unknown_codes == {77}


def test_declared_nodata_of_labels_is_no_class_as_in_prepare(tmp_path, capsys):
    label = np.array([[0, 1]], np.uint8)  # Water and trees of Dynamic World.
    found = write_source(tmp_path, np.ones((1, 1, 2), np.uint8), label, label_profile={"nodata": 0})
    described = describe(found, BandChoice(names=("a",)))
    crosswalk = load_crosswalk("dynamicworld", "landcover9")
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=2), crosswalk=crosswalk)
    assert pixels.label.tolist() == [[0, 20]]
    assert pixels.unknown_codes == frozenset()


def test_float_labels_are_codes_where_they_are_whole(tmp_path):
    label = np.array([[10, np.nan], [20, 60.5]], np.float32)
    found = write_source(tmp_path, np.ones((1, 2, 2), np.uint8), label)
    described = describe(found, BandChoice(names=("a",)))
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=2))
    assert pixels.label.tolist() == [[10, 0]]
    with pytest.raises(
        LabelError, match=r"l\.tif holds 60\.5 at rows 1 to 2; class codes are whole"
    ):
        read(described, Window(row_off=1, col_off=0, height=1, width=2))


def test_a_raster_cut_short_names_file_and_rows(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(np.uint8)
    found = write_source(tmp_path, values, np.full((64, 64), 10, np.uint8))
    described = describe(found, BandChoice(names=("a",)))
    found.image.write_bytes(found.image.read_bytes()[:-2000])
    with pytest.raises(RasterError, match=r"x\.tif is damaged at rows 32 to 64"):
        read(described, Window(row_off=32, col_off=0, height=32, width=64))
