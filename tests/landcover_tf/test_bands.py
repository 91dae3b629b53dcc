import pytest

from landcover_tf.bands import (
    BAND_NAMES,
    band,
    counterparts,
    plain_name,
    positions,
    same_name,
    sentinel2_names,
)
from landcover_tf.errors import RasterError
from landcover_tf.visuals.pictures import picture_bands


def test_canonical_order_is_not_the_sorted_one():
    expected = [
        "B01",
        "B02",
        "B03",
        "B04",
        "B05",
        "B06",
        "B07",
        "B08",
        "B8A",
        "B09",
        "B10",
        "B11",
        "B12",
    ]
    assert list(BAND_NAMES) == expected != sorted(expected)


def test_names_of_files_and_of_metadata():
    assert band("B1") is band("B01")
    assert [band(name).xml_name for name in ("B01", "B8A", "B10")] == ["B1", "B8A", "B10"]
    with pytest.raises(RasterError, match="got 'B13'"):
        band("B13")


def test_positions_by_name():
    assert positions(["B04", "B02"], ["B02", "B03", "B04"], "x.tif") == [2, 0]
    with pytest.raises(RasterError, match=r"x\.tif lacks band B08; it has B02"):
        positions(["B08"], ["B02"], "x.tif")
    with pytest.raises(RasterError, match="names a band twice"):
        positions(["B02"], ["B02", "B02"], "x.tif")


def test_names_of_gdals_sentinel2_driver():
    described = ["B4, central wavelength 665 nm", "B8A, central wavelength 865 nm"]
    assert list(map(plain_name, described)) == ["B04", "B8A"]
    for other in ("B4", "B13, central wavelength 1 nm", "SCL, Scene Classification", "red, green"):
        assert plain_name(other) == other


def test_names_are_compared_without_case_and_leading_zeros():
    wanted = ["B02", "B8A", "NIR"]
    described = ["b2", "b8a", "nir", "B2, central wavelength 492 nm", "B04", "green"]
    expected = ["B02", "B8A", "NIR", "B02", "B04", "green"]
    assert [same_name(name, wanted) for name in described] == expected
    assert same_name("B4", []) == "B4"  # Landsat's is another band.
    assert same_name("nir", ["NIR", "nir"]) == "nir"
    assert same_name("B02", ["B1", "B2", "B8A"]) == "B2"
    assert same_name("b02", ["B2", "B02"]) == "B02"


def test_common_names_stand_for_bands_of_sentinel2():
    assert sentinel2_names(["Red", "green", "BLUE", "nir"]) == ("B04", "B03", "B02", "B08")
    assert sentinel2_names(["r", "g", "b", "swir16", "B8A"]) == ("B04", "B03", "B02", "B11", "B8A")
    # One letter of three may be anything, and one band has one name.
    assert sentinel2_names(["a", "b", "c"]) == ("a", "b", "c")
    assert sentinel2_names(["red", "B04", "swir1", "swir16"]) == ("red", "B04", "B11", "swir16")


def test_numbers_are_those_of_sentinel2_beside_b8a_alone():
    # As Earth Engine has them.
    names = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
    assert sentinel2_names(names) == BAND_NAMES
    assert sentinel2_names(["b8a", "b2", "b02"]) == ("B8A", "B02", "b02")
    landsat = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")
    assert sentinel2_names(landsat) == landsat
    assert picture_bands(names) == (4, 3, 2)


def test_names_of_earth_search_stand_for_all_bands():
    names = "coastal,blue,green,red,rededge1,rededge2,rededge3,nir,nir08,nir09,cirrus,swir16,swir22"
    assert sentinel2_names(names.split(",")) == BAND_NAMES


def test_counterparts_are_of_one_name_before_they_stand_for_one_band():
    assert counterparts(["red", "nir", "VV"], BAND_NAMES) == {"red": "B04", "nir": "B08"}
    assert counterparts(["B04", "B03"], ["blue", "green", "red"]) == {"B04": "red", "B03": "green"}
    assert counterparts(["red", "B04"], ["red", "nir"]) == {"red": "red"}
