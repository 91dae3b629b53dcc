"""The builder and prediction agree on which pixels of a plain raster have no data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from local_export import BANDS, model_info, predict_options
from rasterio import Affine
from rasterio.enums import ColorInterp

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.datasets.dataset_info import ProductInfo
from landcover_tf.grid import Window
from serving.inputs import open_source
from tfrecords_builder.pixels import open_raster
from tfrecords_builder.rasters import BandChoice, describe
from tfrecords_builder.sources import Source

GRID = {"crs": "EPSG:32634", "transform": Affine(10, 0, 600_000, 0, -10, 4_200_000)}
WHOLE = Window(row_off=0, col_off=0, height=2, width=3)


def write(path: Path, image: np.ndarray, **profile: Any) -> Path:
    """Writes a raster, [bands, height, width]."""
    count, height, width = image.shape
    shape = {"count": count, "height": height, "width": width, "dtype": image.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **GRID, **profile) as raster:
        raster.write(image)
    return path


def write_image(folder: Path, image: np.ndarray, **profile: Any) -> Path:
    path = write(folder / "image.tif", image, **profile)
    with rasterio.open(path, "r+") as raster:
        raster.descriptions = (*BANDS, *[None] * (len(image) - 4))
    return path


def no_data(
    path: Path, dtype: str, fill: float, *, same_units: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bit for no data in the builder and in prediction, each [height, width]."""
    label = write(path.parent / "label.tif", np.full((1, 2, 3), 10, np.uint8))
    product = ProductInfo(id="x", path="x.tif")
    source = Source(id="x", image=path, label=label, validity=None, product=product)
    crosswalk = load_crosswalk("landcover9", "landcover9")
    with open_raster(describe(source, BandChoice()), crosswalk, fill) as reader:
        built = reader.read(WHOLE)
    info = model_info(dtype=dtype, nodata=fill)
    image, validity = open_source(path, info, predict_options().source).read(WHOLE)
    if same_units:
        np.testing.assert_array_equal(built.image, image)
    return built.validity & 1, validity & 1


@pytest.mark.parametrize(
    ("dtype", "declared", "fill", "one_band", "all_bands"),
    [
        ("uint16", 0, 0, 0, 1),  # A dark band is none that is missing.
        ("uint16", None, 0, 0, 1),
        ("uint16", 65535, 65535, 0, 1),
        ("int16", -9999, -9999, 1, 1),
        ("float32", -9999, -9999, 1, 1),
        ("float32", 0, 0, 0, 1),
        ("float32", np.nan, -9999, 1, 1),
        ("float32", np.inf, -9999, 1, 1),
        ("float32", -np.inf, -9999, 1, 1),
    ],
)
def test_a_value_for_no_data_in_one_band_and_in_all(
    tmp_path: Path,
    dtype: str,
    declared: float | None,
    fill: float,
    one_band: int,
    all_bands: int,
) -> None:
    value = fill if declared is None else declared
    image = np.full((4, 2, 3), 20, dtype)
    image[2, 0, 1] = value
    image[:, 0, 2] = value
    path = write_image(tmp_path, image, nodata=declared)
    built, predicted = no_data(path, dtype, fill)
    np.testing.assert_array_equal(built, [[0, one_band, all_bands], [0, 0, 0]])
    np.testing.assert_array_equal(predicted, built)


@pytest.mark.parametrize("internal", ["YES", "NO"])
def test_a_mask(tmp_path: Path, internal: str) -> None:
    path = write_image(tmp_path, np.full((4, 2, 3), 2000, np.uint16))
    mask = np.array([[0, 255, 255], [255, 0, 255]], np.uint8)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, "r+") as raster,
    ):
        raster.write_mask(mask)
    built, predicted = no_data(path, "uint16", 0)
    np.testing.assert_array_equal(built, mask == 0)
    np.testing.assert_array_equal(predicted, built)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_alpha_band_is_a_mask_and_no_band_of_the_image(tmp_path: Path, dtype: str) -> None:
    image = np.full((5, 2, 3), 20, dtype)
    image[4] = [[0, 1, 255], [255, 0, 255]]
    path = write_image(tmp_path, image)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = (*raster.colorinterp[:4], ColorInterp.alpha)
    built, predicted = no_data(path, dtype, 0)
    np.testing.assert_array_equal(built, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(predicted, built)


def test_a_named_band_that_gdal_tags_as_alpha_is_a_band(tmp_path: Path) -> None:
    image = np.full((4, 2, 3), 20, np.uint8)
    image[3, 0] = 0  # A near infrared of 0 over water.
    path = write_image(tmp_path, image)
    with rasterio.open(path) as raster:
        assert raster.colorinterp[3] == ColorInterp.alpha
    built, predicted = no_data(path, "uint8", 0)
    assert not built.any()
    np.testing.assert_array_equal(predicted, built)


@pytest.mark.parametrize(
    ("dtype", "value", "fill", "missing"),
    [
        ("uint16", 0, 0, 1),
        ("int16", -32768, -32768, 1),
        ("float32", -9999, -9999, 1),
        ("uint16", 0, 65535, 0),  # Built with --nodata none.
        ("float32", 0, -9999, 0),  # The builder and `predict` tell of it.
    ],
)
def test_an_undeclared_value_where_the_scale_is_not_the_models(
    tmp_path: Path, dtype: str, value: float, fill: float, missing: int
) -> None:
    image = np.full((4, 2, 3), 2000, dtype)
    image[2, 0, 1] = 0
    image[:, 0, 2] = value
    path = write_image(tmp_path, image)
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (1e-4,) * 4, (-0.05,) * 4  # The model's are -0.1.
    built, predicted = no_data(path, dtype, fill, same_units=False)
    np.testing.assert_array_equal(built, [[0, 0, missing], [0, 0, 0]])
    np.testing.assert_array_equal(predicted, built)
