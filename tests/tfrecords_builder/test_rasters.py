import numpy as np
import pytest
import rasterio
from builder_inputs import write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine, from_origin
from rasterio.windows import Window as RasterioWindow

from landcover_tf.crosswalk import Crosswalk, load_crosswalk
from landcover_tf.dataset_info import ProductInfo
from landcover_tf.errors import DatasetError, LabelError, RasterError
from landcover_tf.grid import Window
from landcover_tf.legend import Legend
from tfrecords_builder.checks import dataset_resolution_m, require_uniform
from tfrecords_builder.pixels import open_raster
from tfrecords_builder.rasters import BandChoice, describe
from tfrecords_builder.sources import Source

LEGEND = load_crosswalk("landcover9", "landcover9")


def source(folder, image, label, *, validity=None, image_profile=None, label_profile=None):
    """Writes the rasters of one source."""
    return Source(
        id="x",
        image=write_raster(folder / "x.tif", image, **(image_profile or {})),
        label=write_raster(folder / "l.tif", label, **(label_profile or {})),
        validity=None if validity is None else write_raster(folder / "v.tif", validity),
        product=ProductInfo(id="x", path="x.tif"),
    )


def read(described, window, fill=0, crosswalk=LEGEND):
    with open_raster(described, crosswalk, fill) as reader:
        return reader.read(window)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """5 x 7 pixels, 2 unnamed int16 bands."""
    image = np.arange(70, dtype=np.int16).reshape(2, 5, 7)
    return source(tmp_path_factory.mktemp("small"), image, np.full((5, 7), 10, np.uint8)), image


def test_unnamed_bands_must_be_named(small):
    with pytest.raises(RasterError, match="2 bands, 2 without names and --bands gives 0; name all"):
        describe(small[0], BandChoice())
    with pytest.raises(RasterError, match=r"has 2 bands; --band-indexes asks \[3\]"):
        describe(small[0], BandChoice(names=("red",), indexes=(3,)))
    described = describe(small[0], BandChoice(names=("red", "nir"), scale=0.5, offset=-1.0))
    assert [(b.name, b.scale, b.offset) for b in described.bands] == [
        ("red", 0.5, -1.0),
        ("nir", 0.5, -1.0),
    ]


def test_bands_are_taken_by_number_in_the_order_asked(small):
    described = describe(small[0], BandChoice(names=("nir", "red"), indexes=(2, 1)))
    pixels = read(described, Window(row_off=0, col_off=0, height=5, width=7))
    np.testing.assert_array_equal(pixels.image, small[1][[1, 0]].transpose(1, 2, 0))


def test_bands_are_taken_by_name_and_missing_ones_refused(tmp_path):
    image = np.stack([np.full((4, 4), v, np.uint16) for v in (1, 2, 3)])
    named = {"descriptions": ("B02", "B03", "B04"), "scaling": (1e-4, -0.1)}
    found = source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
    described = describe(found, BandChoice(names=("B04", "B02")))
    assert described.indexes == (3, 1)
    assert described.bands[0].scale == pytest.approx(1e-4)
    with pytest.raises(RasterError, match="lacks band B08; it has B02, B03, B04"):
        describe(found, BandChoice(names=("B08",)))


def test_bands_without_a_name_leave_the_names_of_the_others(tmp_path):
    image = np.stack([np.full((4, 4), v, np.uint16) for v in (1, 2, 3)])
    named = {"descriptions": ("b4", None, "B2")}
    found = source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
    described = describe(found, BandChoice(names=("B02", "B04")))
    assert (described.indexes, [band.name for band in described.bands]) == ((3, 1), ["B02", "B04"])
    with pytest.raises(RasterError, match="has 3 bands, 1 without names and --bands gives 0"):
        describe(found, BandChoice())


@pytest.mark.parametrize("descriptions", [("B02", "B03", "B04", "B08"), ()])
def test_the_fourth_of_four_bands_of_bytes_is_no_alpha(tmp_path, descriptions):
    """GDAL tags it as one unless told otherwise."""
    image = np.full((4, 4, 4), 9, np.uint8)
    named = {"descriptions": descriptions} if descriptions else {}
    found = source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
    described = describe(found, BandChoice(names=("B02", "B03", "B04", "B08")))
    assert described.indexes == (1, 2, 3, 4)


def test_names_of_gdals_sentinel2_driver_are_ours_and_other_commas_refused(tmp_path):
    image = np.ones((3, 4, 4), np.uint16)
    named = {
        "descriptions": (
            "B8A, central wavelength 865 nm",
            "B4, central wavelength 665 nm",
            "SCL, Scene Classification",
        )
    }
    found = source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
    described = describe(found, BandChoice(names=("B04", "B8A")))
    assert described.indexes == (2, 1)
    with pytest.raises(
        RasterError, match=r"x\.tif names a band 'SCL, Scene Cl.* other names with --bands"
    ):
        describe(found, BandChoice())
    numbered = describe(found, BandChoice(names=("scl",), indexes=(3,)))
    assert [band.name for band in numbered.bands] == ["scl"]


@settings(max_examples=40, deadline=None)
@given(row=st.integers(-9, 4), col=st.integers(-9, 6))
def test_any_window_is_the_crop_of_a_padded_raster(small, row, col):
    described = describe(small[0], BandChoice(names=("a", "b")))
    window = Window(row_off=row, col_off=col, height=10, width=10)
    padded = np.full((40, 40, 2), -5, np.int16)
    padded[10:15, 10:17] = small[1].transpose(1, 2, 0)
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
    found = source(tmp_path, image, np.full((1, 4), 10, np.uint8), image_profile={"nodata": -1.0})
    described = describe(found, BandChoice(names=("a", "b")))
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=4), fill=-1)
    assert pixels.validity.tolist() == [[0, 1, 1, 1]]
    assert pixels.image.tolist() == [[[1, 1], [-1, -1], [-1, -1], [-1, -1]]]


def test_validity_bits_of_a_raster_are_kept(tmp_path):
    validity = np.array([[0, 8, 32, 1]], np.uint8)
    found = source(
        tmp_path, np.ones((1, 1, 4), np.uint8), np.full((1, 4), 10, np.uint8), validity=validity
    )
    described = describe(found, BandChoice(names=("a",)))
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=4), fill=0)
    assert pixels.validity.tolist() == validity.tolist()
    assert pixels.image[..., 0].tolist() == [[1, 1, 1, 0]]


def test_validity_that_is_no_byte_is_refused(tmp_path):
    validity = np.array([[0, 1024]], np.uint16)  # Clear and cloud in QA60; 0 and 0 as bytes.
    found = source(
        tmp_path, np.ones((1, 1, 2), np.uint8), np.full((1, 2), 10, np.uint8), validity=validity
    )
    with pytest.raises(RasterError, match=r"validity raster .*v\.tif holds uint16; expected the"):
        describe(found, BandChoice(names=("a",)))


def test_labels_are_remapped_and_unknown_codes_reported(tmp_path):
    label = np.array([[111, 112, 523, 777, -1]], np.int16)  # CORINE level 3 exceeds a byte.
    found = source(tmp_path, np.ones((1, 1, 5), np.uint8), label, label_profile={"nodata": -1})
    described = describe(found, BandChoice(names=("a",)))
    corine = load_crosswalk("corine", "landcover9")
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=5), crosswalk=corine)
    assert pixels.label.tolist() == [[40, 40, 60, 0, 0]]
    assert pixels.unknown_codes == {777}


def test_nodata_of_labels_that_no_code_of_their_legend_fits(tmp_path):
    label = np.array([[-128, 10, 77]], np.int8)
    found = source(tmp_path, np.ones((1, 1, 3), np.uint8), label, label_profile={"nodata": -128})
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
    found = source(tmp_path, np.ones((1, 1, 2), np.uint8), label, label_profile={"nodata": 0})
    described = describe(found, BandChoice(names=("a",)))
    crosswalk = load_crosswalk("dynamicworld", "landcover9")
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=2), crosswalk=crosswalk)
    assert pixels.label.tolist() == [[0, 20]]
    assert pixels.unknown_codes == frozenset()


def test_float_labels_are_codes_where_they_are_whole(tmp_path):
    label = np.array([[10, np.nan], [20, 60.5]], np.float32)
    found = source(tmp_path, np.ones((1, 2, 2), np.uint8), label)
    described = describe(found, BandChoice(names=("a",)))
    pixels = read(described, Window(row_off=0, col_off=0, height=1, width=2))
    assert pixels.label.tolist() == [[10, 0]]
    with pytest.raises(
        LabelError, match=r"l\.tif holds 60\.5 at rows 1 to 2; class codes are whole"
    ):
        read(described, Window(row_off=1, col_off=0, height=1, width=2))


UTM = {"crs": "EPSG:32633"}


@pytest.mark.parametrize(
    ("shape", "grid", "message"),
    [
        ((40, 50), (0, 10, UTM), "is 40 x 50 pixels but .* is 40 x 40; warp it"),
        ((40, 40), (30, 10, UTM), r"another grid \(EPSG:32633, origin 30, 0, pixels .* warp it"),
        # Beside the first pixel the labels fit; at the other end they are 0.4 pixels away.
        ((40, 40), (0, 10.1, UTM), r"pixels of 10\.1 x 10\.1\) than .*pixels of 10 x 10\)"),
        ((40, 40), (0, 10, {"crs": "EPSG:32634"}), "another grid .EPSG:32634"),
        ((40, 40), (9000, 20, {}), "another grid .no CRS, origin 9000, 0, pixels of 20 x 20"),
    ],
)
def test_labels_on_another_grid_are_refused(tmp_path, shape, grid, message):
    left, pixel, crs = grid
    found = source(
        tmp_path,
        np.ones((1, 40, 40), np.uint8),
        np.full(shape, 10, np.uint8),
        image_profile={"transform": from_origin(0, 0, 10, 10), **UTM},
        label_profile={"transform": from_origin(left, 0, pixel, pixel), **crs},
    )
    with pytest.raises(LabelError, match=message):
        describe(found, BandChoice(names=("a",)))


@pytest.mark.parametrize(
    "grid",
    [
        {},  # Without coordinates, as PNG.
        {"transform": from_origin(0, 0, 10, 10)},
        {"transform": from_origin(0.5, -0.5, 10.003, 10.003), **UTM},
    ],
)
def test_labels_without_coordinates_or_with_rounded_ones_are_taken(tmp_path, grid):
    found = source(
        tmp_path,
        np.ones((1, 40, 40), np.uint8),
        np.full((40, 40), 10, np.uint8),
        image_profile={"transform": from_origin(0, 0, 10, 10), **UTM},
        label_profile=grid,
    )
    assert describe(found, BandChoice(names=("a",))).crs == "EPSG:32633"


def test_an_unusable_type_and_a_damaged_file_are_named(tmp_path):
    wide = source(tmp_path, np.ones((1, 2, 2), np.float64), np.ones((2, 2), np.uint8))
    with pytest.raises(RasterError, match="data type float64; expected one of uint8"):
        describe(wide, BandChoice(names=("a",)))
    wide.image.write_bytes(b"no raster")
    with pytest.raises(RasterError, match=r"cannot read the raster .*x\.tif"):
        describe(wide, BandChoice(names=("a",)))


def test_a_raster_cut_short_names_file_and_rows(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(np.uint8)
    found = source(tmp_path, values, np.full((64, 64), 10, np.uint8))
    described = describe(found, BandChoice(names=("a",)))
    found.image.write_bytes(found.image.read_bytes()[:-2000])
    with pytest.raises(RasterError, match=r"x\.tif is damaged at rows 32 to 64"):
        read(described, Window(row_off=32, col_off=0, height=32, width=64))


def test_transforms_are_those_of_rasterio(tmp_path):
    affine = Affine(10, 1, 300, 2, -10, 900)
    profile = {"crs": "EPSG:32633", "transform": affine}
    found = source(
        tmp_path,
        np.ones((1, 9, 9), np.uint8),
        np.full((9, 9), 10, np.uint8),
        image_profile=profile,
        label_profile=profile,
    )
    described = describe(found, BandChoice(names=("a",)))
    window = Window(row_off=3, col_off=5, height=2, width=4)
    expected = rasterio.windows.transform(RasterioWindow(5, 3, 4, 2), affine)
    assert described.patch_transform(window) == pytest.approx(tuple(expected)[:6])
    assert described.center(window) == pytest.approx(expected * (2, 1))
    assert described.crs == "EPSG:32633"
    assert described.resolution_m == pytest.approx(np.hypot(10, 2))


def test_coordinates_of_a_site_are_no_crs(tmp_path):
    """They share no ground with other images."""
    grid = {"crs": 'LOCAL_CS["site",UNIT["metre",1]]', "transform": from_origin(0, 40, 10, 10)}
    found = source(
        tmp_path,
        np.ones((1, 4, 4), np.uint16),
        np.full((4, 4), 10, np.uint8),
        image_profile=grid,
        label_profile=grid,
    )
    described = describe(found, BandChoice(names=("red",)))
    assert (described.crs, described.resolution_m) == ("", None)


def test_a_label_raster_of_several_bands_is_refused(tmp_path):
    coloured = np.full((3, 4, 4), 10, np.uint8)
    found = source(tmp_path, np.zeros((1, 4, 4), np.uint16), coloured)
    with pytest.raises(LabelError, match=r"l.tif has 3 bands; expected one with a code per pixel"):
        describe(found, BandChoice(names=("red",)))


def test_nodata_that_no_pixel_can_hold(tmp_path):
    profile = {"nodata": 0}
    image = np.ones((1, 4, 4), np.uint16)
    found = source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=profile)
    with pytest.raises(RasterError, match=r"x\.tif holds uint16, which cannot be --nodata -9999"):
        describe(found, BandChoice(names=("red",), nodata=-9999))
    with rasterio.open(found.image, "r+") as raster:
        raster.nodata = -9999
    assert describe(found, BandChoice(names=("red",))).nodata is None


def test_pixel_sizes_are_in_metres_whatever_the_unit(tmp_path):
    # 1 US survey foot is 1200 / 3937 m.
    grid = {"crs": "EPSG:2263", "transform": from_origin(980000, 200000, 32.8083, 32.8083)}
    found = source(
        tmp_path,
        np.ones((1, 4, 4), np.uint16),
        np.full((4, 4), 10, np.uint8),
        image_profile=grid,
        label_profile=grid,
    )
    described = describe(found, BandChoice(names=("red",)))
    assert described.resolution_m == pytest.approx(32.8083 * 1200 / 3937)


def test_pixels_of_one_dataset_are_compared_on_the_ground(tmp_path):
    def at(name, crs, pixel, y):
        grid = {"crs": crs, "transform": from_origin(500_000, y, pixel, pixel)}
        found = source(
            tmp_path / name,
            np.ones((1, 4, 4), np.uint16),
            np.full((4, 4), 10, np.uint8),
            image_profile=grid,
            label_profile=grid,
        )
        return describe(found, BandChoice(names=("red",)))

    utm = at("utm", "EPSG:32631", 10, 6_650_000)
    # Web Mercator near 60 and 60.5 degrees north, where its metre is 0.5 and 0.49 m.
    south, north = (at(f"m{y}", "EPSG:3857", 20, y) for y in (8_399_738, 8_511_900))
    assert south.resolution_m == pytest.approx(10, rel=0.01)
    assert north.resolution_m == pytest.approx(9.87, rel=0.002)
    require_uniform([utm, south, north])
    assert dataset_resolution_m([utm, south, north]) == 10
    fine = at("fine", "EPSG:3857", 10, 8_399_738)
    with pytest.raises(DatasetError, match=r"fine.* has pixel size in m 5\.01, most have 9\.87"):
        require_uniform([utm, south, north, fine])
