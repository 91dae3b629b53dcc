"""Bands of rasters found by their names, and by those that the command line gives them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from local_export import BANDS, model_info, predict_options, write_raster
from rasterio import Affine

from landcover_tf.errors import RasterError
from landcover_tf.grid import Window
from serving.inputs import open_source


def read_all(path: Path, **flags: Any) -> np.ndarray:
    """Returns the values of 20 x 20 px, [bands, height, width]."""
    source = open_source(path, model_info(), predict_options(**flags).source)
    return np.moveaxis(source.read(Window(row_off=0, col_off=0, height=20, width=20))[0], -1, 0)


def test_unnamed_bands_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    image = write_raster(path, 20, 20, names=None)
    window = Window(row_off=0, col_off=0, height=20, width=20)
    options = predict_options(assume_bands=("model",)).source
    found, _ = open_source(path, model_info(), options).read(window)
    np.testing.assert_array_equal(found, np.moveaxis(image, 0, -1))
    swapped = predict_options(assume_bands=("B08", "B04", "B03", "B02")).source
    found, _ = open_source(path, model_info(), swapped).read(window)
    np.testing.assert_array_equal(found, np.moveaxis(image, 0, -1)[..., ::-1])
    with pytest.raises(RasterError, match=r"names 2 bands, .* has 4"):
        open_source(path, model_info(), predict_options(assume_bands=("B08", "B04")).source)


@pytest.mark.parametrize(
    "assumed",
    [("B02", "B03", "B04", "B08"), ("B2", "b03", "B4", "b8"), ("model",)],
    ids=["explicit", "other forms", "model"],
)
def test_bands_under_other_names_can_be_named(tmp_path: Path, assumed: tuple[str, ...]) -> None:
    path = tmp_path / "scene.tif"
    image = write_raster(path, 20, 20, names=("first", "Green", "Red", "NIR"))
    with pytest.raises(RasterError, match=r"lacks band B02; .*has first, .* with --assume-bands"):
        open_source(path, model_info(), predict_options().source)
    np.testing.assert_array_equal(read_all(path, assume_bands=assumed), image)


def test_the_model_s_names_replace_no_names_that_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    image = write_raster(path, 20, 20, names=("b8", "b4", "B3", "B02"))
    for assumed in ((), ("model",)):
        np.testing.assert_array_equal(read_all(path, assume_bands=assumed), image[::-1])
    named = read_all(path, assume_bands=("B02", "B03", "B04", "B08"))
    np.testing.assert_array_equal(named, image)


def test_bands_that_stand_for_the_models_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    image = write_raster(path, 20, 20, names=("nir", "Red", "B3", "blue"))
    for assumed in ((), ("model",)):
        np.testing.assert_array_equal(read_all(path, assume_bands=assumed), image[::-1])
    source = open_source(path, model_info(), predict_options().source)
    assert source.taken == {"B02": "blue", "B03": "B3", "B04": "Red", "B08": "nir"}
    write_raster(path, 20, 20)
    assert not open_source(path, model_info(), predict_options().source).taken


def test_a_band_without_a_name_leaves_the_names_of_the_others(tmp_path: Path) -> None:
    write_raster(tmp_path / "four.tif", 20, 20)
    with rasterio.open(tmp_path / "four.tif") as four:
        profile, image = four.profile, four.read()
        scale = {"scales": (*four.scales, 1.0), "offsets": (*four.offsets, 0.0)}
    path = tmp_path / "five.tif"
    with rasterio.open(path, "w", **profile | {"count": 5}) as five:
        five.write(np.concatenate([image[:1] + 7, image]))
        five.descriptions = (None, *BANDS)
        five.scales, five.offsets = scale["scales"][::-1], scale["offsets"][::-1]
    np.testing.assert_array_equal(read_all(path), image)


@pytest.mark.parametrize("names", [BANDS, None], ids=["named", "unnamed"])
def test_the_fourth_of_four_bands_of_bytes_is_no_alpha(
    tmp_path: Path, names: tuple[str, ...] | None
) -> None:
    """GDAL tags it as one unless told otherwise."""
    path = tmp_path / "scene.tif"
    image = np.full((4, 16, 16), 90, np.uint8)
    image[3, :, 8:] = 0
    shape = {"count": 4, "height": 16, "width": 16, "dtype": "uint8", "crs": "EPSG:32634"}
    grid = Affine(10, 0, 6e5, 0, -10, 4.2e6)
    with rasterio.open(path, "w", driver="GTiff", transform=grid, **shape) as raster:
        raster.write(image)
        if names:
            raster.descriptions = names
    info = model_info(dtype="uint8", nodata=255)
    flags: dict[str, Any] = {"assume_bands": () if names else ("model",)}
    source = open_source(path, info, predict_options(**flags).source)
    found, validity = source.read(Window(row_off=0, col_off=0, height=16, width=16))
    assert not validity.any()
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), image)
    coarse = model_info(dtype="uint8", nodata=255, resolution_m=20.0)
    with pytest.raises(RasterError, match=r"scene\.tif tags its band 4 as alpha, by which --resam"):
        open_source(path, coarse, predict_options(resample=True, **flags).source)
