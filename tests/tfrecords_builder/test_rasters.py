import numpy as np
import pytest
import rasterio
from builder_inputs import write_raster, write_source
from rasterio.transform import Affine, from_origin
from rasterio.windows import Window as RasterioWindow

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.errors import DatasetError, LabelError, RasterError
from landcover_tf.grid import Window
from tfrecords_builder.checks import dataset_resolution_m, require_uniform
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.planning import understand
from tfrecords_builder.rasters import BandChoice, describe

LEGEND = load_crosswalk("landcover9", "landcover9")


def test_unnamed_bands_must_be_named(small_source):
    with pytest.raises(RasterError, match="2 bands, 2 without names and --bands gives 0; name all"):
        describe(small_source[0], BandChoice())
    with pytest.raises(RasterError, match=r"has 2 bands; --band-indexes asks \[3\]"):
        describe(small_source[0], BandChoice(names=("red",), indexes=(3,)))
    described = describe(small_source[0], BandChoice(names=("red", "nir"), scale=0.5, offset=-1.0))
    assert [(b.name, b.scale, b.offset) for b in described.bands] == [
        ("red", 0.5, -1.0),
        ("nir", 0.5, -1.0),
    ]


def test_bands_are_taken_by_name_and_missing_ones_refused(tmp_path):
    image = np.stack([np.full((4, 4), v, np.uint16) for v in (1, 2, 3)])
    named = {"descriptions": ("B02", "B03", "B04"), "scaling": (1e-4, -0.1)}
    found = write_source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
    described = describe(found, BandChoice(names=("B04", "B02")))
    assert described.indexes == (3, 1)
    assert described.bands[0].scale == pytest.approx(1e-4)
    with pytest.raises(RasterError, match="lacks band B08; it has B02, B03, B04"):
        describe(found, BandChoice(names=("B08",)))


def test_bands_without_a_name_leave_the_names_of_the_others(tmp_path):
    image = np.stack([np.full((4, 4), v, np.uint16) for v in (1, 2, 3)])
    named = {"descriptions": ("b4", None, "B2")}
    found = write_source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
    described = describe(found, BandChoice(names=("B02", "B04")))
    assert (described.indexes, [band.name for band in described.bands]) == ((3, 1), ["B02", "B04"])
    with pytest.raises(RasterError, match="has 3 bands, 1 without names and --bands gives 0"):
        describe(found, BandChoice())


@pytest.mark.parametrize("descriptions", [("B02", "B03", "B04", "B08"), ()])
def test_the_fourth_of_four_bands_of_bytes_is_no_alpha(tmp_path, descriptions):
    """GDAL tags it as one unless told otherwise."""
    image = np.full((4, 4, 4), 9, np.uint8)
    named = {"descriptions": descriptions} if descriptions else {}
    found = write_source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
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
    found = write_source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=named)
    described = describe(found, BandChoice(names=("B04", "B8A")))
    assert described.indexes == (2, 1)
    with pytest.raises(
        RasterError, match=r"x\.tif names a band 'SCL, Scene Cl.* other names with --bands"
    ):
        describe(found, BandChoice())
    numbered = describe(found, BandChoice(names=("scl",), indexes=(3,)))
    assert [band.name for band in numbered.bands] == ["scl"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([f"band_{number}" for number in range(1, 14)], "13 of 13 bands (band_1, band_2,"),
        # Ten of Landsat 8, which has no B8A; its B10 and B11 look like those of Sentinel-2.
        ([f"B{n}" for n in range(1, 12) if n != 8], "8 of 10 bands (B1, B2, B3, B4, B5, B6, B7,"),
        (["B8A", *(f"B{n}" for n in range(1, 13))], ""),  # As Earth Engine has them.
        ([f"band_{number}" for number in range(1, 5)], ""),
    ],
    ids=["without meaning", "Landsat", "Sentinel-2", "four"],
)
def test_a_stack_like_sentinel2s_whose_names_mean_nothing_is_told(tmp_path, capsys, names, told):
    image = np.ones((len(names), 4, 4), np.uint16)
    write_raster(tmp_path / "images" / "x.tif", image, descriptions=names)
    write_raster(tmp_path / "labels" / "x.tif", np.full((4, 4), 10, np.uint8))
    understand(BuildConfig(data_dir=tmp_path, output_dir=tmp_path / "dataset"))
    error = capsys.readouterr().err
    assert ("stand for no band of Sentinel-2" in error) == bool(told) and told in error


def test_validity_that_is_no_byte_is_refused(tmp_path):
    validity = np.array([[0, 1024]], np.uint16)  # Clear and cloud in QA60; 0 and 0 as bytes.
    found = write_source(
        tmp_path, np.ones((1, 1, 2), np.uint8), np.full((1, 2), 10, np.uint8), validity=validity
    )
    with pytest.raises(RasterError, match=r"validity raster .*v\.tif holds uint16; expected the"):
        describe(found, BandChoice(names=("a",)))


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
    found = write_source(
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
    found = write_source(
        tmp_path,
        np.ones((1, 40, 40), np.uint8),
        np.full((40, 40), 10, np.uint8),
        image_profile={"transform": from_origin(0, 0, 10, 10), **UTM},
        label_profile=grid,
    )
    assert describe(found, BandChoice(names=("a",))).crs == "EPSG:32633"


def test_an_unusable_type_and_a_damaged_file_are_named(tmp_path):
    wide = write_source(tmp_path, np.ones((1, 2, 2), np.float64), np.ones((2, 2), np.uint8))
    with pytest.raises(RasterError, match="data type float64; expected one of uint8"):
        describe(wide, BandChoice(names=("a",)))
    wide.image.write_bytes(b"no raster")
    with pytest.raises(RasterError, match=r"cannot read the raster .*x\.tif"):
        describe(wide, BandChoice(names=("a",)))


def test_transforms_are_those_of_rasterio(tmp_path):
    affine = Affine(10, 1, 300, 2, -10, 900)
    profile = {"crs": "EPSG:32633", "transform": affine}
    found = write_source(
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
    found = write_source(
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
    found = write_source(tmp_path, np.zeros((1, 4, 4), np.uint16), coloured)
    with pytest.raises(LabelError, match=r"l.tif has 3 bands; expected one with a code per pixel"):
        describe(found, BandChoice(names=("red",)))


def test_nodata_that_no_pixel_can_hold(tmp_path):
    profile = {"nodata": 0}
    image = np.ones((1, 4, 4), np.uint16)
    found = write_source(tmp_path, image, np.full((4, 4), 10, np.uint8), image_profile=profile)
    with pytest.raises(RasterError, match=r"x\.tif holds uint16, which cannot be --nodata -9999"):
        describe(found, BandChoice(names=("red",), nodata=-9999))
    with rasterio.open(found.image, "r+") as raster:
        raster.nodata = -9999
    assert describe(found, BandChoice(names=("red",))).nodata is None


def test_pixel_sizes_are_in_metres_whatever_the_unit(tmp_path):
    # 1 US survey foot is 1200 / 3937 m.
    grid = {"crs": "EPSG:2263", "transform": from_origin(980000, 200000, 32.8083, 32.8083)}
    found = write_source(
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
        found = write_source(
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
