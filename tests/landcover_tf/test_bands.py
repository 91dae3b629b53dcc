import pytest

from landcover_tf.bands import BAND_NAMES, band, plain_name, positions, same_name
from landcover_tf.errors import RasterError


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
